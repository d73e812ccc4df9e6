package gitcmd

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A server's objects are checked as those of a stranger (fetch.fsckObjects in
// git-config(1)), but for what only concerns how a commit, a tag or an attribute is
// written down. GitHub serves histories with all of that, `git clone` takes them, and no
// file depends on it.

// allocLimit bounds a piece of memory that git asks for, as for an object made of deltas: GitHub takes no
// file of more than 100 MB.
const allocLimit = "GIT_ALLOC_LIMIT=1g"

// Bounded is an environment in which no object of a stranger's is larger than git may make, unless it
// says already how large that is. [WholeObjects] has to go with it.
func Bounded(environ []string) []string {
	name, _, _ := strings.Cut(allocLimit, "=")
	if slices.ContainsFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") }) {
		return environ
	}
	return append(slices.Clip(environ), allocLimit)
}

// WholeObjects is the variable of git's configuration, and its value, that has git take every object
// whole into memory. It would read through a large file however large that is, and of zeros a
// thousandth is sent.
func WholeObjects() (name, value string) {
	return "core.bigFileThreshold", strconv.Itoa(math.MaxInt)
}

// Strict is the option of git index-pack that has it check objects, but for some checks.
func Strict(unchecked []string) string {
	if len(unchecked) == 0 {
		return "--strict"
	}
	return "--strict=" + strings.Join(unchecked, "=ignore,") + "=ignore"
}

// Unchecked are the checks of git's that are left out
// (https://git-scm.com/docs/git-fsck#_fsck_messages).
func Unchecked() []string {
	return []string{
		// Who made a commit or a tag, and when.
		"badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingEmail", "missingNameBeforeEmail",
		"missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "zeroPaddedDate",
		// What else stands in them.
		"badTagName", "extraHeaderEntry", "missingTaggerEntry", "nulInCommit",
		// Modes with a zero before them, and those of the first versions of git, which git
		// reads as the modes that there are.
		"badFilemode", "zeroPaddedFilemode",
		// Lines of .gitattributes that are too long, which git passes over.
		"gitattributesLineLength",
	}
}

// CheckFsckName returns why a name cannot be that of a check that is left out.
func CheckFsckName(name string) error {
	letters := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !letters(r) }):
		return fmt.Errorf("%q is no name of a check of git's, such as zeroPaddedDate", name)
	case strings.EqualFold(name, "nulInHeader"), strings.EqualFold(name, "unterminatedHeader"):
		return fmt.Errorf("git's check %s cannot be left out", name)
	}
	return nil
}

// OnlyWriting reports whether the failure of a git fsck, which printed nothing of objects that are
// missing, is only about how objects are written. That is no damage: they came that way.
func OnlyWriting(e *Error) bool {
	if e.ExitCode <= 0 {
		return false
	}
	for line := range strings.Lines(e.Stderr) {
		line = strings.TrimSpace(line)
		kind, about, _ := strings.Cut(line, " in ")
		// A notice is that HEAD names no branch yet.
		if !strings.HasPrefix(line, "notice: ") && (about == "" || kind != "error" && kind != "warning") {
			return false
		}
	}
	return e.Stderr != ""
}
