package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// Setting is one row of the table of settings: where it can be given, and what it
// means. The flags, the documentation and this package's reader all come from it.
type Setting struct {
	// Key is its name in the config file, under apps: NAME:, and in what
	// [Config.List] returns.
	Key string
	// Flag is its flag without the dashes, or "" where there is none.
	Flag string
	// Env is its environment variable.
	Env string
	// InFile says whether the config file may hold it.
	InFile bool
	// Default is its value where nobody gave one; "" is none, or one that the
	// library finds by itself.
	Default string
	// Takes says what a value is, after "takes".
	Takes string
	// Help is one line for people, without a full stop.
	Help string
}

// Settings returns the table, in the order in which people read it.
func Settings() []Setting {
	return []Setting{
		{
			Key: "app", Flag: "app", Env: "GHAPP_APP", InFile: true,
			Takes: "a client ID, an App ID, or the name of an App in the config file",
			Help:  "the App: its client ID or App ID, or its name in the config file",
		},
		{
			Key: "key", Flag: "key", Env: "GHAPP_KEY", InFile: true,
			Takes: "a path or a key URI",
			Help: "the App's private key: a PEM file, or a key URI such as ssh-agent:NAME; twice, " +
				"the newest one first, while a key is replaced",
		},
		{
			Key: "private_key", Env: "GHAPP_PRIVATE_KEY",
			Takes: "a private key as PEM",
			Help:  "the App's private key itself, as PEM",
		},
		{
			Key: "key_timeout", Flag: "key-timeout", Env: "GHAPP_KEY_TIMEOUT", InFile: true,
			Default: signer.DefaultTimeout.String(),
			Takes:   "a duration such as 30s",
			Help:    "how long whoever holds the key may take to answer",
		},
		{
			Key: "broker", Env: "GHAPP_BROKER", InFile: true,
			Takes: "an https URL",
			Help:  "the token broker that has the App's key, in the place of app and key",
		},
		{
			Key: "identity", Env: "GHAPP_IDENTITY", InFile: true,
			Takes: "the name of an identity, such as github-actions or file:/PATH",
			Help:  "what proves to the broker who asks; normally found by itself",
		},
		{
			Key: "audience", Env: "GHAPP_AUDIENCE", InFile: true,
			Takes: "a name or a URL",
			Help:  "whom the identity's token is to be for; normally the broker says so",
		},
		{
			Key: "installation", Flag: "installation", Env: "GHAPP_INSTALLATION", InFile: true,
			Takes: "an installation ID or the address of its settings page",
			Help:  "the installation: its ID or the address of its settings page; normally found by itself",
		},
		{
			Key: "host", Flag: "host", Env: "GHAPP_HOST", InFile: true, Default: "github.com",
			Takes: "a host name",
			Help:  "the GitHub host: github.com, NAME.ghe.com, or a GitHub Enterprise Server",
		},
		{
			Key: "api_url", Flag: "api-url", Env: "GHAPP_API_URL", InFile: true,
			Takes: "an https URL",
			Help:  "the root of the REST API; normally found from the host",
		},
		{
			Key: "api_version", Flag: "api-version", Env: "GHAPP_API_VERSION", InFile: true,
			Takes: "a date such as 2022-11-28, or none",
			Help:  "the version of the REST API to ask for (X-GitHub-Api-Version); none leaves the header out",
		},
		{
			Key: "ca_file", Flag: "ca-file", Env: "GHAPP_CA_FILE", InFile: true,
			Takes: "a path",
			Help:  "a PEM file of certificate authorities to trust besides the system's",
		},
		{
			Key: "config", Flag: "config", Env: "GHAPP_CONFIG",
			Takes: "a path",
			Help:  "the config file",
		},
	}
}

// fileKeys returns the keys an App may have in the config file.
func fileKeys() []string {
	var keys []string
	for _, s := range Settings() {
		if s.InFile {
			keys = append(keys, s.Key)
		}
	}
	return append(keys, "owners", "permissions", "repositories")
}

// isPath says whether a value is the name of a file, or has one in it.
func isPath(key, text string) bool {
	switch key {
	case "ca_file", "config":
		return true
	case "identity":
		return strings.HasPrefix(text, "file:") || strings.HasPrefix(text, "exec:")
	case "key":
		return slices.Contains([]string{"", "file", "exec", "pkcs11", "tpmkms", "yubikey"}, keyuri.Scheme(text))
	}
	return false
}

// Value is a setting's text and where it came from. The zero Value is a setting
// that nobody gave.
type Value struct {
	Text   string // without the secrets of a key URI, such as a PIN
	Source Source

	whole secret.Text // Text with them, where there are any
}

// valueOf is a value that may be a key URI with a secret in it.
func valueOf(text string, source Source) Value {
	v := Value{Text: text, Source: source}
	if keyuri.HasSecret(text) {
		v.Text, v.whole = keyuri.Redacted(text), secret.New(text)
	}
	return v
}

// HasSecret reports whether there is more to the value than Text.
func (v Value) HasSecret() bool { return !v.whole.IsZero() }

// Reveal returns the whole value. It must not be printed where HasSecret.
func (v Value) Reveal() string {
	if v.HasSecret() {
		return v.whole.Reveal()
	}
	return v.Text
}

// Kind is a kind of [Source].
type Kind int

// The kinds of sources, from the weakest to the strongest.
const (
	Unset           Kind = iota
	FromDefault          // built in
	FromFile             // the config file
	FromEnvironment      // a variable
	FromFlag             // the command line
)

// Source is where a value came from.
type Source struct {
	Kind Kind
	Name string // of the flag, with its dashes, of the variable, or of the file
	Line int    // in the file, from 1; 0 for the others
}

// String returns "flag --app", "environment GHAPP_APP", "/path/config.yaml:4" or
// "default", and "" for a value that nobody gave.
func (s Source) String() string {
	switch s.Kind {
	case FromFlag:
		return "flag " + s.Name
	case FromEnvironment:
		return "environment " + s.Name
	case FromFile:
		return s.Name + ":" + strconv.Itoa(s.Line)
	case FromDefault:
		return "default"
	}
	return ""
}

// MarshalText is [Source.String], for JSON.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing that is wrong, or, in a warning, one that might be.
type Problem struct {
	File string // "" where it is not about the config file
	Line int    // from 1; 0 where it is not about one line
	Text string // one line: what, and why. It never holds a secret
	Hint string // one line: what to do; may be ""
}

// String is one line: place, text and hint.
func (p Problem) String() string {
	text := p.Text
	switch {
	case p.Line != 0:
		text = fmt.Sprintf("%s:%d: %s", p.File, p.Line, text)
	case p.File != "":
		text = p.File + ": " + text
	}
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text
}
