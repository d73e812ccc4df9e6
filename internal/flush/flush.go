// Package flush has the kernel write files to the disk before anything points to them, so
// that the machine may lose its power at any moment.
package flush

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// File has a file or a directory written to the disk (fsync(2)): of a directory, which names
// are in it. It follows no link. Windows has no such call for a directory, of which NTFS keeps
// a journal.
func File(name string) error {
	flags := os.O_RDONLY | noFollow
	if runtime.GOOS == "windows" {
		if info, err := os.Lstat(name); err != nil || info.IsDir() {
			return err
		}
		flags = os.O_RDWR
	}
	file, err := os.OpenFile(name, flags, 0)
	if err != nil {
		return err
	}
	err = file.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // there are file systems that know no such thing
	}
	return errors.Join(err, file.Close())
}

// Parent has the directory that a file or directory is in written to the disk, and so its name.
func Parent(name string) error { return File(filepath.Dir(name)) }
