package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
)

// Restore brings a repository back from its mirror, of which nothing changes.
type Restore struct {
	From *Found
	// At is the time that it is brought back from. Zero: as it was seen last.
	At time.Time
	// Environ is the environment of the user, and Own are the secrets in it that git is not to have.
	Environ []string
	Own     childenv.Own
	// Log is told of what is left out.
	Log *slog.Logger
}

// Directory says where a repository is brought back to.
type Directory struct {
	// Path is where it goes: an absolute path, at which nothing is, or an empty directory.
	Path string
	// Bare leaves out the work tree, and takes the refs of pull requests too, if there are any.
	Bare bool
	// Origin is the address of its remote origin.
	Origin string
}

// Restored is what was brought back.
type Restored struct {
	Branches, Tags int
	Head           string // the branch that is checked out, without refs/heads/; empty: none is there
	Commit         string // of Head
	Large          int    // files of Git LFS
	// Missing are those that commits name and the mirror does not have, or has damaged, by their IDs.
	Missing []string
	// Pointers says that the work tree has the pointers of large files, since Git LFS is not set up here.
	Pointers bool
}

func (r *Restore) repository() *barerepo.Repository {
	return &barerepo.Repository{Dir: r.From.Dir, Git: gitcmd.Runner{Environ: r.Environ, Own: r.Own}, Log: r.Log}
}

// snapshot is what the repository had, of the refs that begin with some prefixes.
func (r *Restore) snapshot(ctx context.Context, prefixes ...string) (shot *barerepo.Snapshot, err error) {
	if _, err := os.Stat(r.From.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, r.From.missing()
	} else if err != nil {
		return nil, err
	}
	if r.At.IsZero() {
		shot, err = r.repository().Snapshot(ctx)
	} else {
		shot, err = r.repository().At(ctx, r.At, r.From.history)
		if e, ok := errors.AsType[*barerepo.Error](err); ok {
			named := *e // the directory may be a temporary one, made of bundles
			named.Op = fmt.Sprintf("look up %s as it was at %s", r.From.Name, r.At.UTC().Format(time.RFC3339))
			err = &named
		}
	}
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(shot.Refs, func(name, _ string) bool {
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
	return shot, nil
}

// restoredPrefixes are those of the refs that a repository is restored with.
func restoredPrefixes() []string { return []string{"refs/heads/", "refs/tags/", "refs/notes/"} }

// ToDirectory makes a repository in a directory, whole or not at all. All branches are branches
// there, too: what they were may be nowhere else.
func (r *Restore) ToDirectory(ctx context.Context, d Directory) (_ *Restored, err error) {
	defer func() { err = diag.During(diag.Restoring, filepath.Dir(d.Path), err) }()
	if d.Path, err = vacant(d.Path); err != nil {
		return nil, err
	}
	prefixes := restoredPrefixes()
	if d.Bare {
		prefixes = append(prefixes, "refs/pull/")
	}
	shot, err := r.snapshot(ctx, prefixes...)
	if err != nil {
		return nil, err
	}
	temp, done, err := r.workplace(ctx, d.Path)
	if err != nil {
		return nil, &fault.SettingError{Err: err, Hint: "give a directory that can be made with --to"}
	}
	defer done() // what is published is not in it any more
	made := filepath.Join(temp, "made")
	e := barerepo.Export{Dir: made, WorkTree: !d.Bare, Refs: shot, Origin: d.Origin}
	if err := r.repository().Export(ctx, e); err != nil {
		return nil, err
	}
	restored := newRestored(shot)
	gitDir := made
	if !d.Bare {
		gitDir = filepath.Join(made, ".git")
	}
	if err := r.copyLarge(ctx, shot, gitDir, restored); err != nil {
		return nil, err
	}
	if !d.Bare && restored.Commit != "" {
		if err := r.checkOut(ctx, made, restored); err != nil {
			return nil, err
		}
	}
	if err := publish(made, d.Path); err != nil {
		return nil, err
	}
	return restored, flush.Parent(d.Path)
}

// workplace is a directory of nobody else's beside a target, which done takes away. What a process
// has left there that was killed goes first: nobody holds its lock any more.
func (r *Restore) workplace(ctx context.Context, target string) (temp string, done func(), err error) {
	const lock = "lock"
	parent, prefix := filepath.Dir(target), ".ghapp-restore-"+filepath.Base(target)+"-"
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return "", nil, err
	}
	list, _ := os.ReadDir(parent)
	for _, e := range list {
		left := filepath.Join(parent, e.Name())
		if _, none := os.Lstat(filepath.Join(left, lock)); !strings.HasPrefix(e.Name(), prefix) || !e.IsDir() || none != nil {
			continue
		}
		unlock, err := filelock.Take(ctx, filepath.Join(left, lock), 0)
		if err != nil {
			continue // it is another's, and in use
		}
		if err := os.RemoveAll(left); err != nil {
			r.Log.Warn("what a restore has left that was killed cannot be taken away", "directory", left, "error", err)
		} else {
			r.Log.Warn("what a restore had left that was killed was taken away", "directory", left)
		}
		unlock()
	}
	if temp, err = os.MkdirTemp(parent, prefix); err != nil {
		return "", nil, err
	}
	unlock, err := filelock.Take(ctx, filepath.Join(temp, lock), 0)
	if err != nil {
		unlock = func() {} // there are file systems without locks
	}
	return temp, func() { _ = os.RemoveAll(temp); unlock() }, nil
}

// vacant is the directory that a path leads to, and an error where something is in the way.
func vacant(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, none := os.Lstat(path); none == nil {
			return "", &fault.ExitError{Code: fault.Usage, Err: fmt.Errorf("%s is a link that leads to nothing", path),
				Hint: "nothing was changed: make what it leads to, take it away, or give another directory with --to"}
		}
		return path, nil
	}
	var list []fs.DirEntry
	if err == nil {
		list, err = os.ReadDir(dir)
	}
	if err != nil {
		return "", &fault.UsageError{Err: err, Hint: "give a directory that is not there yet with --to"}
	}
	if len(list) == 0 {
		return dir, nil
	}
	return "", &fault.ExitError{Code: fault.Usage, Err: fmt.Errorf("%s is there already, and not empty", path),
		Hint: "nothing is overwritten: give a directory that is not there yet with --to"}
}

