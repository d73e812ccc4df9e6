package gitconfig

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// Submodules let git ask ghapp when it clones a submodule of a repository later on.
// git reads nothing of the superproject's configuration then, but its own for the directory
// in which it keeps the submodule, which is below the superproject's: so the user's file
// includes another on the condition of that place
// (https://git-scm.com/docs/git-config#_conditional_includes).
type Submodules struct {
	include   string // the file that is included, in the superproject's own directory
	user      string // the file that includes it: the user's
	condition string // of includeIf
	files     *Files
}

// Submodules are those of the repository whose configuration stands in a file.
func (f *Files) Submodules(ctx context.Context, config string) (Submodules, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(config))
	if err != nil {
		return Submodules{}, err
	}
	if strings.ContainsAny(dir, "\n\x00") {
		return Submodules{},
			&fault.UsageError{Err: errors.New("git has no condition for a directory with a line break in its name")}
	}
	l := Submodules{files: f, include: filepath.Join(dir, "ghapp-submodules")}
	l.user, err = f.Path(ctx, gitsetup.Global)
	// A condition is a pattern, which ends with a slash for all that is below.
	l.condition = "gitdir:" + strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`,
		`\\`).Replace(filepath.ToSlash(dir)) + "/"
	return l, err
}

// write makes or changes both files.
func (l Submodules) write(ctx context.Context, origins []string,
	sections []gitsetup.Section) (changed bool, err error) {
	changed, err = gitsetup.Edit(l.include,
		func(text []byte) []byte { return gitsetup.Apply(text, origins, sections) },
		func(path string) error { return l.files.Reads(ctx, path, sections) })
	if err != nil {
		return false, err
	}
	including := []gitsetup.Section{{Name: "includeIf", Subsection: l.condition,
		Settings: []gitsetup.Setting{{Name: "path", Value: filepath.ToSlash(l.include)}}}}
	userChanged, err := gitsetup.Edit(l.user,
		func(text []byte) []byte { return gitsetup.Apply(text, []string{l.condition}, including) },
		func(path string) error { return l.files.Reads(ctx, path, including) })
	return changed || userChanged, err
}

// written reports whether the file that is included is there.
func (l Submodules) written() bool { return exists(l.include) }

// Remove takes away what write wrote; of origins alone, where these are not nil. The user's
// file is not touched where it has nothing of ours.
func (l Submodules) Remove(origins []string) (changed bool, err error) {
	if l.written() {
		changed, err = gitsetup.Edit(l.include,
			func(text []byte) []byte { return gitsetup.Remove(text, origins) }, func(string) error { return nil })
	}
	text, unread := os.ReadFile(l.user)
	if err != nil || l.written() || unread != nil || !bytes.Contains(text, []byte(`[includeIf "`)) {
		return changed, explained(err)
	}
	including, err := gitsetup.Edit(l.user,
		func(text []byte) []byte { return gitsetup.Remove(text, []string{l.condition}) }, func(string) error { return nil })
	return changed || including, explained(err)
}

// SetSubmodules writes both files where that is asked for, or where they are there
// already, and so are pointed anew. config is the file of the repository.
func (f *Files) SetSubmodules(
	ctx context.Context, config string, origins []string, sections []gitsetup.Section, asked bool,
) (changed bool, err error) {
	later, err := f.Submodules(ctx, config)
	switch {
	case err != nil && asked:
		return false, explained(err)
	case err != nil || !asked && !later.written():
		return false, nil
	}
	changed, err = later.write(ctx, origins, sections)
	return changed, explained(err)
}
