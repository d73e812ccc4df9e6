package scrub

import (
	"bytes"
	"strings"
)

const (
	minRun    = 36  // characters behind the prefix of a token, at least
	minHeader = 8   // characters of the header of a JSON Web Token, at least
	maxHeader = 512 // and at most; this many bytes may wait for what comes behind
	maxLabel  = 40  // characters of the label of a PEM block, at most
)

// prefixes are those of GitHub's tokens, from its page "GitHub's token formats".
var prefixes = []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}

// matchToken reports whether a token begins at the beginning of text; it goes on
// as long as isToken says. If more, it takes what comes behind text to know.
//
// Tokens are known by their prefix and at least 36 characters, among which are
// the dots and hyphens of GitHub's longer, JWT-like installation tokens; JSON Web
// Tokens by the "{" of their first two parts (RFC 7519 section 3.1), which is
// "eyJ" in base64url as the JSON goes on with a quote.
func matchToken(text []byte) (found, more bool) {
	switch text[0] {
	case 'g':
		for _, prefix := range prefixes {
			whole, part := begins(text, prefix)
			if whole {
				run := count(text[len(prefix):], minRun, isToken)
				return run == minRun, run < minRun && len(prefix)+run == len(text)
			}
			more = more || part
		}
	case 'e':
		whole, part := begins(text, "eyJ")
		if !whole {
			return false, part
		}
		header := count(text, maxHeader, func(c byte) bool { return c != '.' && isToken(c) })
		whole, part = begins(text[header:], ".eyJ")
		return whole && header >= len("eyJ")+minHeader, part
	}
	return false, more
}

// matchArmour returns the length of a BEGIN or END line of a PEM private key
// (RFC 7468 section 3) at the beginning of text, 0 if there is none. If more, it
// takes what comes behind text to know.
func matchArmour(text []byte, begin string) (n int, more bool) {
	whole, part := begins(text, begin)
	if !whole {
		return 0, part
	}
	label := text[len(begin):]
	label = label[:count(label, maxLabel, isLabel)]
	n = len(begin) + len(label)
	whole, part = begins(text[n:], "-----")
	if whole && bytes.Contains(label, []byte("PRIVATE")) {
		return n + len("-----"), false
	}
	return 0, part
}

// begins reports whether text begins with the whole of form, or is nothing but a
// part of its beginning.
func begins(text []byte, form string) (whole, part bool) {
	if len(text) < len(form) {
		return false, string(text) == form[:len(text)]
	}
	return string(text[:len(form)]) == form, false
}

// count returns how many bytes at the beginning of text are of class, up to limit.
func count(text []byte, limit int, class func(byte) bool) int {
	n := 0
	for n < min(len(text), limit) && class(text[n]) {
		n++
	}
	return n
}

func isToken(c byte) bool {
	return isAlphanumeric(c) || c == '_' || c == '-' || c == '.'
}

// isPEM reports whether c may stand in the body of a PEM block, of its headers
// (RFC 1421 section 4.6), or of either in a quoted string.
func isPEM(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("+/=-:,\"'\\ \t\r\n", c) >= 0
}

func isLabel(c byte) bool {
	return 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == ' '
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
