package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// laterSubmodules lets git ask ghapp when it clones a submodule of a repository later on.
// git reads nothing of the superproject's configuration then, but its own for the directory
// in which it keeps the submodule, which is below the superproject's: so the user's file
// includes another on the condition of that place
// (https://git-scm.com/docs/git-config#_conditional_includes).
type laterSubmodules struct {
	include string // the file that is included, in the superproject's own directory
	user    string // the file that includes it: the user's
	place   string // the condition
}

// laterIn is that of the repository whose configuration stands in a file.
func (c *command) laterIn(ctx context.Context, git *gitcmd.Runner, config string) (laterSubmodules, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(config))
	if err != nil {
		return laterSubmodules{}, err
	}
	if strings.ContainsAny(dir, "\n\x00") {
		return laterSubmodules{}, &diag.UsageError{Err: errors.New("git has no condition for a directory with a line break in its name")}
	}
	l := laterSubmodules{include: filepath.Join(dir, "ghapp-submodules")}
	l.user, err = c.gitConfigFile(ctx, git, gitsetup.Global)
	// A condition is a pattern, which ends with a slash for all that is below.
	l.place = "gitdir:" + strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(filepath.ToSlash(dir)) + "/"
	return l, err
}

// write makes or changes both files.
func (l laterSubmodules) write(ctx context.Context, git *gitcmd.Runner, origins []string, sections []gitsetup.Section) (changed bool, err error) {
	included, err := gitsetup.Edit(l.include,
		func(text []byte) []byte { return gitsetup.Apply(text, origins, sections) },
		func(path string) error { return gitReads(ctx, git, path, sections) })
	if err != nil {
		return false, err
	}
	condition := []gitsetup.Section{{Name: "includeIf", Subsection: l.place, Settings: []gitsetup.Setting{{Name: "path", Value: filepath.ToSlash(l.include)}}}}
	including, err := gitsetup.Edit(l.user,
		func(text []byte) []byte { return gitsetup.Apply(text, []string{l.place}, condition) },
		func(path string) error { return gitReads(ctx, git, path, condition) })
	return included || including, err
}

// written reports whether the file that is included is there.
func (l laterSubmodules) written() bool { return exists(l.include) }

// remove takes away what write wrote; of origins alone, where these are not nil. The user's
// file is not touched where it has nothing of ours.
func (l laterSubmodules) remove(origins []string) (changed bool, err error) {
	if l.written() {
		changed, err = gitsetup.Edit(l.include,
			func(text []byte) []byte { return gitsetup.Remove(text, origins) }, func(string) error { return nil })
	}
	text, unread := os.ReadFile(l.user)
	if err != nil || l.written() || unread != nil || !bytes.Contains(text, []byte(`[includeIf "`)) {
		return changed, err
	}
	including, err := gitsetup.Edit(l.user,
		func(text []byte) []byte { return gitsetup.Remove(text, []string{l.place}) }, func(string) error { return nil })
	return changed || including, err
}

// setLaterSubmodules writes both files where that is asked for, or where they are there
// already, and so are pointed anew.
func (c *command) setLaterSubmodules(ctx context.Context, git *gitcmd.Runner, config string, origins []string, sections []gitsetup.Section, asked bool) (changed bool, err error) {
	later, err := c.laterIn(ctx, git, config)
	switch {
	case err != nil && asked:
		return false, err
	case err != nil || !asked && !later.written():
		return false, nil
	}
	return later.write(ctx, git, origins, sections)
}

// tellOfSubmodules says of a clone that has submodules that git will ask nobody for those
// that it fetches later, unless the configuration of the user or of the machine has it do so.
func (c *command) tellOfSubmodules(ctx context.Context, dir, origin string) {
	if !exists(filepath.Join(dir, ".gitmodules")) {
		return
	}
	root := filepath.VolumeName(dir) + string(filepath.Separator)
	git := gitcmd.Runner{Dir: root, Environ: c.Environ, Own: c.apps().Own()}
	helpers, err := git.Output(ctx, gitcmd.Scope{}, "config", "--get-all", "credential."+origin+".helper")
	if err == nil && strings.Contains(string(helpers), "ghapp") {
		return
	}
	c.progress("Submodules that plain git fetches here later will ask nobody for a credential: `ghapp git-setup` makes\n" +
		"all git of this user ask, `ghapp git-setup --local --submodules` in this clone that of its submodules.")
}
