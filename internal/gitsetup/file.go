package gitsetup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
)

// ErrLocked is wrapped by the error of [Edit] where git, or another of us, is writing
// the file, or was killed while it did.
var ErrLocked = errors.New("it is locked")

// Edit replaces the text of a file by what change makes of it, whole or not at all,
// and reports whether that differs. It locks the file as git does, with FILE.lock
// beside it (https://git-scm.com/docs/api-lockfile), writes through symbolic links,
// and keeps the mode. A nil text is that of a file that is not there, or is not to be
// there. Before the new text takes effect, check may refuse it; it is given a file
// with the text.
func Edit(path string, change func([]byte) []byte, check func(path string) error) (changed bool, err error) {
	failed := func(err error) (bool, error) { return false, fmt.Errorf("edit %s: %w", path, err) }
	target, err := resolve(path)
	if err != nil {
		return failed(err)
	}
	lock, err := atomicfile.Begin(target, atomicfile.Options{Temp: target + ".lock", Perm: 0o666})
	switch {
	case errors.Is(err, fs.ErrExist):
		return failed(fmt.Errorf("%w: %s.lock is there", ErrLocked, target))
	case err != nil:
		return failed(err)
	}
	defer lock.Discard()

	old, mode, err := read(target)
	if err != nil {
		return failed(err)
	}
	text := change(old)
	switch {
	case bytes.Equal(text, old) && (text == nil) == (old == nil):
		return false, nil
	case text == nil:
		if err := os.Remove(target); err != nil {
			return failed(err)
		}
		return true, nil
	}
	if old != nil {
		if err := lock.Chmod(mode); err != nil {
			return failed(err)
		}
	}
	_, err = lock.Write(text)
	if err = errors.Join(err, lock.Finish()); err != nil {
		return failed(err)
	}
	if err := check(lock.Temp()); err != nil {
		return failed(err)
	}
	if err := lock.Commit(); err != nil {
		return failed(err)
	}
	return true, nil
}

// resolve follows symbolic links, the last of which may lead to nothing yet.
func resolve(path string) (string, error) {
	for range 40 { // as many as Linux follows
		to, err := os.Readlink(path)
		if err != nil {
			// No link: a file, or nothing at all. Links among its directories are the
			// system's to follow.
			return path, nil
		}
		if filepath.IsAbs(to) {
			path = to
			continue
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, to)
	}
	return "", errors.New("too many symbolic links")
}

// read returns nil for a file that is not there.
func read(path string) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular():
		return nil, 0, errors.New("it is no regular file")
	}
	text, err := os.ReadFile(path)
	if text == nil {
		text = []byte{}
	}
	return text, info.Mode().Perm(), err
}
