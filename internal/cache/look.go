package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
)

// Look calls see with the bytes of the entries in dir, one after another, until ctx has
// ended or it has looked at so many names. It makes nothing, changes nothing and waits
// for nobody: it is for what is worth a look and no more. A dir that is not there has no
// entries; the errors are a [*StoreError], or a [*DirError] where dir is not safe, and
// then nothing was read.
func Look(ctx context.Context, dir string, most int, see func(entry []byte)) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return &StoreError{Op: "open", Dir: dir, Err: err}
	}
	f := &Files{dir: abs}
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	names, err := namesIn(root, most)
	if err != nil && len(names) == 0 && ctx.Err() == nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return &StoreError{Op: "read", Dir: abs, Err: err}
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil
		}
		if !isKey(name) {
			continue
		}
		if entry, err := read(root, name); err == nil && entry != nil {
			see(entry)
		}
	}
	return nil
}
