package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
)

const (
	// maxEdits bounds how often a change is made anew, since the file was changed by
	// somebody else meanwhile.
	maxEdits = 10
	// lockWait is how long another may take to write the file: a moment.
	lockWait = 2 * time.Second
)

// Edit changes the config file at path, which is made where it is not there yet, with
// its directory. The file stays as it is if change fails or if [Load] would refuse what
// came of it; otherwise it is replaced at once. It is nobody else's to read if it is
// new, and keeps its owner and mode if it is not. A link keeps pointing where it does.
//
// change may be called again, with another [Draft], where the file has changed while it
// ran. Of the Options only the environment is used, for the home directory. The error
// is that of change or of the system, or an [*Error].
func Edit(path string, o Options, change func(*Draft) error) error {
	home := ""
	if o.LookupEnv != nil {
		home, _ = o.LookupEnv(homeVariable())
	}
	for range maxEdits {
		done, err := edit(path, home, change)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("write the config file %s: it is being changed by somebody else", path)
}

// edit reports whether the file was replaced.
func edit(path, home string, change func(*Draft) error) (done bool, err error) {
	target, err := resolved(path)
	if err != nil {
		return false, fmt.Errorf("write the config file %s: %w", path, err)
	}
	before, info, err := read(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read the config file %s: %s", path, reason(err))
	}
	d := &Draft{path: path, home: home, text: before}
	if err := change(d); err != nil {
		return false, err
	}
	if _, problems := parse(path, d.text, home); len(problems) > 0 {
		return false, &Error{Problems: problems}
	}
	if info != nil && bytes.Equal(before, d.text) {
		return true, nil
	}
	done, err = replace(target, d.text, info, func() bool {
		now, _, err := read(target)
		return bytes.Equal(now, before) && (info == nil) == errors.Is(err, fs.ErrNotExist)
	})
	if err != nil {
		err = fmt.Errorf("write the config file %s: %w", path, err)
	}
	return done, err
}

// resolved follows links, which are to stay: the file is often kept elsewhere. A path
// where nothing is resolves to itself.
func resolved(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return target, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", errors.New("it is a link to a file that is not there")
	}
	return path, nil
}

// replace writes the new file beside the old one and puts it in its place, if the old
// one is still what it was. The new file's name, path and ".lock", is the same for all
// who do so, and the system lets one of them have it.
func replace(path string, text []byte, old fs.FileInfo, unchanged func() bool) (done bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	file, err := lock(path)
	if err != nil {
		return false, err
	}
	defer file.Discard()
	if !unchanged() {
		return false, nil
	}
	if old != nil {
		if err := keepOwner(file.File, old); err != nil {
			return false, err
		}
		if err := file.Chmod(old.Mode().Perm()); err != nil {
			return false, err
		}
	}
	if _, err := file.Write(text); err != nil {
		return false, err
	}
	if err := file.Commit(); err != nil {
		return false, err
	}
	return true, nil
}

// lock begins the new file under a name that nobody else has taken, and waits for those
// who have.
func lock(path string) (*atomicfile.File, error) {
	for end := time.Now().Add(lockWait); ; time.Sleep(lockWait / 100) {
		file, err := atomicfile.Begin(path, atomicfile.Options{Temp: path + ".lock"})
		switch {
		case !errors.Is(err, fs.ErrExist):
			return file, err
		case time.Now().After(end):
			return nil, fmt.Errorf("somebody else is changing it: %s.lock is there; if nobody is, remove that file", path)
		}
	}
}
