package gitcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// CloneOptions say what to clone, and where to.
type CloneOptions struct {
	// Scope says who answers for the repository. Its URLs and Submodules are set
	// from the other fields, and it stays.
	Scope
	// URL is the repository's https address, on Origin.
	URL string
	// Dir is the directory to clone into. Empty: named after the repository.
	Dir string
	// Branch is the branch or tag to check out. Empty: the repository's default.
	Branch string
	// Depth is how many commits of its history to fetch. Zero: all.
	Depth int
	// Extra are options of git clone, as the user wrote them. Those that could lead
	// credentials or the clone elsewhere are refused with an [*OptionError].
	Extra []string
	// Asked returns what is closed when git, from now on, asks Helper for a credential for
	// an address on Origin, which shows that no configuration has put another one in its
	// place. Nil: that is found out by another call of git.
	Asked func(address string) <-chan struct{}
	// Persist is what stays in the clone's own configuration, and in those of its
	// submodules, so that later calls of plain git find the credential helper. Empty:
	// nothing of ours stays.
	Persist []gitsetup.Section
}

// plan is a clone whose options have been read.
type plan struct {
	CloneOptions
	flags
	path   string // of the working tree, or of a bare repository
	gitDir string // of the repository itself
}

// Destination returns the absolute path that a clone would go to. It returns an
// [*Error] with reason [DestinationExists] or [DestinationClosed] if git would not
// take it, and an [*OptionError] for options that are refused, so that both are
// known before anything is asked of GitHub.
func (r *Runner) Destination(o CloneOptions) (string, error) {
	p, err := r.plan(o)
	if err != nil {
		return "", err
	}
	for _, dir := range p.dirs() {
		if err := dir.check(); err != nil {
			return "", err
		}
	}
	return p.path, nil
}

// Clone clones a repository from its address and no other: where the server redirects,
// the error has the reason [Redirected], and it is for the caller to find out whether
// that leads to the same repository. After a failure, or when ctx ends, whatever was not
// there before is removed again, and what was there is as it was. The errors are
// those of [Runner.Destination] and [Runner.Run].
func (r *Runner) Clone(ctx context.Context, o CloneOptions) error {
	p, err := r.plan(o)
	if err != nil {
		return err
	}
	for _, address := range spellings(o.URL) {
		var rewritten *rewrittenError
		if err = r.cloneFrom(ctx, p, address); !errors.As(err, &rewritten) || ctx.Err() != nil {
			return err
		}
		err = &Error{Op: "clone", Reason: Rewritten, ExitCode: -1, Err: rewritten,
			Message: fmt.Sprintf("git's configuration replaces exactly %s by %s", address, rewritten.by)}
	}
	return err
}

// spellings are addresses of one repository, the given one first. An insteadOf of
// the machine's for exactly this address cannot be overridden, but avoided.
func spellings(address string) []string {
	bare, dotted := strings.CutSuffix(strings.TrimRight(address, "/"), ".git")
	other := bare
	if !dotted {
		other = bare + ".git"
	}
	return []string{address, other, bare + ".git/"}
}

// rewrittenError is the cause of a clone's end that went to another address.
type rewrittenError struct{ by string }

func (e *rewrittenError) Error() string { return "the address is replaced by " + e.by }

// askedSoon is how long git may take to ask for a credential before another git is asked
// where it went: one that goes elsewhere is stopped, and fetches little there.
const askedSoon = 500 * time.Millisecond

