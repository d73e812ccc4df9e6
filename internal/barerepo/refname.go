package barerepo

import (
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// The parts of the name space of refs that are spoken of here.
const (
	heads    = "refs/heads/"
	ours     = "refs/ghapp/"
	keptRefs = ours + "kept/"
)

const (
	// maxPart is how long a part of a ref's name may be: it becomes a file's, with ".lock".
	maxPart = 240
	// maxName is how long the whole may be, which is part of a path.
	maxName = 1024
)

// checkRefName returns why a name cannot be that of a ref (git-check-ref-format(1)), or of one
// in a file.
func checkRefName(name string) error {
	rest, ok := strings.CutPrefix(name, "refs/")
	switch {
	case !ok || !strings.Contains(rest, "/"):
		return fmt.Errorf("it is not below refs/heads/ or the like")
	case len(name) > maxName:
		return fmt.Errorf("it is %d bytes long", len(name))
	case strings.Contains(name, ".."), strings.Contains(name, "@{"), strings.HasSuffix(name, "."):
		return fmt.Errorf("git does not allow it")
	}
	for _, c := range []byte(name) {
		if c < ' ' || c == 0x7f || strings.IndexByte(` ~^:?*[\`, c) >= 0 {
			return fmt.Errorf("git allows no %q in it", c)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "", part[0] == '.', strings.HasSuffix(part, ".lock"):
			return fmt.Errorf("git allows no part that is %q", part)
		case len(part) > maxPart:
			return fmt.Errorf("a part of it is %d bytes long, and is to be the name of a file", len(part))
		}
	}
	return nil
}

// idSize is how long the IDs of a format are, in bytes.
func idSize(format string) int {
	if format == gitwire.SHA256 {
		return 32
	}
	return 20
}

// isID reports whether text is an object's ID in hexadecimal digits, and not that of no object.
func isID(text, format string) bool {
	if len(text) != 2*idSize(format) {
		return false
	}
	zero := true
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zero = zero && c == '0'
	}
	return !zero
}

// noID is the ID that stands for none.
func noID(format string) string { return strings.Repeat("0", 2*idSize(format)) }
