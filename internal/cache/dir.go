package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// open opens the directory after checking that it is the user's alone. Everything
// in it is then reached through the returned root and not by path again, so
// nothing that happens to the path in between leads elsewhere. The error wraps
// [fs.ErrNotExist] where there is no directory.
func (f *Files) open() (*os.Root, error) {
	named, err := os.Lstat(f.dir)
	if err != nil {
		return nil, &StoreError{Op: "open", Dir: f.dir, Err: err}
	}
	if err := f.check(named); err != nil {
		return nil, err
	}
	return f.openSame(named)
}

// openSame opens the directory if it still is the one that was looked at, and not
// a link that took its place since.
func (f *Files) openSame(named fs.FileInfo) (*os.Root, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, &StoreError{Op: "open", Dir: f.dir, Err: err}
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = errors.New("it was replaced while it was opened")
	}
	if err != nil {
		_ = root.Close()
		return nil, &StoreError{Op: "open", Dir: f.dir, Err: err}
	}
	return root, nil
}

// ensure is open, and makes the directory where it is missing. Missing parents get
// the mode 0700 too, as the XDG Base Directory Specification asks.
func (f *Files) ensure() (*os.Root, error) {
	root, err := f.open()
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := os.MkdirAll(filepath.Dir(f.dir), 0o700); err != nil {
		return nil, &StoreError{Op: "open", Dir: f.dir, Err: err}
	}
	// Another process may have been quicker.
	if err := os.Mkdir(f.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &StoreError{Op: "open", Dir: f.dir, Err: err}
	}
	return f.open()
}

// check refuses a directory that is not the user's alone.
func (f *Files) check(info fs.FileInfo) error {
	refuse := func(why, fix string) error { return &DirError{Dir: f.dir, Why: why, Fix: fix} }
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("it is a symbolic link", "name the directory it leads to")
	case !info.IsDir():
		return refuse("it is not a directory", "remove it, or name another")
	case ofAnother(info):
		return refuse("it belongs to another user", "name a directory of your own")
	case openToOthers(info):
		return refuse(fmt.Sprintf("its mode %04o lets other users in", info.Mode().Perm()), "run: chmod 700 "+text.ShellWord(f.dir))
	}
	return nil
}
