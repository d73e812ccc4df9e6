package kms

import (
	"slices"
	"strings"

	"go.step.sm/crypto/kms/uri"
)

// parseURI reads a key URI in either spelling, that of step-kms, scheme:name=value;…,
// and that of sigstore, scheme://authority/path. It may have the attributes that are
// known, before or after a "?"; a misspelt one is an error and not passed over. The
// error has nothing of the URI, which may hold a PIN, but the name of an attribute.
func parseURI(text string, known ...string) (*uri.URI, error) {
	u, err := uri.Parse(text)
	if err != nil {
		return nil, failure("invalid-uri", "it cannot be read: check the escapes")
	}
	bare := !strings.Contains(u.Opaque, "=") // scheme:name, which reads as an attribute too
	for name, values := range uri.Values(u) {
		switch {
		case bare && u.Values.Has(name):
		case !slices.Contains(known, name):
			return nil, failure("invalid-uri", "it has an attribute %q, and the known ones are %s",
				name, strings.Join(known, ", "))
		case len(values) > 1:
			return nil, failure("invalid-uri", "it has the attribute %q twice", name)
		}
	}
	return u, nil
}
