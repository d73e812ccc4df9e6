//go:build linux || darwin

package credcache

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Supported says whether answers are kept on this system.
const Supported = true

// StampOf returns the stamp of a file that was looked at, such as one that is open.
func StampOf(info fs.FileInfo) (Stamp, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stamp{}, false
	}
	return stampFrom(st), true
}

func stampFrom(st *syscall.Stat_t) Stamp {
	modified, changed := times(st)
	return Stamp{int64(st.Dev), int64(st.Ino), st.Size, modified.Nano(), changed.Nano()}
}

// stat follows links, as does who reads the file.
func stat(path string) (Stamp, error) {
	var st syscall.Stat_t
	if err := again(func() error { return syscall.Stat(path, &st) }); err != nil {
		return Stamp{}, err
	}
	return stampFrom(&st), nil
}

// isPrivateDir reports whether path is a directory, and no link to one, of this user's
// alone.
func isPrivateDir(path string) bool {
	var st syscall.Stat_t
	err := again(func() error { return syscall.Lstat(path, &st) })
	return err == nil && isPrivate(&st, syscall.S_IFDIR)
}

func isPrivate(st *syscall.Stat_t, kind uint32) bool {
	mode := uint32(st.Mode)
	return mode&syscall.S_IFMT == kind && int(st.Uid) == os.Geteuid() && mode&0o077 == 0
}

// readPrivate reads a file of this user's alone. Package os would ask the system for a
// poller first, which is no use to a file.
func readPrivate(path string) ([]byte, bool) {
	var fd int
	err := again(func() (err error) {
		// A pipe, which would make the call wait, is found out below.
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, false
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil || !isPrivate(&st, syscall.S_IFREG) || st.Size > maxFile {
		return nil, false
	}
	text := make([]byte, st.Size)
	for read := 0; read < len(text); {
		var n int
		err := again(func() (err error) {
			n, err = syscall.Read(fd, text[read:])
			return err
		})
		if err != nil || n <= 0 {
			return nil, false
		}
		read += n
	}
	return text, true
}

// again makes a system call until no signal interrupts it.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
