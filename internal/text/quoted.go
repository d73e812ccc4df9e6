package text

import (
	"fmt"
	"unicode/utf8"
)

// maxQuoted is the length of the longest word that [Quoted] repeats, in bytes. Anything
// longer could be a token in the wrong place.
const maxQuoted = 32

// Quoted is a word that somebody has typed, for a message: in quotes, as Go writes it,
// or its length alone where it is long enough to be a secret.
func Quoted(word string) string {
	if len(word) > maxQuoted {
		return fmt.Sprintf("a word of %d characters", utf8.RuneCountInString(word))
	}
	return fmt.Sprintf("%q", word)
}
