//go:build unix

package deploy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
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

// tempSuffix is the end of the name of a file until it is complete. There is one for each
// name, as one process at a time is at work: what a killed one has left is overwritten, or
// found.
const tempSuffix = ".new"

// replace puts a file in the place of another, so that a reader sees the one or the
// other, whatever happens meanwhile.
func replace(name string, data []byte) error {
	file, err := atomicfile.Begin(name, atomicfile.Options{Temp: name + tempSuffix, Leftover: true})
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
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
