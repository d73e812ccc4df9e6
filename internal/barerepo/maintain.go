package barerepo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// Maintenance says how much is put up with. The zero value is for a mirror that is updated often.
type Maintenance struct {
	// Packs is how many packs there may be until some are made one. Zero: 50, as in gc.autoPackLimit.
	Packs int
	// Loose is how many refs may have a file of their own until they are packed. Zero: 500.
	Loose int
	// Prune lets go, too, of what nothing has held for two weeks: what was kept, and has ended.
	// It takes git gc, which packs everything anew.
	Prune bool
}

// pruneAfter is how long what nothing holds is left for those who are at work with it: clones, and
// repositories that borrow objects.
const pruneAfter = "2.weeks.ago"

// Maintain bounds how many packs and files of refs there are, by git's own repack, pack-refs and
// gc. None of them ends a ref, nor an object that one holds, and who reads meanwhile goes on. It
// returns how many processes that took: none as long as there is nothing to do. The error is
// git's or the system's.
func (r *Repository) Maintain(ctx context.Context, m Maintenance) (processes int64, err error) {
	u := &update{run: &run{Repository: r}, ctx: ctx}
	if err := u.clean(true); err != nil {
		return 0, err
	}
	if err := u.removeTemporary(); err != nil {
		return 0, err
	}
	err = u.maintain(m)
	return u.processes, err
}

// locking runs what git takes locks for, so that the next of us knows where it is killed.
func (u *update) locking(work func() error) error {
	if err := beginBatch(u.Dir, nil); err != nil {
		return err
	}
	err := work()
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.ExitCode <= 0 {
		return err // it was killed
	}
	return errors.Join(err, endBatch(u.Dir))
}

// removeTemporary takes away packs that a killed git has not finished, once they are a day old: a git
// of the user's that works on one writes to it more often.
func (u *update) removeTemporary() error {
	for _, pattern := range []string{"tmp_*", ".tmp-*"} {
		names, err := filepath.Glob(filepath.Join(globQuoted(u.path("objects", "pack")), pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := os.Lstat(name)
			if err == nil && time.Since(info.ModTime()) > 24*time.Hour {
				err = os.Remove(name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (u *update) maintain(m Maintenance) error {
	if m.Prune {
		return u.gc()
	}
	packs, err := u.packs()
	if err != nil {
		return err
	}
	if packs > orDefault(m.Packs, 50) {
		if err := u.repack(); err != nil {
			return err
		}
	}
	s, err := u.read(u.ctx)
	if err != nil || s.loose <= orDefault(m.Loose, 500) {
		return err
	}
	return u.locking(func() error { return u.call(u.ctx, u.maintainer(), "pack-refs", "--all", "--prune") })
}

func orDefault(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// maintainer is a git that has what it makes on the disk before it takes away what that replaces.
func (u *update) maintainer() *gitcmd.Runner {
	return u.git(u.Dir, "", "core.fsync=committed,derived-metadata", "gc.cruftPacks=true", "gc.pruneExpire="+pruneAfter,
		"gc.worktreePruneExpire=never", "gc.reflogExpire=never", "gc.reflogExpireUnreachable=never")
}

// packs is how many there are that may be made one.
func (u *update) packs() (int, error) {
	list, err := os.ReadDir(u.path("objects", "pack"))
	if err != nil {
		return 0, err
	}
	stay := map[string]bool{}
	var n int
	for _, e := range list {
		if base, ok := strings.CutSuffix(e.Name(), ".keep"); ok {
			stay[base+".pack"] = true
		}
	}
	for _, e := range list {
		if filepath.Ext(e.Name()) == ".pack" && strings.HasPrefix(e.Name(), "pack-") && !stay[e.Name()] {
			n++
		}
	}
	return n, nil
}

// repack makes the smaller packs one, so that each is at least twice as large as all that are smaller:
// of what is large, little is written anew. It keeps what nothing holds, too. A git before 2.32
// cannot, and packs everything.
func (u *update) repack() error {
	err := u.locking(func() error {
		return u.call(u.ctx, u.maintainer(), "repack", "--geometric=2", "-d", "-l", "--quiet")
	})
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && strings.Contains(e.Stderr, "unknown option") {
		return u.gc()
	}
	return err
}

func (u *update) gc() error {
	return u.locking(func() error { return u.call(u.ctx, u.maintainer(), "gc", "--quiet", "--prune="+pruneAfter) })
}
