package barerepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/flush"
)

// incoming is the quarantine, in the directory of the objects: on their file system, and where git
// looks for none of it.
const incoming = "incoming-ghapp"

// quarantine is where objects are that count for nothing yet.
type quarantine struct {
	*update
	objects string // a directory of objects beside those of the repository
}

// quarantine makes it, empty.
func (u *update) quarantine() (*quarantine, error) {
	q := &quarantine{u, u.path("objects", incoming, "objects")}
	if err := os.RemoveAll(u.path("objects", incoming)); err != nil {
		return nil, err
	}
	for _, name := range []string{"pack", "info"} {
		if err := os.MkdirAll(filepath.Join(q.objects, name), 0o777); err != nil {
			return nil, err
		}
	}
	// From here up to the repository's, whatever the way to it.
	return q, os.WriteFile(filepath.Join(q.objects, "info", "alternates"), []byte("../..\n"), 0o666)
}

// remove takes it away.
func (q *quarantine) remove() { _ = os.RemoveAll(q.path("objects", incoming)) }

// admit moves its packs to the others, once they are on the disk: each index after its pack, since
// a pack is found by its index.
func (q *quarantine) admit() error {
	from, to := filepath.Join(q.objects, "pack"), q.path("objects", "pack")
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range list {
		if ext := filepath.Ext(e.Name()); strings.HasPrefix(e.Name(), "pack-") && ext != ".keep" {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := flush.Tree(from); err != nil {
		return err
	}
	q.step("flushed")
	slices.SortStableFunc(names, func(a, b string) int { return turn(a) - turn(b) })
	for _, name := range names {
		// A pack is named for what is in it.
		if _, err := os.Lstat(filepath.Join(to, name)); err == nil {
			continue
		}
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
		q.step("moved " + filepath.Ext(name))
	}
	return flush.File(to)
}

// turn is when a file of a pack is moved.
func turn(name string) int {
	switch filepath.Ext(name) {
	case ".pack":
		return 0
	case ".idx":
		return 2
	}
	return 1
}

// clean takes away what a killed process has left. None is at work here: the caller holds the lock.
func (u *update) clean(there bool) error {
	if err := os.RemoveAll(u.temp()); err != nil || !there {
		return err
	}
	if _, err := os.Lstat(u.path("objects", incoming)); !errors.Is(err, fs.ErrNotExist) {
		if err := os.RemoveAll(u.path("objects", incoming)); err != nil {
			return err
		}
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
