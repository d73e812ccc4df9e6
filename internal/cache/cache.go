// Package cache keeps small secrets, such as tokens and installation lookups, in
// files where the other processes of the same user find them.
//
// An entry is one file of mode 0600 in a directory of mode 0700, named by its
// key. It is replaced by renaming a finished file over it, so a reader sees the
// old bytes or the new ones and never half of either, whatever is killed when.
// Writers exclude each other with file locks that the kernel releases when their
// process ends.
//
// Beside the entries stand the answers of [Files.KeepAnswer], which rest on them.
//
// Files are not synced to the disk: after a power cut an entry may be empty or
// damaged. What the bytes mean is not known here, so the caller treats
// what cannot be decoded as if there were none, which costs one request to GitHub.
// Waiting for the disk on each write would cost every user more.
//
// On Windows, where modes say nothing, the user's profile directory keeps other
// users out, and owners and modes are not checked.
package cache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/private"
)

// MaxEntry is the size in bytes that an entry may have: 1 MiB.
const MaxEntry = 1 << 20

// tempPrefix begins the names of files that are being written.
const tempPrefix = "tmp-"

// Files is a store of entries in one directory. It is safe for concurrent use,
// by any number of goroutines and processes. [Open] makes one.
type Files struct {
	// Waiting is told, once for each update that waits for long, that another process keeps it waiting. It is
	// set before the first update. Nil: nobody is.
	Waiting func()

	dir   string
	turns [shards]chan struct{}
}

// Open returns the store in dir, which is made with mode 0700 if it is not there.
//
// A dir that is a symbolic link, belongs to another user or lets other users in
// is refused with a [*DirError] that says what to do; a dir that cannot be made or
// opened gives a [*StoreError]. The caller then works without a store, and says so.
//
// The same checks are made at every use, since the directory may change, or be
// removed, under a process that runs for long.
func Open(dir string) (*Files, error) {
	if dir == "" {
		return nil, &StoreError{Op: "open", Err: errors.New("no directory was named")}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &StoreError{Op: "open", Dir: dir, Err: err}
	}
	f := &Files{dir: abs}
	for shard := range f.turns {
		f.turns[shard] = make(chan struct{}, 1)
	}
	root, err := f.ensure()
	if err != nil {
		return nil, err
	}
	return f, root.Close()
}

// Dir returns the directory of the store, as an absolute path.
func (f *Files) Dir() string { return f.dir }

// Get returns the bytes of the entry, or nil where there is none. It takes no lock
// and does not wait. A file that other users could have written, or that is larger
// than [MaxEntry], is no entry. A key is 64 lower-case hexadecimal digits (a SHA-256);
// any other is an error. A store that cannot be read gives a [*StoreError] or a
// [*DirError].
func (f *Files) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read the cache: %w", err)
	}
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entry, err := read(root, key)
	if err != nil {
		return nil, &StoreError{Op: "read", Dir: f.dir, Err: err}
	}
	return entry, nil
}

// Update calls fn with the bytes of the entry, nil where there is none, and stores
// what fn returns; nil removes the entry. While fn runs, no other goroutine and no
// other process updates this entry. An error of fn changes nothing and is returned
// as it is. When ctx ends before fn is called, Update returns its error.
//
// A failing store is told from a failing fn by the type of the error. A
// [*StoreError] with Ran false, and a [*DirError], mean that fn was not called:
// the caller calls it itself, without a store. A [*StoreError] with Ran true means
// that fn was called and succeeded, and only its result could not be kept.
//
// The locks are shared by several entries, so fn may wait for other updates but
// must not start one: an Update with fn's context is refused with an error, since
// sooner or later two would wait for each other.
func (f *Files) Update(ctx context.Context, key string,
	fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if ctx.Value(updating{f}) != nil {
		return errors.New("cache: an update was started inside another one")
	}
	root, err := f.ensure()
	if err != nil {
		return err
	}
	defer root.Close()
	wrote, err := f.update(ctx, root, key, fn)
	if wrote {
		f.prune(root, pruneMost)
	}
	return err
}

