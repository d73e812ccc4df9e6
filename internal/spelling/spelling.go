// Package spelling finds what was meant by a name that is not known.
package spelling

import (
	"fmt"
	"strings"
)

// DidYouMean asks whether a name was meant; "" for none.
func DidYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", name)
}

// Nearest returns the name that was probably meant, or "": one that is a word of
// it, such as installation in installation_id, or one a slip of the finger or two
// away.
func Nearest(text string, names []string) string {
	text = strings.ToLower(text)
	best, least := "", 3
	for _, name := range names {
		d := distance(text, strings.ToLower(name))
		if d < least && 2*d <= len(text) {
			best, least = name, d
		}
	}
	if best != "" {
		return best
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("_-. ", r) })
	for _, name := range names {
		for _, word := range words {
			if word == strings.ToLower(name) {
				return name
			}
		}
	}
	return ""
}

// distance is the number of characters to add, remove or replace to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
