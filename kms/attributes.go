package kms

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// eachAttribute reads NAME=VALUE;NAME=VALUE, with values that are percent-encoded, as
// key URIs have it before and after the question mark. The error has no value in it.
func eachAttribute(text, separator string, take func(name, value string) error) error {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, separator) {
		name, value, assigned := strings.Cut(part, "=")
		if !assigned || !attributeName(name) {
			// It may be a piece of a PIN that has the separator in it, and so is not shown.
			return fmt.Errorf("a part of it is not NAME=VALUE; a %q within a value is written %%%02X", separator, separator[0])
		}
		decoded, err := percentDecode(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := take(name, decoded); err != nil {
			return err
		}
	}
	return nil
}

// attributeName reports whether an attribute may have the name. One that begins with a digit
// is rather a piece of a PIN.
func attributeName(name string) bool {
	for i, r := range []byte(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		case i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '_'):
		default:
			return false
		}
	}
	return name != ""
}

// attributesOf reads a key URI that has attributes and nothing else. The error has no
// value in it.
func attributesOf(uri string, known ...string) (map[string]string, error) {
	_, rest, _ := strings.Cut(uri, ":")
	path, query, _ := strings.Cut(rest, "?")
	attributes := map[string]string{}
	take := func(name, value string) error {
		if _, twice := attributes[name]; twice {
			return fmt.Errorf("%s is there twice", name)
		}
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s is not known; there are %s", name, strings.Join(known, ", "))
		}
		if strings.ContainsFunc(value, unicode.IsControl) {
			return fmt.Errorf("%s has a control character in it", name)
		}
		attributes[name] = value
		return nil
	}
	if err := eachAttribute(path, ";", take); err != nil {
		return nil, err
	}
	return attributes, eachAttribute(query, "&", take)
}

var errEscape = errors.New("a % in it does not begin an escape of two hexadecimal digits")

// percentDecode decodes %XX and nothing else (RFC 3986 section 2.1): a plus is a plus.
func percentDecode(value string) (string, error) {
	if !strings.Contains(value, "%") {
		return value, nil
	}
	var b strings.Builder
	for value != "" {
		if value[0] != '%' {
			b.WriteByte(value[0])
			value = value[1:]
			continue
		}
		if len(value) < 3 {
			return "", errEscape
		}
		octet, err := strconv.ParseUint(value[1:3], 16, 8)
		if err != nil {
			return "", errEscape
		}
		b.WriteByte(byte(octet))
		value = value[3:]
	}
	return b.String(), nil
}

// percentEncode writes a value so that it can be copied into a key URI.
func percentEncode(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		if c > ' ' && c < 0x7f && !strings.ContainsRune(`%;?&#"<>\^{}|`+"`", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
