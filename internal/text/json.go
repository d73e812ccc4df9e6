package text

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// JSON returns a JSON text (RFC 8259) with the same meaning in which everything that is
// not printable is written as \u202e. encoding/json leaves what is not below U+0020 as it
// is, and a person may read JSON on a terminal. Lines and tabs between values stay.
func JSON(s string) string {
	if isPlain(s) {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '\n', r == '\t', r == '\r', IsPrintable(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
