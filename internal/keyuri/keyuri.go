// Package keyuri reads key URIs, which name where a private key is. The table of them is at
// signer.Open.
package keyuri

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
)

// Scheme returns the scheme of a key URI in lower case (RFC 3986 section 3.1), or
// "" for a path. One letter is a drive of Windows, and no scheme.
func Scheme(uri string) string {
	for i, c := range []byte(uri) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		case c == ':' && i >= 2:
			return strings.ToLower(uri[:i])
		default:
			return ""
		}
	}
	return ""
}

// FilePath returns the path that a file URI names (RFC 8089), or the text itself
// where it has no scheme. For any other key URI, and for a file URI that cannot be
// read, it returns "".
func FilePath(uri string) string {
	switch Scheme(uri) {
	case "":
		return uri
	case "file":
	default:
		return ""
	}
	path := uri[len("file:"):]
	if authority, ok := strings.CutPrefix(path, "//"); ok {
		host, rest, _ := strings.Cut(authority, "/")
		if host != "" && !strings.EqualFold(host, "localhost") {
			return ""
		}
		path = "/" + rest
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return ""
	}
	if len(path) >= 3 && path[0] == '/' && path[2] == ':' && Scheme("x"+path[1:3]) != "" {
		path = path[1:] // file:///C:/app.pem
	}
	if Scheme(path) != "" {
		path = "./" + path
	}
	return path
}

// Redacted returns a key URI as it may be printed: the values of its attributes that
// are secret, such as pin-value (RFC 7512 section 2.4), are replaced. Where a PIN is
// to be read, pin-source, stays.
func Redacted(uri string) string {
	text, _ := SplitSecrets(uri)
	return text
}

// HasSecret reports whether a key URI has a secret in it, so that it must not stand
// in a command line or in a file that others read.
func HasSecret(uri string) bool {
	_, secrets := SplitSecrets(uri)
	return len(secrets) > 0
}

// isSecretAttribute reports whether the values of an attribute are secret, of PKCS#11
// URIs or in the spellings of step-kms.
func isSecretAttribute(scheme, name string) bool {
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	switch name {
	case "pin-value", "pin", "management-key", "password", "passphrase",
		"secret", "client-secret", "secret-access-key", "secret-id", "access-token":
		return true
	case "token":
		return scheme == "hashivault" // where it is a credential; a PKCS#11 token is a device
	}
	return false
}

// SplitSecrets returns the URI without its secrets, and these, as they stand in it and
// decoded.
func SplitSecrets(uri string) (string, []secret.Text) {
	scheme := Scheme(uri)
	if scheme == "" || scheme == "file" {
		return uri, nil
	}
	var secrets []secret.Text
	hide := func(value string) string {
		if value == "" {
			return ""
		}
		secrets = append(secrets, secret.New(value))
		if plain, err := url.PathUnescape(value); err == nil && plain != value {
			secrets = append(secrets, secret.New(plain))
		}
		return secret.Placeholder
	}
	var b strings.Builder
	b.WriteString(uri[:len(scheme)+1])
	rest := uri[len(scheme)+1:]
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		end := strings.IndexAny(authority, "/?;")
		if end < 0 {
			end = len(authority)
		}
		if at := strings.LastIndexByte(authority[:end], '@'); at >= 0 {
			user, password, _ := strings.Cut(authority[:at], ":")
			b.WriteString("//" + user)
			if password != "" {
				b.WriteString(":" + hide(password))
			}
			rest = authority[at:]
		}
	}
	for rest != "" {
		part, separator := rest, ""
		if end := strings.IndexAny(rest, "?;&"); end >= 0 {
			part, separator = rest[:end], rest[end:end+1]
		}
		rest = rest[len(part)+len(separator):]
		name, value, assigned := strings.Cut(part, "=")
		if assigned && isSecretAttribute(scheme, name) {
			part = name + "=" + hide(value)
		}
		b.WriteString(part + separator)
	}
	return b.String(), secrets
}

// Schemes are those of key URIs that are known, those of the program for key services and
// devices last.
func Schemes() []string {
	return append([]string{"file", "env", "keyring", "ssh-agent", "exec"}, kms...)
}

// kms are the schemes of ghapp-signer-kms, as step-kms and sigstore spell them.
var kms = []string{"awskms", "azurekms", "gcpkms", "cloudkms", "hashivault", "pkcs11", "tpmkms", "yubikey"}

// OfKMS reports whether a scheme is one of the program for key services and devices.
func OfKMS(scheme string) bool { return slices.Contains(kms, scheme) }

// mostShown is how much of a key URI is shown, in bytes.
const mostShown = 200

// Shown is a key URI for messages: printable, not too long, and without its secrets.
func Shown(uri string) string {
	text := strings.Map(func(r rune) rune {
		if !text.IsPrintable(r) {
			return '\uFFFD'
		}
		return r
	}, Redacted(uri))
	if len(text) > mostShown {
		text = strings.ToValidUTF8(text[:mostShown], "") + "…"
	}
	return text
}

var (
	errEscape  = errors.New("a % in it does not begin an escape")
	errNoName  = errors.New("it names nothing")
	errControl = errors.New("there is a control character in it")
)

// Parts returns what a key URI names, decoded, and its attributes after the "?".
func Parts(uri string) (name string, attributes map[string]string, err error) {
	_, rest, _ := strings.Cut(uri, ":")
	rest, query, _ := strings.Cut(rest, "?")
	if name, err = url.PathUnescape(rest); err != nil {
		return "", nil, errEscape
	}
	switch {
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", nil, errControl
	case strings.TrimSpace(name) == "":
		return "", nil, errNoName
	}
	attributes = map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		if value, err = url.PathUnescape(value); err != nil {
			return "", nil, errEscape
		}
		if key != "" {
			attributes[key] = value
		}
	}
	return name, attributes, nil
}
