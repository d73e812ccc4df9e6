package barerepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/quarantine"
)

// inQuarantine are objects that count for nothing yet.
type inQuarantine struct {
	*update
	*quarantine.Quarantine
}

// quarantine makes a quarantine, empty.
func (u *update) quarantine() (*inQuarantine, error) {
	q := &inQuarantine{u, quarantine.Of(u.Dir)}
	return q, q.Make()
}

// remove takes it away.
func (q *inQuarantine) remove() { _ = q.Quarantine.Remove() }

// admit moves its packs to the others, once they are on the disk.
func (q *inQuarantine) admit() error {
	names, err := q.Names()
	if err != nil || len(names) == 0 {
		return err
	}
	if err := flush.Tree(q.Packs()); err != nil {
		return err
	}
	q.step("flushed")
	for _, name := range names {
		if err := q.Admit(name); err != nil {
			return err
		}
		q.step("moved " + filepath.Ext(name))
	}
	return flush.File(q.path("objects", "pack"))
}

// clean takes away what a killed process has left. None is at work here: the caller holds the lock.
func (u *update) clean(there bool) error {
	if err := os.RemoveAll(u.temp()); err != nil || !there {
		return err
	}
	if err := quarantine.Of(u.Dir).Remove(); err != nil {
		return err
	}
	return u.unlock()
}

// unlock takes away git's locks where the journal has a beginning of something that has no end: git
// was killed with us, or lost its power, and waits for none of them. That a git of the user's has
// one of them in this very moment is as good as never.
func (u *update) unlock() error {
	open, err := isOpen(u.Dir)
	if err != nil || !open {
		return err
	}
	for _, name := range []string{
		"HEAD.lock", "packed-refs.lock", "packed-refs.new", "objects/info/commit-graph.lock",
		"objects/info/commit-graphs/commit-graph-chain.lock", "objects/pack/multi-pack-index.lock",
	} {
		if err := os.Remove(u.path(filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err = filepath.WalkDir(u.path("refs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".lock") {
			err = os.Remove(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return endBatch(u.Dir)
}
