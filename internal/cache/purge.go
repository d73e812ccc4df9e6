package cache

import (
	"context"
	"errors"
	"io/fs"
)

// Purge removes the entries whose bytes gone says yes to, and with them the answers that
// rest on them. It is for what has ended and is found by what it is, not by its key. It
// looks at every entry, so it is for what is rare, and asks gone a second time while
// nobody can update the entry. The errors are a [*StoreError] or a [*DirError].
func (f *Files) Purge(ctx context.Context, gone func(entry []byte) bool) error {
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	names, err := namesIn(root, all)
	if err != nil {
		return &StoreError{Op: "read", Dir: f.dir, Err: err}
	}
	var failed error
	for _, name := range names {
		if !isKey(name) {
			continue
		}
		entry, err := read(root, name)
		if err != nil || entry == nil || !gone(entry) {
			continue // what cannot be read is handed out to nobody
		}
		failed = errors.Join(failed, f.Update(ctx, name, func(_ context.Context, entry []byte) ([]byte, error) {
			if entry == nil || gone(entry) {
				return nil, nil
			}
			return entry, nil
		}))
	}
	return failed
}
