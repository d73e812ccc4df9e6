//go:build unix

package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// sameAttributes reports whether two lists have the same files with attributes. These
// say how git makes files of objects, so that a file may differ whose object does not
// (gitattributes(5)).
func sameAttributes(list, other []entry) bool {
	attributes := func(list []entry) map[string]string {
		m := map[string]string{}
		for _, e := range list {
			if strings.EqualFold(path.Base(e.path), ".gitattributes") {
				m[e.path] = fmt.Sprintf("%o %s", e.mode, e.object)
			}
		}
		return m
	}
	return maps.Equal(attributes(list), attributes(other))
}

// without are the entries of a list that are not in another one as they are. Both are in
// the order of an index.
func without(list, other []entry) []entry {
	var left []entry
	for _, e := range list {
		for len(other) > 0 && other[0].path < e.path {
			other = other[1:]
		}
		if len(other) == 0 || other[0].path != e.path || !other[0].same(e) {
			left = append(left, e)
		}
	}
	return left
}

// same reports whether two entries are of one file.
func (e entry) same(other entry) bool {
	e.inode, other.inode = 0, 0 // of a copy it is another
	return e == other
}

// intact returns an error that names the first file of a tree that is missing, or that
// is not as git made it. Whatever else lies in the tree is passed over.
func intact(root, prefix string, entries []entry) error {
	w, err := newWalk(root, "")
	if err != nil {
		return err
	}
	defer w.close()
	for _, e := range entries {
		if e.absent || e.mode == modeSubmodule {
			continue
		}
		var stat unix.Stat_t
		name := path.Join(prefix, e.path)
		dirs, err := w.enter(path.Dir(name))
		if err == nil {
			err = unix.Fstatat(dirs[0], path.Base(name), &stat, unix.AT_SYMLINK_NOFOLLOW)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			return fmt.Errorf("%q is missing", name)
		case err != nil:
			return fmt.Errorf("%q: %w", name, err)
		case !e.is(&stat):
			return fmt.Errorf("%q was changed", name)
		}
	}
	return nil
}

// gone returns an error that names the first file that was shared but is not wanted, and
// was not taken away: git says no more than a warning then. Both lists are in the order
// of an index.
func gone(root, prefix string, shared, wanted []entry) error {
	w, err := newWalk(root, "")
	if err != nil {
		return err
	}
	defer w.close()
	for _, e := range shared {
		for len(wanted) > 0 && wanted[0].path < e.path {
			wanted = wanted[1:]
		}
		if e.absent || e.mode == modeSubmodule || len(wanted) > 0 && wanted[0].path == e.path && !wanted[0].absent {
			continue
		}
		name := path.Join(prefix, e.path)
		dirs, err := w.enter(path.Dir(name))
		if err != nil {
			continue // with its directory
		}
		var stat unix.Stat_t
		err = unix.Fstatat(dirs[0], path.Base(name), &stat, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && uint32(stat.Mode)&unix.S_IFMT != unix.S_IFDIR {
			return fmt.Errorf("%q is not in the commit, and could not be taken away", name)
		}
	}
	return nil
}

// is reports whether a file is the one that git wrote down. The number of its inode does
// not count, as that of a copy differs.
func (e entry) is(stat *unix.Stat_t) bool {
	kind := uint32(unix.S_IFREG)
	if e.mode == modeSymlink {
		kind = unix.S_IFLNK
	}
	seconds, nanos := stat.Mtim.Unix()
	return uint32(stat.Mode)&unix.S_IFMT == kind &&
		(e.mode == modeSymlink || (uint32(stat.Mode)&0o100 != 0) == (e.mode == modeProgram)) &&
		uint32(stat.Size) == e.size && uint32(seconds) == e.seconds && uint32(nanos) == e.nanos
}

// walk goes through one or two trees in the order of an index, in which what belongs to
// a directory stands together.
type walk struct {
	stack  []step // the first is the root
	dir    string // where it is
	both   bool
	unused []string // directories that it has made in the second tree, and put nothing into
}

// step is a directory on the way, open in both trees.
type step struct {
	name string
	path string
	dirs [2]int
	made bool  // it was made in the second tree
	used bool  // something was put into it there
	err  error // it cannot be entered in the first tree
}

func newWalk(from, to string) (*walk, error) {
	w := &walk{both: to != "", dir: "."}
	root := step{dirs: [2]int{-1, -1}}
	w.stack = []step{root}
	for i, name := range []string{from, to} {
		if name == "" {
			continue
		}
		fd, err := openDir(unix.AT_FDCWD, name)
		if err != nil {
			w.close()
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		w.stack[0].dirs[i] = fd
	}
	return w, nil
}

func openDir(at int, name string) (int, error) {
	return openAt(at, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openAt opens what lies in a directory, but follows no link.
func openAt(at int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// enter opens a directory of the trees, and makes it in the second one.
func (w *walk) enter(dir string) ([2]int, error) {
	if last := w.stack[len(w.stack)-1]; dir == w.dir {
		return last.dirs, last.err
	}
	w.dir = dir
	var parts []string
	if dir != "." {
		parts = strings.Split(dir, "/")
	}
	same := 0
	for same < len(parts) && same+1 < len(w.stack) && w.stack[same+1].name == parts[same] {
		same++
	}
	for len(w.stack) > same+1 {
		w.leave()
	}
	for _, name := range parts[same:] {
		above := w.stack[len(w.stack)-1]
		next := step{name: name, path: path.Join(above.path, name), dirs: [2]int{-1, -1}, err: above.err}
		if next.err == nil {
			next.dirs[0], next.err = openDir(above.dirs[0], name)
		}
		if next.err == nil && w.both {
			err := unix.Mkdirat(above.dirs[1], name, 0o777)
			if next.made = err == nil; err != nil && !errors.Is(err, fs.ErrExist) {
				next.err = err
			} else if next.dirs[1], next.err = openDir(above.dirs[1], name); next.err != nil {
				next.dirs[1] = -1
			}
		}
		w.stack = append(w.stack, next)
	}
	last := w.stack[len(w.stack)-1]
	return last.dirs, last.err
}

func (w *walk) leave() {
	last := w.stack[len(w.stack)-1]
	for _, fd := range last.dirs {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	w.stack = w.stack[:len(w.stack)-1]
	if len(w.stack) == 0 || last.dirs[1] < 0 {
		return
	}
	above := &w.stack[len(w.stack)-1]
	if last.made && !last.used {
		w.unused = append(w.unused, last.path)
	}
	above.used = above.used || last.used
}

func (w *walk) close() {
	for len(w.stack) > 0 {
		w.leave()
	}
}
