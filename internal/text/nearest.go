package text

import "strings"

// Nearest returns the name that was probably meant, or "": one that is a word of
// it, such as installation in installation_id, or one a slip of the finger or two
// away.
func Nearest(word string, names []string) string {
	word = strings.ToLower(word)
	best, least := "", 3
	for _, name := range names {
		d := distance(word, strings.ToLower(name))
		if d < least && 2*d <= len(word) {
			best, least = name, d
		}
	}
	if best != "" {
		return best
	}
	words := strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune("_-. ", r) })
	for _, name := range names {
		for _, part := range words {
			if part == strings.ToLower(name) {
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
