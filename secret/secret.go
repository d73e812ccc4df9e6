// Package secret has text that cannot be printed by accident: tokens, JSON Web Tokens,
// webhook secrets, passwords. It imports nothing, since the credential helper, which git
// starts anew for every question, pays for each import at each start.
//
//	token := secret.New("ghs_…")
//	fmt.Println(token)          // [redacted]
//	fmt.Println(token.Reveal()) // ghs_…
package secret

// Placeholder stands wherever a secret would have been printed.
const Placeholder = "[redacted]"

// Text is a secret. Every way Go has of printing a
// value gives [Placeholder]; [Text.Reveal] is the only way to the text. The
// zero value holds nothing.
//
// The text is held behind a pointer, so that a printer that works by reflection
// and skips methods (fmt on an unexported field) finds an address and no text.
type Text struct{ text *string }

// New returns a Text that holds text.
func New(text string) Text {
	if text == "" {
		return Text{}
	}
	return Text{&text}
}

// Reveal returns the text. Each call site is a place where a secret leaves the
// type's protection, which is why the name is easy to search for.
func (s Text) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether s holds nothing.
func (s Text) IsZero() bool { return s.text == nil }

// String implements [fmt.Stringer] without the text.
func (s Text) String() string {
	if s.text == nil {
		return ""
	}
	return Placeholder
}

// GoString implements [fmt.GoStringer] without the text.
func (s Text) GoString() string { return "secret.Text(" + s.String() + ")" }

// MarshalText implements [encoding.TextMarshaler] without the text. Encoders of
// JSON, YAML and XML use it, and so does log/slog.
func (s Text) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
