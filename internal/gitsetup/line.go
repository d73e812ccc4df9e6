package gitsetup

import (
	"bytes"
	"regexp"
	"strings"
)

// LineOf returns the line, from 1, of an entry in the text of its file, or 0. It reads
// as much of git's syntax (https://git-scm.com/docs/git-config#_syntax) as is needed
// to find it.
func LineOf(text []byte, e Entry) int {
	header := regexp.MustCompile(`^\s*\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]`)
	variable := regexp.MustCompile(`^\s*([A-Za-z][A-Za-z0-9-]*)`)
	section, number, nth := "", 0, 0
	continued := false
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		number++
		within := continued
		continued = isContinued(line)
		if within {
			continue
		}
		if m := header.FindSubmatch(line); m != nil {
			section = strings.ToLower(string(m[1])) + "."
			if m[2] != nil {
				section += regexp.MustCompile(`\\(.)`).ReplaceAllString(string(m[2]), "$1") + "."
			}
			line = line[len(m[0]):]
		}
		m := variable.FindSubmatch(line)
		if m == nil || section+strings.ToLower(string(m[1])) != e.Key {
			continue
		}
		if nth == e.Nth {
			return number
		}
		nth++
	}
	return 0
}

// isContinued reports whether a line goes on in the next: it ends with a backslash
// that no other one escapes.
func isContinued(line []byte) bool {
	line = bytes.TrimRight(line, "\r\n")
	return (len(line)-len(bytes.TrimRight(line, `\`)))%2 == 1
}

// Netrc returns the line, from 1, of the first entry of a .netrc that has a login for
// the host, or 0. libcurl, and so git, uses that before it asks for a credential
// (https://everything.curl.dev/usingcurl/netrc.html).
func Netrc(text []byte, host string) int {
	number, machine := 0, false
	for line := range bytes.Lines(text) {
		number++
		for word := range strings.FieldsSeq(string(line)) {
			if strings.HasPrefix(word, "#") {
				break
			}
			word = strings.Trim(word, `"`)
			if word == "default" && !machine || machine && strings.EqualFold(word, host) {
				return number
			}
			machine = word == "machine"
		}
	}
	return 0
}