func (r *Runner) cloneFrom(ctx context.Context, p *plan, address string) (err error) {
	p.URLs = []string{address}
	env, err := r.environ(ctx, p.Scope)
	if err != nil {
		return err
	}
	for _, dir := range p.dirs() {
		if failed := dir.make(); failed != nil {
			return failed
		}
		defer func() { err = dir.finish(err) }()
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var check sync.WaitGroup
	ended := make(chan struct{})
	var asked <-chan struct{}
	if p.Asked != nil {
		asked = p.Asked(address)
	}
	check.Go(func() {
		if asked != nil {
			// Most clones say so by themselves soon, and need no program more.
			select {
			case <-asked:
				return
			case <-ended:
			case <-time.After(askedSoon):
			}
			select {
			case <-asked:
				return
			default:
			}
		}
		// Beside the clone, for the time it takes. A git that fails here fails
		// there too, and says why.
		out, err := r.output(ctx, env, []string{"ls-remote", "--get-url", "--", address})
		if by := strings.TrimSuffix(string(out), "\n"); err == nil && by != address {
			cancel(&rewrittenError{by})
		}
	})
	err = r.run(ctx, env, r.Stdout, r.Stderr, p.args(address, r.Progress))
	close(ended)
	check.Wait()
	if cause, ok := errors.AsType[*rewrittenError](context.Cause(ctx)); ok {
		return cause
	}
	if err == nil && len(p.Persist) > 0 {
		err = r.persist(ctx, p, env)
	}
	return err
}

func (r *Runner) plan(o CloneOptions) (*plan, error) {
	f, err := parseOptions(o.Extra)
	if err == nil {
		err = f.ofOthers(r.Dir)
	}
	if err != nil {
		return nil, err
	}
	p := &plan{CloneOptions: o, flags: f}
	p.Submodules, p.URLs, p.Stays = f.submodules, []string{o.URL}, true
	switch {
	case o.Origin == "" || o.Helper == "":
		return nil, errors.New("clone: an origin and its helper are needed")
	case strings.HasPrefix(o.Branch, "-") || strings.ContainsFunc(o.Branch, unicode.IsControl):
		return nil, &OptionError{"--branch", fmt.Sprintf("%q is no name of a branch or tag", o.Branch)}
	case o.Depth < 0:
		return nil, &OptionError{"--depth", "it is negative"}
	case strings.HasPrefix(o.Dir, "-") || strings.ContainsRune(o.Dir, 0):
		return nil, &OptionError{o.Dir, "a directory of this name is written ./" + o.Dir}
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	if p.Dir == "" {
		p.Dir = directoryOf(o.URL, f.bare)
	}
	if p.path, err = r.absolute(p.Dir); err != nil {
		return nil, err
	}
	switch {
	case f.bare:
		p.gitDir = p.path
	case f.separateGitDir != "":
		p.gitDir, err = r.absolute(f.separateGitDir)
	default:
		p.gitDir = filepath.Join(p.path, ".git")
	}
	return p, err
}

// directoryOf is the name that git derives from an address: its last part, with
// .git for a bare repository and without for others.
func directoryOf(address string, bare bool) string {
	name := strings.TrimRight(address, "/")
	name = strings.TrimSuffix(strings.TrimSuffix(name, "/.git"), ".git")
	name = name[strings.LastIndexByte(name, '/')+1:]
	if bare {
		name += ".git"
	}
	return name
}

func (r *Runner) absolute(path string) (string, error) {
	if filepath.IsAbs(path) || r.Dir == "" {
		return filepath.Abs(path)
	}
	return filepath.Abs(filepath.Join(r.Dir, path))
}

// dirs are the directories that git makes.
func (p *plan) dirs() []*cloneDir {
	list := []*cloneDir{{path: p.path}}
	if p.separateGitDir != "" && !p.bare {
		list = append(list, &cloneDir{path: p.gitDir, alone: true})
	}
	return list
}

func (p *plan) args(address string, progress bool) []string {
	args := []string{"clone"}
	if progress {
		args = append(args, "--progress")
	}
	if p.Branch != "" {
		args = append(args, "--branch="+p.Branch)
	}
	if p.Depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(p.Depth))
	}
	args = append(args, p.Extra...)
	return append(args, "--", address, p.Dir)
}

// persist writes what stays into the clone's configuration and into those of its
// submodules, where git looks when it works in them. A submodule under an address of
// ssh or http keeps that, and gets the rewrite that this clone was made with.
func (r *Runner) persist(ctx context.Context, p *plan, env environ) error {
	if err := p.persistIn(p.gitDir, p.Persist); err != nil || !p.submodules || p.bare {
		return err
	}
	dirs, err := SubmoduleDirs(p.gitDir)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		remote, err := r.output(ctx, env, []string{"config", "--file=" + filepath.Join(dir, "config"),
			"--get-regexp", `^remote\..*\.url$`})
		if e, ok := errors.AsType[*Error](err); err != nil && !(ok && e.ExitCode == 1) {
			return err // 1: there is no remote
		}
		_, address, _ := strings.Cut(string(remote), " ")
		sections := slices.Clone(p.Persist)
		for _, form := range p.OtherForms() {
			if strings.HasPrefix(address, form) {
				rewrite := []gitsetup.Setting{{Name: "insteadOf", Value: form}}
				sections = append(sections, gitsetup.Section{Name: "url", Subsection: p.Origin + "/", Settings: rewrite})
			}
		}
		if err := p.persistIn(dir, sections); err != nil {
			return err
		}
	}
	return nil
}

// persistIn writes into the configuration of one repository, which git has just written.
func (p *plan) persistIn(gitDir string, sections []gitsetup.Section) error {
	_, err := gitsetup.Edit(filepath.Join(gitDir, "config"),
		func(text []byte) []byte { return gitsetup.Apply(text, []string{p.Origin}, sections) },
		func(string) error { return nil })
	return err
}

// SubmoduleDirs returns the repositories of a repository's submodules, and of theirs, where
// git keeps them: below modules in gitDir.
func SubmoduleDirs(gitDir string) ([]string, error) { return gitDirs(filepath.Join(gitDir, "modules")) }

// gitDirs returns the repositories below dir, in which git keeps those of
// submodules: dir/NAME, where NAME may have slashes, and dir/NAME/modules/NAME.
func gitDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var dirs []string
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		path, below := filepath.Join(dir, entry.Name()), ""
		if _, err := os.Stat(filepath.Join(path, "HEAD")); err == nil {
			dirs = append(dirs, path)
			below = "modules"
		}
		more, err := gitDirs(filepath.Join(path, below))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, more...)
	}
	return dirs, err
}
