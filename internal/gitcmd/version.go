package gitcmd

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
)

// Version is git's version.
type Version struct {
	Major, Minor, Patch int
	// Text is the whole of it, such as "2.47.1.windows.1".
	Text string
}

// String returns the text.
func (v Version) String() string { return v.Text }

// AtLeast reports whether v is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// Version asks git for its version. It returns an [*Error] with reason
// [NotInstalled] if there is no git and with [TooOld] if it is older than 2.31,
// which this package cannot use.
func (r *Runner) Version(ctx context.Context) (Version, error) {
	out, err := r.Output(ctx, Scope{}, "version")
	if err != nil {
		return Version{}, err
	}
	return parseVersion(string(out))
}

// versionPattern matches "git version 2.39.5 (Apple Git-154)", "git version
// 2.55.GIT" and "git version 2.47.1.windows.1".
var versionPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^git version ((\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?[^\r\n]*)`)
})

func parseVersion(out string) (Version, error) {
	m := versionPattern().FindStringSubmatch(out)
	if m == nil {
		return Version{}, fmt.Errorf("git version: %.80q is not a version of git", out)
	}
	v := Version{Text: m[1]}
	for i, number := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*number, _ = strconv.Atoi(m[i+2]) // digits, or nothing for no patch
	}
	return v, nil
}