// Put stores an entry without waiting for those who update it: of two writers, the
// last one counts. It is for what is right no matter who writes it, and it may be called
// inside of an Update.
func (f *Files) Put(ctx context.Context, key string, entry []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write to the cache: %w", err)
	}
	root, err := f.ensure()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := write(root, key, entry); err != nil {
		return &StoreError{Op: "write to", Dir: f.dir, Ran: true, Err: err}
	}
	return nil
}

// updating marks the context that an update of this store gives to fn.
type updating struct{ *Files }

// update is Update between taking the lock and giving it back.
func (f *Files) update(ctx context.Context, root *os.Root, key string,
	fn func(ctx context.Context, old []byte) ([]byte, error)) (wrote bool, err error) {
	unlock, err := f.lock(ctx, root, shardOf(key))
	if err != nil {
		return false, err
	}
	defer unlock()
	old, err := read(root, key)
	if err != nil {
		return false, &StoreError{Op: "read", Dir: f.dir, Err: err}
	}
	// A copy, since fn may change its argument in place and return it.
	entry, err := fn(context.WithValue(ctx, updating{f}, true), bytes.Clone(old))
	if err != nil {
		return false, err
	}
	switch {
	case entry == nil:
		err = remove(root, key)
	case old != nil && bytes.Equal(old, entry):
		// Forty-nine of fifty processes that start at once come here.
		return false, nil
	default:
		err = write(root, key, entry)
	}
	if err != nil {
		return false, &StoreError{Op: "write to", Dir: f.dir, Ran: true, Err: err}
	}
	return true, nil
}

// read returns the bytes of an entry; nil without an error means that there is
// none, or none to be believed.
func read(root *os.Root, key string) ([]byte, error) {
	entry, _, err := readFile(root, key)
	return entry, err
}

// readFile is read, and tells what file it was.
func readFile(root *os.Root, key string) ([]byte, fs.FileInfo, error) {
	named, err := root.Lstat(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	// A link is never followed, and a pipe would block.
	if !named.Mode().IsRegular() {
		return nil, nil, nil
	}
	file, err := root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	// The file that was opened, which may have come since.
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !private.File(info) {
		return nil, nil, nil
	}
	entry, err := io.ReadAll(io.LimitReader(file, MaxEntry+1))
	if err != nil || len(entry) > MaxEntry {
		return nil, nil, err
	}
	return entry, info, nil
}

// write puts an entry in place of the old one, in one step.
func write(root *os.Root, key string, entry []byte) error {
	file, err := stage(root, key, entry)
	if err != nil {
		return err
	}
	return file.Commit()
}

// stage writes an entry to a new file, which is not in place yet.
func stage(root *os.Root, key string, entry []byte) (*atomicfile.File, error) {
	if len(entry) > MaxEntry {
		return nil, fmt.Errorf("the entry has %d bytes, the most is %d", len(entry), MaxEntry)
	}
	// A name of its own for each write: on a file system whose locks do nothing,
	// two writers still do not write into one file.
	file, err := atomicfile.Begin(key, atomicfile.Options{Root: root,
		Temp: tempPrefix + rand.Text(), Ours: true, NoSync: true})
	if err != nil {
		return nil, err
	}
	_, err = file.Write(entry)
	if err = errors.Join(err, file.Finish()); err == nil {
		// Ages are judged by this machine's clock, so they are counted from it,
		// and not from a file server's.
		now := time.Now()
		err = root.Chtimes(file.Temp(), now, now)
	}
	if err != nil {
		file.Discard()
		return nil, err
	}
	return file, nil
}

func remove(root *os.Root, key string) error {
	if err := root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// checkKey refuses whatever is not a SHA-256 in hexadecimal, so that no key is
// ever a path.
func checkKey(key string) error {
	if !isKey(key) {
		return errors.New("cache: a key is 64 lower-case hexadecimal digits")
	}
	return nil
}

func isKey(name string) bool {
	if len(name) != 64 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
