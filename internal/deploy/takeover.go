//go:build unix

package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// mostCopied is the size of the largest file that is copied, in bytes. What shares its blocks with
// another file shares nothing with it in memory: to find out what is in it, it is read from the disk,
// which for a small file takes ten times as long as to write it.
const mostCopied = 64 << 10

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
	var (
		group   errgroup.Group
		workers = runtime.GOMAXPROCS(0)
		takers  = make([]*taker, workers)
	)
	for i := range workers {
		t := &taker{how: how, prefix: prefix, files: files}
		some := entries[len(entries)*i/workers : len(entries)*(i+1)/workers]
		takers[i] = t
		group.Go(func() error { return t.take(from, to, some) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var shared []entry
	var unused []string
	for _, t := range takers {
		shared, unused = append(shared, t.shared...), append(unused, t.unused...)
	}
	return shared, removeUnused(to, unused)
}

// removeUnused takes away directories of a tree that nothing was put into: the commit need not have
// them, and git makes them where it does. What only one of several had no use for stays.
func removeUnused(root string, dirs []string) error {
	if len(dirs) == 0 {
		return nil
	}
	fd, err := openDir(unix.AT_FDCWD, root)
	if err != nil {
		return &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(fd)
	slices.Sort(dirs)
	for _, dir := range slices.Backward(dirs) { // what is in it first
		_ = unix.Unlinkat(fd, dir, unix.AT_REMOVEDIR)
	}
	return nil
}

// taker takes over some of the files.
type taker struct {
	how    Share
	prefix string
	files  map[string]file

	clones   bool // the file system shares blocks, as the first file has shown
	noClones bool // it does not
	buffer   []byte
	uid      uint32
	umask    uint32 // the bits that it leaves
	shared   []entry
	unused   []string
}

func (t *taker) take(from, to string, entries []entry) error {
	w, err := newWalk(from, to)
	if err != nil {
		return err
	}
	defer func() {
		w.close()
		t.unused = w.unused
	}()
	var root unix.Stat_t
	if err := unix.Fstat(w.stack[0].dirs[1], &root); err != nil {
		return &os.PathError{Op: "fstat", Path: to, Err: err}
	}
	t.uid, t.umask = uint32(os.Geteuid()), uint32(root.Mode) // it was made with all bits but those of the umask
	t.buffer = make([]byte, mostCopied+1)
	for _, e := range entries {
		if t.noClones && t.how != HardLink {
			break // git writes all: it is quicker where two write at once (ext4)
		}
		name := path.Join(t.prefix, e.path)
		f, known := t.files[name]
		if e.absent || e.mode == modeSubmodule || !known || f.checked || f.mode != e.mode || f.digest == "" {
			continue
		}
		dirs, err := w.enter(path.Dir(name))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			continue // the old tree has lost the directory
		case err != nil:
			return fmt.Errorf("share %s: %w", path.Dir(name), err)
		}
		if t.takeFile(dirs, path.Base(name), e, f.digest) {
			w.stack[len(w.stack)-1].used = true
			t.shared = append(t.shared, e)
		}
	}
	return nil
}

// takeFile makes one file of the second tree out of that of the first, and reports whether it is there.
func (t *taker) takeFile(dirs [2]int, name string, e entry, digest string) bool {
	var made bool
	switch {
	case e.mode == modeSymlink:
	case t.clones && t.how != HardLink && e.size <= mostCopied:
		return t.copy(dirs, name, e, digest)
	default:
		made = !t.noClones && t.clone(dirs, name, e)
	}
	if !made && t.how == HardLink {
		made = unix.Linkat(dirs[0], name, dirs[1], name, 0) == nil
	}
	if !made {
		return false // git makes it, symbolic links too
	}
	// What it has is compared in the second tree: of a clone that is out of reach for those who may
	// write to the first one.
	var stat unix.Stat_t
	err := unix.Fstatat(dirs[1], name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && e.is(&stat) && t.ours(&stat, e) {
		var now file
		if now, err = inspectFile(dirs[1], name, "", t.buffer); err == nil && now.digest == digest {
			return true
		}
	}
	_ = unix.Unlinkat(dirs[1], name, 0)
	return false
}

// ours reports whether a file has the owner and the mode of one that git makes now.
func (t *taker) ours(stat *unix.Stat_t, e entry) bool {
	return stat.Uid == t.uid && (e.mode == modeSymlink || uint32(stat.Mode)&0o7777 == e.perm()&t.umask)
}

// copy makes a copy of a small file. What was read is what is compared, and written.
func (t *taker) copy(dirs [2]int, name string, e entry, digest string) bool {
	from, err := openAt(dirs[0], name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	n, err := read(from, t.buffer[:e.size+1])
	_ = unix.Close(from)
	text := t.buffer[:n]
	sum := sha256.Sum256(text)
	if err != nil || hex.EncodeToString(sum[:]) != digest {
		return false
	}
	return t.create(dirs[1], name, e, func(to int) error {
		n, err := unix.Write(to, text)
		if err == nil && n < len(text) {
			err = unix.ENOSPC
		}
		return err
	})
}

// read reads a file until the buffer is full, or it ends.
func read(fd int, buffer []byte) (int, error) {
	total := 0
	for total < len(buffer) {
		n, err := unix.Read(fd, buffer[total:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			return total, err
		default:
			total += n
		}
	}
	return total, nil
}

// clone makes a copy that shares its blocks.
func (t *taker) clone(dirs [2]int, name string, e entry) bool {
	from, err := openAt(dirs[0], name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	defer unix.Close(from)
	var stat unix.Stat_t
	if unix.Fstat(from, &stat) != nil || uint32(stat.Mode)&unix.S_IFMT != unix.S_IFREG || uint32(stat.Size) != e.size {
		return false
	}
	return t.create(dirs[1], name, e, func(to int) error {
		err := cloneFile(to, from)
		t.clones = err == nil
		t.noClones = t.noClones || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EXDEV) ||
			errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTTY)
		return err
	})
}

// create makes a file, with the time that git's index has. It reports whether it is one as git
// makes them; if not, nothing is left of it.
func (t *taker) create(dir int, name string, e entry, fill func(fd int) error) bool {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, e.perm())
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	err = fill(fd)
	if err == nil {
		at := unix.NsecToTimespec(int64(e.seconds)*1e9 + int64(e.nanos))
		err = unix.UtimesNanoAt(dir, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}
	var stat unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &stat)
	}
	if err == nil && e.is(&stat) && t.ours(&stat, e) {
		return true
	}
	_ = unix.Unlinkat(dir, name, 0)
	return false
}

// perm is what git asks for when it makes a file.
func (e entry) perm() uint32 {
	if e.mode == modeProgram {
		return 0o777
	}
	return 0o666
}
