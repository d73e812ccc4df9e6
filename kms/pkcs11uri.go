package kms

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// pkcs11URI is a key URI of the scheme pkcs11 (RFC 7512). An attribute that is not there
// stands for any value, and an empty one for an empty value.
type pkcs11URI struct {
	path  map[string]string // what names library, slot, token and object; decoded
	query map[string]string // where the module and the PIN are; decoded
	// passedOver are attributes of the query that nobody here knows (section 2.4).
	passedOver []string
}

// pathAttributes are those of RFC 7512 section 2.3.
var pathAttributes = []string{
	"token", "manufacturer", "serial", "model",
	"library-manufacturer", "library-version", "library-description",
	"object", "type", "id",
	"slot-manufacturer", "slot-description", "slot-id",
}

// queryAttributes are those of RFC 7512 section 2.3. They are taken in the path too,
// where step-kms writes them.
var queryAttributes = []string{"pin-source", "pin-value", "module-name", "module-path"}

// parsePKCS11URI reads a key URI. The text of the error has no value of an attribute.
func parsePKCS11URI(uri string) (pkcs11URI, error) {
	u := pkcs11URI{path: map[string]string{}, query: map[string]string{}}
	scheme, rest, found := strings.Cut(uri, ":")
	if !found || !strings.EqualFold(scheme, "pkcs11") {
		return u, errors.New("it does not begin with pkcs11:") //nolint:staticcheck // a scheme ends so
	}
	path, query, _ := strings.Cut(rest, "?")
	err := eachAttribute(path, ";", func(name, value string) error { return u.take(name, value, false) })
	if err == nil {
		err = eachAttribute(query, "&", func(name, value string) error { return u.take(name, value, true) })
	}
	if err != nil {
		return u, err
	}
	return u, u.check()
}

// take puts an attribute where it belongs.
func (u *pkcs11URI) take(name, value string, inQuery bool) error {
	attributes := u.query
	switch {
	case slices.Contains(queryAttributes, name):
	case !inQuery && slices.Contains(pathAttributes, name):
		attributes = u.path
	case inQuery && slices.Contains(pathAttributes, name):
		return fmt.Errorf("%s belongs before the question mark", name)
	case inQuery:
		u.passedOver = append(u.passedOver, name)
		return nil
	default:
		// Section 2.3: what is not known names nothing.
		return fmt.Errorf("%s is no attribute of RFC 7512", name)
	}
	if _, twice := attributes[name]; twice {
		return fmt.Errorf("%s is there twice", name)
	}
	attributes[name] = value
	return nil
}

// check refuses what cannot name a private key.
func (u *pkcs11URI) check() error {
	if kind, given := u.path["type"]; given && kind != "private" {
		return errors.New("type names something else than a private key; leave it out, or write type=private")
	}
	if slot, given := u.path["slot-id"]; given {
		if _, err := strconv.ParseUint(slot, 10, 64); err != nil {
			return errors.New("slot-id is not a number")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.query)) {
		if strings.ContainsRune(u.query[name], 0) {
			return fmt.Errorf("%s has a zero byte in it", name)
		}
	}
	for _, name := range []string{"module-name", "module-path"} {
		if value, given := u.query[name]; given && value == "" {
			return fmt.Errorf("%s is empty", name)
		}
	}
	if strings.ContainsAny(u.query["module-name"], `/\`) {
		return errors.New("module-name is a name, such as softhsm2; a path goes into module-path")
	}
	_, source := u.query["pin-source"]
	_, value := u.query["pin-value"]
	if source && value {
		return errors.New("pin-source and pin-value exclude each other") // section 2.4
	}
	return nil
}

// named says for messages what the URI asks for, by the attributes among those given.
func (u *pkcs11URI) named(names ...string) string {
	var parts []string
	for _, name := range names {
		if value, given := u.path[name]; given {
			parts = append(parts, name+"="+percentEncode(value))
		}
	}
	return strings.Join(parts, ";")
}
