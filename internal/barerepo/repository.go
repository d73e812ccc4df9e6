package barerepo

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/internal/regular"
)

// Repository is a bare repository on the disk, or the place of one that is yet to come.
type Repository struct {
	// Dir is where it is: an absolute path.
	Dir string
	// Temp is where it is made: an absolute path on the same file system, of which nobody else
	// makes use. Empty: Dir with ".new" at its end.
	Temp string
	// Git runs git. Of its environment, what git's variables and configuration files say has no
	// part in anything here: nobody is reached.
	Git gitcmd.Runner
	// Log is told of what was found amiss and mended. Nil: nothing is logged.
	Log *slog.Logger

	fault func(step string) // of the tests: what happens after a step
}

func (r *Repository) temp() string {
	if r.Temp != "" {
		return r.Temp
	}
	return r.Dir + ".new"
}

func (r *Repository) log() *slog.Logger {
	if r.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Log
}

// path is a file's in the repository.
func (r *Repository) path(parts ...string) string {
	return filepath.Join(append([]string{r.Dir}, parts...)...)
}

// step is a point at which a process may be killed.
func (r *Repository) step(name string) {
	if r.fault != nil {
		r.fault(name)
	}
}

// git is a call of git in the repository dir, with objects put where they are said to be; empty:
// where they are. What replaces and grafts objects there are somebody's own views of them.
func (r *Repository) git(dir, objects string, config ...string) *gitcmd.Runner {
	git := r.Git
	// An object that is not there is missing, and nobody is asked for it.
	git.Environ = append(gitcmd.Alone(git.Environ), "GIT_NO_LAZY_FETCH=1")
	git.Dir = dir
	git.Repository = gitcmd.Repository{Dir: dir, Objects: objects, Grafts: os.DevNull}
	git.Config = append([]string{"core.useReplaceRefs=false", "advice.graftFileDeprecated=false"}, config...)
	git.Stdout, git.Stderr, git.Progress = nil, nil, false
	return &git
}

// exists reports whether there is a repository. Something else in its place is an error, and so is one that
// was made here and is not whole.
func (r *Repository) exists() (bool, error) {
	list, err := os.ReadDir(r.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(list) == 0:
		return false, nil
	case err != nil:
		return false, err
	}
	for _, name := range []string{"HEAD", "objects", "config"} {
		info, err := os.Lstat(r.path(name))
		if err == nil {
			err = checkLink(r.path(name), info.Mode(), func() (fs.FileInfo, error) { return info, nil })
		}
		if _, unsafe := errors.AsType[*private.Error](err); unsafe {
			return false, err
		}
		if err != nil {
			problem := ErrForeign
			if id, err := r.Identity(); err == nil && id != "" {
				problem = ErrDamaged
			}
			return false, &Error{Problem: problem, Op: "look at " + r.Dir, Detail: "it has no " + name}
		}
	}
	return true, nil
}

// Identity is what [Options.Identity] was at the first update: which repository it is a mirror
// of. It is empty where nothing says so. The error is the system's.
func (r *Repository) Identity() (string, error) {
	text, err := readFile(r.path("config"))
	if err != nil {
		return "", err
	}
	return variable(text, "ghapp", "repository"), nil
}

// openFile opens a file to read it. Anything else is an error, above all a pipe, which has nobody wait for ever.
func openFile(path string) (*os.File, error) { return regular.Open(path) }

// mostFile bounds what is read of a file as a whole, in bytes.
const mostFile = 64 << 20

// readFile reads a file, as [openFile] opens it.
func readFile(path string) ([]byte, error) { return regular.Read(path, mostFile) }

// checkLink refuses a symbolic link that belongs neither to this user nor to root: it leads what is written
// to where somebody else wants it. The error is a [*private.Error], or the system's.
func checkLink(path string, mode fs.FileMode, info func() (fs.FileInfo, error)) error {
	if mode&fs.ModeSymlink == 0 {
		return nil
	}
	i, err := info()
	if err != nil {
		return err
	}
	return private.Closed(path, i)
}

// run is what one operation on a repository costs.
type run struct {
	*Repository
	processes int64
	checked   bool // what is in the repository: see checkFiles
}

// checkOnce looks at what is in the repository, once.
func (r *run) checkOnce() error {
	if r.checked {
		return nil
	}
	if err := checkFiles(r.Dir, whatIsUsed()...); err != nil {
		return err
	}
	r.checked = true
	return nil
}

// allow returns why git is not to be run.
func (r *run) allow(git *gitcmd.Runner) error {
	if git.Repository.Dir == r.Dir {
		if err := r.checkOnce(); err != nil {
			return err
		}
	}
	return checkConfiguration(git.Repository.Dir)
}

// call runs git, and counts it.
func (r *run) call(ctx context.Context, git *gitcmd.Runner, args ...string) error {
	if err := r.allow(git); err != nil {
		return err
	}
	r.processes++
	return git.Run(ctx, gitcmd.Scope{}, args...)
}

func (r *run) output(ctx context.Context, git *gitcmd.Runner, args ...string) ([]byte, error) {
	if err := r.allow(git); err != nil {
		return nil, err
	}
	r.processes++
	return git.Output(ctx, gitcmd.Scope{}, args...)
}
