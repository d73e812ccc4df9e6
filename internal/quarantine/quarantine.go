// Package quarantine keeps objects beside those of a repository, where git finds them only if it is
// told to, until they count (git-receive-pack(1), "Quarantine Environment").
package quarantine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// dir is where it is, in the directory of the objects: on their file system, and where git looks
// for none of it.
const dir = "incoming-ghapp"

// Quarantine is that of a repository, of which there is one at a time: the caller holds a lock.
type Quarantine struct {
	// Dir is its own directory. What lies in it beside Objects is the caller's.
	Dir string
	// Objects is what git is to take for the directory of the objects (GIT_OBJECT_DIRECTORY). It
	// borrows from that of the repository.
	Objects string

	packs string // of the repository
}

// Of is the quarantine of a bare repository, which need not be there.
func Of(repository string) *Quarantine {
	objects := filepath.Join(repository, "objects")
	q := &Quarantine{Dir: filepath.Join(objects, dir), packs: filepath.Join(objects, "pack")}
	q.Objects = filepath.Join(q.Dir, "objects")
	return q
}

// Make makes it, empty.
func (q *Quarantine) Make() error {
	if err := q.Remove(); err != nil {
		return err
	}
	for _, name := range []string{"pack", "info"} {
		if err := os.MkdirAll(filepath.Join(q.Objects, name), 0o777); err != nil {
			return err
		}
	}
	// From here up to the repository's, whatever the way to it.
	return os.WriteFile(filepath.Join(q.Objects, "info", "alternates"), []byte("../..\n"), 0o666)
}

// Remove takes it away, with what is in it.
func (q *Quarantine) Remove() error {
	if _, err := os.Lstat(q.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.RemoveAll(q.Dir)
}

// Packs is the directory that its packs are in.
func (q *Quarantine) Packs() string { return filepath.Join(q.Objects, "pack") }

// Names are the files of its packs, as they are to be moved: each index after its pack, since a
// pack is found by its index.
func (q *Quarantine) Names() ([]string, error) {
	list, err := os.ReadDir(q.Packs())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), "pack-") && filepath.Ext(e.Name()) != ".keep" {
			names = append(names, e.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return turn(a) - turn(b) })
	return names, nil
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

// Admit moves a file of a pack to those of the repository. The caller has had it written to the disk.
func (q *Quarantine) Admit(name string) error {
	to := filepath.Join(q.packs, name)
	// A pack is named for what is in it.
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	return os.Rename(filepath.Join(q.Packs(), name), to)
}
