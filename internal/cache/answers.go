package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/credcache"
)

// KeepAnswer keeps an answer to a question of git's, for git-credential-ghapp to find,
// beside the entry of this key: from then on the answer rests on that entry too, and
// ends with it. It is kept only if the entry is the one that was meant, as holds says
// of its bytes. It waits for nobody: of two answers to a question the last one stays.
//
// The error is a [*StoreError] or a [*DirError], or says why this answer cannot be
// kept, which no caller needs to care about: ghapp is asked again then.
func (f *Files) KeepAnswer(ctx context.Context, key string, holds func(entry []byte) bool, a credcache.Answer) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write to the cache: %w", err)
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	entry, info, err := readFile(root, key)
	if err != nil {
		return &StoreError{Op: "read", Dir: f.dir, Err: err}
	}
	if entry == nil || !holds(entry) {
		return errors.New("cache: the entry is gone")
	}
	stamp, ok := credcache.StampOf(info)
	if !ok {
		return errors.ErrUnsupported
	}
	a.Files = append(a.Files[:len(a.Files):len(a.Files)], credcache.File{Path: filepath.Join(f.dir, key), Stamp: stamp})
	text, err := a.Encode()
	if err != nil {
		return err
	}
	if err := write(root, a.Question.Name(), text); err != nil {
		return &StoreError{Op: "write to", Dir: f.dir, Err: err}
	}
	f.prune(root, pruneMost)
	return nil
}

// DropAnswers removes all answers, whatever they rest on. It is for when git says that
// one was refused, which is rare: the other questions are answered by ghapp once, and
// kept again.
func (f *Files) DropAnswers() error {
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	names, err := namesIn(root, all)
	for _, name := range names {
		if credcache.IsName(name) {
			err = errors.Join(err, remove(root, name))
		}
	}
	if err != nil {
		return &StoreError{Op: "write to", Dir: f.dir, Err: err}
	}
	return nil
}
