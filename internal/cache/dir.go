package cache

import (
	"errors"
	"io/fs"
	"os"

	"github.com/ghapp-dev/ghapp/internal/private"
)

// open opens the directory after checking that it is the user's alone. Everything
// in it is then reached through the returned root and not by path again, so
// nothing that happens to the path in between leads elsewhere. The error wraps
// [fs.ErrNotExist] where there is no directory.
func (f *Files) open() (*os.Root, error) {
	root, err := private.Open(f.dir, private.Alone)
	return root, f.refused(err)
}

// ensure is open, and makes the directory where it is missing.
func (f *Files) ensure() (*os.Root, error) {
	root, err := f.open()
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := private.Make(f.dir, 0o700, private.Alone); err != nil {
		return nil, f.refused(err)
	}
	return f.open()
}

// refused says of an error what it is about.
func (f *Files) refused(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*private.Error](err); ok {
		return &DirError{Dir: f.dir, Why: "it " + e.Why, hint: e.Hint}
	}
	return &StoreError{Op: "open", Dir: f.dir, Err: err}
}