// publish puts what was made where it belongs, at which nothing is, or an empty directory.
func publish(made, dir string) error {
	if err := ignoreMissing(os.Remove(dir)); err != nil {
		return &fault.SettingError{Err: err,
			Hint: "an empty directory is replaced, and this one cannot be: give one that is not there yet with --to"}
	}
	return os.Rename(made, dir)
}

// missing is the error of a mirror that is not there.
func (f *Found) missing() error {
	e := &fault.ExitError{Code: fault.Usage, Err: fmt.Errorf("there is no mirror of %s: %s is not there", f.Name, f.Dir),
		Hint: "the next run of `ghapp mirror` makes it anew, as long as GitHub has the repository"}
	if f.Wiki {
		e.Err = fmt.Errorf("there is no mirror of the wiki of %s: %s is not there", f.Name, f.Dir)
		e.Hint = "`ghapp mirror --wikis` keeps wikis; one without a page is none"
	}
	return e
}

func newRestored(shot *barerepo.Snapshot) *Restored {
	done := &Restored{Commit: shot.Refs[shot.Head]}
	if done.Commit != "" {
		done.Head = strings.TrimPrefix(shot.Head, "refs/heads/")
	}
	for name := range shot.Refs {
		switch {
		case strings.HasPrefix(name, "refs/heads/"):
			done.Branches++
		case strings.HasPrefix(name, "refs/tags/"):
			done.Tags++
		}
	}
	return done
}

// pointers are those of the large files that refs need, each once.
func (r *Restore) pointers(ctx context.Context, shot *barerepo.Snapshot) (map[string]lfsstore.Pointer, error) {
	return pointersOf(ctx, r.repository(), slices.Collect(maps.Values(shot.Refs)))
}

func pointersOf(ctx context.Context, r *barerepo.Repository, ids []string) (map[string]lfsstore.Pointer, error) {
	list := map[string]lfsstore.Pointer{}
	err := r.SmallBlobs(ctx, ids, lfsstore.MostPointer, func(text []byte) error {
		if p, ok := lfsstore.ParsePointer(text); ok && p.Size > 0 {
			list[p.ID] = p
		}
		return nil
	})
	return list, err
}

// copyLarge copies the large files that refs need, each of which is checked by its hash.
func (r *Restore) copyLarge(ctx context.Context, shot *barerepo.Snapshot, gitDir string, done *Restored) error {
	need, err := r.pointers(ctx, shot)
	if err != nil {
		return err
	}
	from, to := lfsstore.Of(r.From.Dir), lfsstore.Of(gitDir)
	for _, id := range slices.Sorted(maps.Keys(need)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := from.Copy(id, to)
		switch damaged := (*lfsstore.DamagedError)(nil); {
		case errors.As(err, &damaged):
			r.Log.Warn("a large file in the mirror is damaged, and is left out", "file", id, "mirror", r.From.Dir)
			done.Missing = append(done.Missing, id)
		case errors.Is(err, fs.ErrNotExist):
			done.Missing = append(done.Missing, id)
		case err != nil:
			return err
		default:
			done.Large++
		}
	}
	return nil
}

// checkOut puts the files of HEAD into the work tree, as a clone of the user's would. Large files
// come from what was copied, and from nowhere else.
func (r *Restore) checkOut(ctx context.Context, dir string, done *Restored) error {
	git := gitcmd.Runner{
		Dir: dir, Own: r.Own, Config: []string{"submodule.recurse=false"},
		Environ: append(slices.Clone(r.Environ), "GIT_LFS_SKIP_SMUDGE=1"),
	}
	if err := git.Run(ctx, gitcmd.Scope{}, "reset", "--hard", "--quiet"); err != nil {
		return err
	}
	if done.Large == 0 {
		return nil
	}
	git.Environ = r.Environ
	_, err := git.Output(ctx, gitcmd.Scope{}, "config", "--get", "filter.lfs.clean")
	if _, none := exec.LookPath("git-lfs"); err != nil || none != nil {
		done.Pointers = true
		return ctx.Err()
	}
	return git.Run(ctx, gitcmd.Scope{}, "lfs", "checkout")
}
