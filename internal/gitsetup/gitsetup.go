// Package gitsetup edits a file of git's configuration so that git asks a credential
// helper for one origin, and takes the edit back byte for byte.
//
// Every line that it writes ends with the same comment. git keeps a comment while it
// edits other lines, and drops it with a line that it replaces: so a marked line is
// ours, and everything else is somebody else's, whatever has happened to the file
// since.
package gitsetup

import (
	"bytes"
	"slices"
	"strings"
)

const (
	// mark ends each line of ours.
	mark = "# ghapp git-setup"
	// begun is the first line of a file that was not there before.
	begun = "# This file was begun by ghapp git-setup.\n"
)

// Section is a section of git's configuration and its settings, in order.
type Section struct {
	// Name is such as credential, Subsection what stands behind it in quotes, which
	// here is an origin, such as https://github.com, or an address on it.
	Name, Subsection string
	Settings         []Setting
	// Origin is what a section without a subsection goes with. Its header has it in a
	// comment.
	Origin string
}

// header is what stands before the mark.
func (s Section) header() string {
	if s.Subsection == "" && s.Origin != "" {
		return "[" + s.Name + "] # " + Quote(s.Origin)
	}
	return "[" + s.Name + " " + Quote(s.Subsection) + "]"
}

// Key is the name of a setting of the section as git lists it.
func (s Section) Key(setting Setting) string {
	key := strings.ToLower(s.Name) + "."
	if s.Subsection != "" || s.Origin == "" {
		key += s.Subsection + "."
	}
	return key + strings.ToLower(setting.Name)
}

// Setting is one variable of a section and its value.
type Setting struct{ Name, Value string }

// Text returns the sections as [Apply] writes them.
func Text(sections []Section) []byte {
	var b bytes.Buffer
	for _, s := range sections {
		b.WriteString(s.header() + " " + mark + "\n")
		for _, setting := range s.Settings {
			b.WriteString("\t" + setting.Name + " = " + Quote(setting.Value) + " " + mark + "\n")
		}
	}
	return b.Bytes()
}

// Quote quotes a value, or a subsection, for a configuration file of git's
// (https://git-scm.com/docs/git-config#_syntax). Of a subsection git reads each
// escaped character as itself, and origins have none.
func Quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text) + `"`
}

// Apply returns the text of a file with the sections as its last, where they go
// before what others have set, and without older ones of ours for their origins. A nil
// text is that of a file that is not there. Applied again it changes nothing.
func Apply(text []byte, origins []string, sections []Section) []byte {
	ours := Text(sections)
	if text == nil {
		return append([]byte(begun), ours...)
	}
	rest := remove(text, origins)
	if len(rest) > 0 && rest[len(rest)-1] != '\n' {
		// So that Remove can tell that the last line had no end.
		return append(append(bytes.Clone(rest), '\n'), bytes.TrimSuffix(ours, []byte("\n"))...)
	}
	return append(bytes.Clone(rest), ours...)
}

// Remove returns the text without our sections for origins; nil is all of ours. It is
// what stood there before [Apply], together with what others have changed since. Nil
// is the text of a file that was not there.
func Remove(text []byte, origins []string) []byte {
	rest := remove(text, origins)
	if bytes.Equal(rest, []byte(begun)) {
		return nil
	}
	if own, ok := bytes.CutPrefix(rest, []byte(begun)); ok && !bytes.Contains(own, []byte(mark)) {
		return own
	}
	return rest
}

func remove(text []byte, origins []string) []byte {
	kept := []byte{}
	var last, header []byte // header is that of the section, for what others have written into it
	removing := false       // whether the section is ours, and for one of them
	for line := range bytes.Lines(text) {
		last = line
		switch {
		case isHeader(line):
			removing, header = isOurs(line) && isFor(line, origins), line
			if removing {
				continue
			}
		case isOurs(line) && (removing || origins == nil):
			continue
		case removing && isSetting(line) && header != nil:
			kept = append(kept, unmarked(header)...)
			header = nil
		}
		kept = append(kept, line...)
	}
	if removing && isOurs(last) && last[len(last)-1] != '\n' {
		kept = bytes.TrimSuffix(kept, []byte("\n"))
	}
	return kept
}

// isOurs reports whether a line ends with the mark, which is no part of a value: after
// one in quotes a quote would come, and after one that goes on a backslash. git gives
// the mark of a section that it renames a line of its own.
func isOurs(line []byte) bool {
	line = bytes.TrimRight(line, "\r\n")
	return bytes.HasSuffix(line, []byte(" "+mark)) || string(bytes.TrimSpace(line)) == mark
}

// Ours reports whether an entry of a file with this text was written by [Apply].
func Ours(text []byte, e Entry) bool {
	n := LineOf(text, e)
	lines := bytes.Split(text, []byte("\n"))
	return n > 0 && n <= len(lines) && isOurs(lines[n-1])
}

// isFor reports whether the section is about one of the origins.
func isFor(header []byte, origins []string) bool {
	subsection := subsectionOf(header)
	return origins == nil || slices.ContainsFunc(origins, func(origin string) bool {
		return subsection == origin || strings.HasPrefix(subsection, origin+"/")
	})
}

// subsectionOf is what stands in quotes in the header of a section: its subsection, or the
// origin that ours without one goes with.
func subsectionOf(header []byte) string {
	_, quoted, _ := strings.Cut(string(header), `"`)
	var b strings.Builder
	for i := 0; i < len(quoted) && quoted[i] != '"'; i++ {
		if quoted[i] == '\\' && i+1 < len(quoted) {
			i++
		}
		b.WriteByte(quoted[i])
	}
	return b.String()
}

func isHeader(line []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("[")) }

// isSetting reports whether a line is neither empty nor a comment nor a header.
func isSetting(line []byte) bool {
	trimmed := bytes.TrimSpace(line)
	return len(trimmed) > 0 && !bytes.ContainsRune([]byte("#;["), rune(trimmed[0]))
}

// unmarked is a header of ours as one of others.
func unmarked(header []byte) []byte {
	return append(bytes.TrimSuffix(bytes.TrimRight(header, "\r\n"), []byte(" "+mark)), '\n')
}
