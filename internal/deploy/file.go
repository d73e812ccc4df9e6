//go:build unix

package deploy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// flushFile has the kernel write a file or a directory to the disk (fsync(2)).
func flushFile(name string) error {
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = file.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // there are file systems that know no such thing
	}
	return errors.Join(err, file.Close())
}

// begun is the end of the name of what is being made, until it is whole. There is one
// for each name, as one process at a time is at work: what a killed one has left is
// overwritten, or found.
const begun = ".new"

// replace puts a file in the place of another, so that a reader sees the one or the
// other, whatever happens meanwhile.
func replace(name string, data []byte) error {
	file, err := os.OpenFile(name+begun, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(name+begun, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name+begun))
	}
	return flushFile(filepath.Dir(name))
}

func replaceJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return replace(name, append(data, '\n'))
}
