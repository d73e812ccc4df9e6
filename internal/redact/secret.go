// Package redact keeps secrets out of everything that is printed: a Secret cannot
// be printed by accident. It imports nothing, since the credential helper, which
// git starts anew for every question, pays for each import at each start.
package redact

// Placeholder stands wherever a secret would have been printed.
const Placeholder = "[redacted]"

// Secret is a token, a JWT or a webhook secret. Every way Go has of printing a
// value gives [Placeholder]; [Secret.Reveal] is the only way to the text. The
// zero value holds nothing.
//
// The text is held behind a pointer, so that a printer that works by reflection
// and skips methods (fmt on an unexported field) finds an address and no text.
type Secret struct{ text *string }

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text. Each call site is a place where a secret leaves the
// type's protection, which is why the name is easy to search for.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether s holds nothing.
func (s Secret) IsZero() bool { return s.text == nil }

// String implements [fmt.Stringer] without the text.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return Placeholder
}

// GoString implements [fmt.GoStringer] without the text.
func (s Secret) GoString() string { return "redact.Secret(" + s.String() + ")" }

// MarshalText implements [encoding.TextMarshaler] without the text. Encoders of
// JSON, YAML and XML use it, and so does log/slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
