// Package text makes what others wrote fit to be shown. A server, a repository, a
// program or a file may put into its text what a terminal obeys (ESC and the other
// control characters), what turns the order of letters around (U+202E), or a line
// break that lets the rest look like a line of ours. What is not printable is spelled
// out, as \x1b or \u202e, so that it is seen and does nothing.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns s with its lines and tabs, and everything else that is not
// printable spelled out. Any other white space is a blank.
func Printable(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

// OneLine returns s as one line: a line break, a tab and any other white space is a
// blank, there is none at the ends, and everything else that is not printable is
// spelled out.
func OneLine(s string) string {
	s = strings.TrimSpace(s)
	if isPlain(s) {
		return s
	}
	return escape(strings.Join(strings.FieldsFunc(s, isBreak), " "), func(rune) bool { return false })
}

// isBreak reports whether r is white space other than the blank.
func isBreak(r rune) bool { return r != ' ' && unicode.IsSpace(r) }

// FirstLine returns the first line of s that has anything in it, as [OneLine] does.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return OneLine(line)
}

// Shorten returns s, or its beginning and an ellipsis, in at most limit bytes. It cuts
// no character in two.
func Shorten(s string, limit int) string {
	const ellipsis = "…"
	if len(s) <= limit {
		return s
	}
	end := max(limit-len(ellipsis), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// IsPrintable reports whether r is shown as it is: a letter, mark, number, punctuation
// or symbol of Unicode, or the blank. Control and format characters, characters for
// private use and those that this version of Unicode does not know are not.
func IsPrintable(r rune) bool { return unicode.IsPrint(r) }

func escape(s string, keep func(rune) bool) string {
	if isPlain(s) {
		return s
	}
	var out strings.Builder
	out.Grow(len(s) + len(s)/4)
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, s[0])
		case keep(r), IsPrintable(r):
			out.WriteRune(r)
		case unicode.Is(unicode.Zs, r):
			out.WriteByte(' ') // some translations of git separate by U+00A0
		case r < utf8.RuneSelf:
			fmt.Fprintf(&out, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			fmt.Fprintf(&out, `\U%08x`, r)
		}
		s = s[size:]
	}
	return out.String()
}

// isPlain reports whether s is of printable ASCII alone, as most texts are.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
