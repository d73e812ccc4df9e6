package doctor

import (
	"strings"
	"unicode"
)

// printable leaves out what a terminal obeys: names and messages come from servers,
// files and programs.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
}
