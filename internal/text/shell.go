package text

import "strings"

// ShellWord returns s as one word of a POSIX shell: as it is where no shell reads
// anything into it, and else in single quotes. It does not make s printable: a quoted
// word may be run, and what is run must be what was meant.
func ShellWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune("/._-+:@%,=", r)
	}
	// zsh takes a word that begins with = for the path of a command.
	if s != "" && s[0] != '=' && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// ShellWords returns words as a command line of a POSIX shell.
func ShellWords(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = ShellWord(word)
	}
	return strings.Join(quoted, " ")
}
