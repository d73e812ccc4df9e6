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
	"syscall"

	"golang.org/x/sys/unix"
)

// takeOver gives the new tree the files of the published one that are still as git made
// them, so that git has to write only what has changed. What a file has is compared with
// its digest, since a program that writes to a file can set back its size and time. A
// file that differs, or that cannot be shared, is left out, and git writes it anew.
//
// The entries are those of a part that lies at prefix in both trees; files are those of
// the whole published release. Directories are opened one by one and links are not
// followed, so that nothing that somebody has put into the old tree leads out of it.
//
// It returns the entries whose files are there now, as they were.
func takeOver(how Share, from, to, prefix string, entries []entry, files map[string]file) ([]entry, error) {
	w, err := newWalk(from, to)
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.how, w.buffer = how, make([]byte, 64<<10)
	var shared []entry
	for _, e := range entries {
		if w.noClones && how != HardLink {
			break
		}
		name := path.Join(prefix, e.path)
		f, known := files[name]
		if e.absent || e.mode == modeSubmodule || !known || f.checked || f.mode != e.mode || f.digest == "" {
			continue
		}
		dirs, err := w.enter(path.Dir(name))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			continue // the old tree has lost the directory
		case err != nil:
			return nil, fmt.Errorf("share %s: %w", path.Dir(name), err)
		}
		if w.share(dirs, path.Base(name), e, f.digest) {
			w.stack[len(w.stack)-1].used = true
			shared = append(shared, e)
		}
	}
	return shared, nil
}

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
	stack    []step // the first is the root
	dir      string // where it is
	both     bool
	how      Share
	noClones bool
	buffer   []byte
}

// step is a directory on the way, open in both trees.
type step struct {
	name string
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
		next := step{name: name, dirs: [2]int{-1, -1}, err: above.err}
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
		// The commit need not have it: git makes it where it does.
		_ = unix.Unlinkat(above.dirs[1], last.name, unix.AT_REMOVEDIR)
	}
	above.used = above.used || last.used
}

func (w *walk) close() {
	for len(w.stack) > 0 {
		w.leave()
	}
}

// share makes one file of the second tree out of that of the first, and reports whether it
// is there. What it has is compared in the second tree: of a copy that is out of reach for
// those who may write to the first one.
func (w *walk) share(dirs [2]int, name string, e entry, digest string) bool {
	made := e.mode != modeSymlink && !w.noClones && w.clone(dirs, name, e)
	if !made && w.how == HardLink {
		made = unix.Linkat(dirs[0], name, dirs[1], name, 0) == nil
	}
	if !made {
		return false // git makes it, symbolic links too
	}
	var stat unix.Stat_t
	err := unix.Fstatat(dirs[1], name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && e.is(&stat) && w.ours(&stat, e) {
		var now file
		if now, err = inspectFile(dirs[1], name, "", w.buffer); err == nil && now.digest == digest {
			return true
		}
	}
	_ = unix.Unlinkat(dirs[1], name, 0)
	return false
}

// ours reports whether a file has the owner and the mode of one that git makes now.
func (w *walk) ours(stat *unix.Stat_t, e entry) bool {
	var root unix.Stat_t
	if e.mode == modeSymlink {
		return int(stat.Uid) == os.Geteuid()
	}
	all := uint32(0o666)
	if e.mode == modeProgram {
		all = 0o777
	}
	return unix.Fstat(w.stack[0].dirs[1], &root) == nil && int(stat.Uid) == os.Geteuid() &&
		uint32(stat.Mode)&0o7777 == all&uint32(root.Mode) // which was made with all bits but those of the umask
}

// clone makes a copy that shares its blocks, with the time that git's index has.
func (w *walk) clone(dirs [2]int, name string, e entry) bool {
	from, err := openAt(dirs[0], name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	defer unix.Close(from)
	var stat unix.Stat_t
	if unix.Fstat(from, &stat) != nil || uint32(stat.Mode)&unix.S_IFMT != unix.S_IFREG || uint32(stat.Size) != e.size {
		return false
	}
	mode := uint32(0o666)
	if e.mode == modeProgram {
		mode = 0o777
	}
	to, err := unix.Openat(dirs[1], name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, mode)
	if err != nil {
		return false
	}
	defer unix.Close(to)
	err = cloneFile(to, from)
	w.noClones = w.noClones || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EXDEV) ||
		errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTTY)
	if err == nil {
		at := unix.NsecToTimespec(int64(e.seconds)*1e9 + int64(e.nanos))
		err = unix.UtimesNanoAt(dirs[1], name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		_ = unix.Unlinkat(dirs[1], name, 0)
	}
	return err == nil
}
