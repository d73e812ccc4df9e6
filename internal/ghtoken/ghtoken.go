// Package ghtoken knows what the tokens of GitHub are made of. It imports nothing, for the
// credential helper's sake.
package ghtoken

// longest is the length in bytes that a token may have: eight times that of GitHub's
// longest, and no more than fits into a request's header.
const longest = 4096

// Valid reports whether text is made of what GitHub's tokens are made of: letters,
// digits, dots, hyphens and underscores
// (https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/).
// A token goes into shells, headers, and lines of git's credential protocol, so a text with
// anything else in it is no token, even if GitHub sends it.
func Valid(text string) bool {
	if text == "" || len(text) > longest {
		return false
	}
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
