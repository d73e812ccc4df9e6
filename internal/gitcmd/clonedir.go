package gitcmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// cloneDir is a directory that a clone makes and fills.
type cloneDir struct {
	path string
	// alone is whether git wants to make the directory itself, as it does with that
	// of --separate-git-dir. Any other may be there, if it is empty.
	alone bool
	made  []string // by us, outermost first
}

// check returns an [*Error] if git clone would refuse the directory, or could not make
// it. Its parents need not be there.
func (d *cloneDir) check() error {
	path := d.path
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return taken(path, errors.New("it is not a directory"))
	case err == nil && d.alone:
		return taken(path, errors.New("it is there already"))
	case err == nil:
		return checkEmpty(path)
	case !errors.Is(err, fs.ErrNotExist):
		return closed(path, err)
	}
	if _, err := os.Lstat(path); err == nil {
		return taken(path, errors.New("it is a symbolic link that leads nowhere"))
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return closed(path, fmt.Errorf("%s is not a directory", dir))
		case err == nil:
			if err := writable(dir); err != nil {
				return closed(path, fmt.Errorf("%s: %w", dir, err))
			}
			return nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return closed(path, err)
		}
	}
}

func checkEmpty(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return closed(path, err)
	}
	defer dir.Close()
	if _, err := dir.ReadDir(1); errors.Is(err, io.EOF) {
		if err := writable(path); err != nil {
			return closed(path, err)
		}
		return nil
	} else if err != nil {
		return closed(path, err)
	}
	return taken(path, errors.New("it is not empty"))
}

func taken(path string, why error) error {
	return &Error{Op: "clone", Reason: DestinationExists, ExitCode: -1,
		Message: fmt.Sprintf("%s: %v", path, why), Err: why}
}

func closed(path string, err error) error {
	return &Error{Op: "clone", Reason: DestinationClosed, ExitCode: -1,
		Message: fmt.Sprintf("%s: %v", path, err), Err: err}
}

// make makes the directory, if it is not there, so that what is removed later is
// our own and nobody else's.
func (d *cloneDir) make() error {
	if err := d.check(); err != nil {
		return err
	}
	first := d.path
	if d.alone {
		first = filepath.Dir(first)
	}
	var missing []string
	for dir := first; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		err := os.Mkdir(dir, 0o777)
		if errors.Is(err, fs.ErrExist) {
			continue // somebody else was quicker; git says whether it can be used
		}
		if err != nil {
			d.removeMade()
			return closed(d.path, err)
		}
		d.made = append(d.made, dir)
	}
	return nil
}

// finish ends the clone: what a failed one put there goes. If git says that somebody
// else has filled the directory meanwhile, it is not ours to empty.
func (d *cloneDir) finish(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Reason == DestinationExists {
		d.removeMade()
		return err
	}
	if failed := d.empty(); failed != nil {
		return fmt.Errorf("%w; %s is left half made: %w", err, d.path, failed)
	}
	return err
}

// empty removes what the clone put there: a directory that was there before stays,
// empty.
func (d *cloneDir) empty() error {
	if d.alone {
		defer d.removeMade()
		return os.RemoveAll(d.path)
	}
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.path, entry.Name())))
	}
	d.removeMade()
	return err
}

// removeMade removes the directories that were made here and are empty.
func (d *cloneDir) removeMade() {
	for _, dir := range slices.Backward(d.made) {
		_ = os.Remove(dir)
	}
}
