package indexpack

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
)

// check looks at what all objects say, and whether all is there that they refer to.
func (u *unpacker) check() error {
	for i := range u.objects {
		o := &u.objects[i]
		ok := true
		switch o.kind {
		case commitType:
			ok = u.commit(o.data)
		case treeType:
			ok = u.tree(o.data)
		case tagType:
			ok = u.tag(o.data)
		}
		if !ok {
			return notPlain("%s %s is not plain, or refers to what is not there", names[o.kind], o.id)
		}
	}
	return nil
}

// has reports whether an object of a type is in the pack.
func (u *unpacker) has(id id, kind int) bool {
	place, ok := u.known[id]
	return ok && u.objects[place].kind == kind
}

// hasHex is has for an ID as commits and tags have it.
func (u *unpacker) hasHex(text []byte, kind int) bool {
	var raw id
	if len(text) != 2*idSize || bytes.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.Decode(raw[:], text)
	return err == nil && u.has(raw, kind)
}

// headers are those of a commit or a tag, of which each is taken once it is asked for.
type headers struct {
	rest []byte
}

// split parts a commit or a tag into its headers and its message.
func split(data []byte) (*headers, bool) {
	head, _, ok := bytes.Cut(data, []byte("\n\n"))
	return &headers{head}, ok && bytes.IndexByte(data, 0) < 0
}

// take takes the value of the next header, if that has the name.
func (h *headers) take(name string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(h.rest, []byte(name+" "))
	if !ok {
		return nil, false
	}
	value, rest, _ := bytes.Cut(rest, []byte("\n"))
	h.rest = rest
	return value, true
}

// pass takes the next header away, with the lines that it goes on in, if there is one that has the
// name.
func (h *headers) pass(name string) {
	if _, ok := h.take(name); !ok {
		return
	}
	for len(h.rest) > 0 && h.rest[0] == ' ' {
		_, h.rest, _ = bytes.Cut(h.rest, []byte("\n"))
	}
}

// commit reports whether a commit is plain, and has its tree and its parents in the pack.
func (u *unpacker) commit(data []byte) bool {
	h, ok := split(data)
	if !ok {
		return false
	}
	if tree, ok := h.take("tree"); !ok || !u.hasHex(tree, treeType) {
		return false
	}
	for {
		parent, ok := h.take("parent")
		if !ok {
			break
		}
		if !u.hasHex(parent, commitType) {
			return false
		}
	}
	for _, name := range []string{"author", "committer"} {
		if who, ok := h.take(name); !ok || !plainIdentity(who) {
			return false
		}
	}
	h.pass("encoding")
	h.pass("gpgsig")
	return len(h.rest) == 0
}

// tag reports whether a tag is plain, and what it is of is in the pack.
func (u *unpacker) tag(data []byte) bool {
	h, ok := split(data)
	if !ok {
		return false
	}
	object, ok := h.take("object")
	if !ok {
		return false
	}
	kind, ok := h.take("type")
	if !ok || len(kind) == 0 || !u.hasHex(object, slices.Index(names[:], string(kind))) {
		return false
	}
	if name, ok := h.take("tag"); !ok || !plainTagName(string(name)) {
		return false
	}
	who, ok := h.take("tagger")
	return ok && plainIdentity(who) && len(h.rest) == 0
}

// plainTagName reports whether a tag may have the name for certain (git-check-ref-format(1)).
func plainTagName(name string) bool {
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("._-+/", rune(c)) {
			return false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || part[0] == '-' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.HasSuffix(name, ".") && !strings.Contains(name, "..")
}

// plainIdentity reports whether the line of an author, a committer or a tagger is of the form
// NAME <EMAIL> SECONDS +HHMM.
func plainIdentity(line []byte) bool {
	if slices.ContainsFunc(line, func(c byte) bool { return c < ' ' || c == 0x7f }) {
		return false
	}
	name, rest, ok := bytes.Cut(line, []byte(" <"))
	if !ok || len(name) == 0 || name[0] == ' ' || bytes.ContainsAny(name, "<>") {
		return false
	}
	email, rest, ok := bytes.Cut(rest, []byte("> "))
	if !ok || bytes.ContainsAny(email, "<>") {
		return false
	}
	seconds, zone, ok := bytes.Cut(rest, []byte(" "))
	const longest = 10 // until the year 2286
	return ok && len(seconds) <= longest && digits(seconds) && seconds[0] != '0' &&
		len(zone) == len("+0000") && (zone[0] == '+' || zone[0] == '-') && digits(zone[1:])
}

// digits reports whether there are some, and nothing else.
func digits(b []byte) bool {
	return len(b) > 0 && !slices.ContainsFunc(b, func(c byte) bool { return c < '0' || c > '9' })
}

// tree reports whether a tree is plain, and all that it names is in the pack.
func (u *unpacker) tree(data []byte) bool {
	var last []byte    // the entry before, as it is sorted
	var files [][]byte // the names so far that are no directories'
	for len(data) > 0 {
		mode, rest, _ := bytes.Cut(data, []byte(" "))
		name, rest, ok := bytes.Cut(rest, []byte("\x00"))
		if !ok || len(rest) < idSize {
			return false
		}
		var object id
		data = rest[copy(object[:], rest):]
		kind := blobType
		sorted := name
		switch string(mode) {
		case "100644", "100755":
			files = append(files, name)
		case "40000":
			// A directory is sorted as if its name had a slash after it, and so may not be beside the
			// file of the same name.
			kind = treeType
			sorted = append(slices.Clip(name), '/')
			if _, twice := slices.BinarySearchFunc(files, name, bytes.Compare); twice {
				return false
			}
		default:
			return false // links, and commits of other repositories, have checks of their own
		}
		if bytes.Compare(last, sorted) >= 0 || !u.has(object, kind) || !u.plainName(name, kind, object) {
			return false
		}
		last = sorted
	}
	return true
}

// plainName reports whether the name of an entry is one that no check of git's is about, in
// whatever way a file system may read it.
func (u *unpacker) plainName(name []byte, kind int, object id) bool {
	const longest = 255
	if len(name) == 0 || len(name) > longest {
		return false
	}
	ascii := true
	for _, c := range name {
		switch {
		case c < ' ', c == 0x7f, c == '/', c == '\\', c == '~':
			return false
		// What HFS+ leaves out of a name begins with these (utf8.c of git).
		case c == 0xe2, c == 0xef:
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.Valid(name) {
		return false
	}
	if name[0] != '.' {
		return true
	}
	const special = ".git"
	if len(name) < len(special) || !strings.EqualFold(string(name[:len(special)]), special) {
		return len(bytes.Trim(name, ". ")) > 0
	}
	switch string(name) {
	case ".github":
		return true
	case ".gitignore", ".gitkeep":
		return kind == blobType
	case ".gitattributes":
		return kind == blobType && plainAttributes(u.objects[u.known[object]].data)
	}
	return false
}

// plainAttributes reports whether the lines of a .gitattributes have the length that all gits read.
func plainAttributes(data []byte) bool {
	const longest = 1024
	for line := range bytes.Lines(data) {
		if len(line) > longest || bytes.IndexByte(line, 0) >= 0 {
			return false
		}
	}
	return true
}
