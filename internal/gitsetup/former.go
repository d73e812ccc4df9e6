package gitsetup

import (
	"bytes"
	"strings"
)

// RemoveFormer returns the text without what ghapp clone wrote into a clone before it
// marked its lines: three lines without a mark, of which the second names ghapp, for one of
// the origins; nil is all. A section that has nothing else goes with them.
//
//	[credential "https://github.com"]
//		helper =
//		helper = ghapp --app Iv23li...
//		useHttpPath = true
func RemoveFormer(text []byte, origins []string) []byte {
	if text == nil {
		return nil
	}
	var lines [][]byte
	for line := range bytes.Lines(text) {
		lines = append(lines, line)
	}
	kept := []byte{}
	var header []byte // of the section, while nothing of it has been kept
	keep := func(line []byte) {
		kept = append(append(kept, header...), line...)
		header = nil
	}
	within := false
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case isHeader(line):
			kept = append(kept, header...)
			header = nil
			within = isCredential(line) && isFor(line, origins) && !isOurs(line)
			if !within {
				keep(line)
				continue
			}
			header = line
		case within && isFormer(lines[i:]):
			i += 2
			if end := i+1 == len(lines) || isHeader(lines[i+1]); end && header != nil {
				header = nil // there is nothing else in the section
			}
		default:
			keep(line)
		}
	}
	return append(kept, header...)
}

// isCredential reports whether a section is a credential's for one address, as git writes
// its header.
func isCredential(header []byte) bool {
	return strings.HasPrefix(strings.TrimSpace(string(header)), `[credential "`) &&
		strings.HasSuffix(strings.TrimSpace(string(header)), `"]`)
}

// isFormer reports whether the lines begin with the three.
func isFormer(lines [][]byte) bool {
	if len(lines) < 3 {
		return false
	}
	var values [3]string
	for i, name := range []string{"helper", "helper", "useHttpPath"} {
		key, value, ok := strings.Cut(string(bytes.TrimSpace(lines[i])), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(key), name) {
			return false
		}
		values[i] = strings.TrimSpace(value)
	}
	return values[0] == "" && strings.Contains(values[1], "ghapp") && values[2] == "true"
}
