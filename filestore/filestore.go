// Package filestore is a [ghapp.Store] of files: the processes of one user that name the
// same directory share their tokens, and of many that start at once one mints.
//
//	store, err := filestore.Open("/var/lib/mine/tokens")
//	app, err := ghapp.New(ghapp.Config{Issuer: "Iv23li…", Signer: key, Store: store})
//
// An entry is one file of mode 0600, in a directory of mode 0700 that belongs to the user
// alone; any other directory is refused. A file is replaced by renaming a finished one over
// it, and writers exclude each other with locks that end with their process: whenever a
// process is killed, a reader finds the old bytes or the new ones. An entry is removed a day
// after it was last written. The directory is to be on a file system of this machine, whose locks hold.
//
// On Windows, where modes say nothing, the user's profile directory keeps others out.
package filestore

import (
	"context"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/cache"
)

// Store is a store in one directory. It is safe for concurrent use, by any number of
// goroutines and processes. [Open] makes one.
type Store struct{ files *cache.Files }

var _ ghapp.Purger = (*Store)(nil)

// Open returns the store in dir, which is made with mode 0700 if it is not there. The error
// says why a directory is not used, such as one that others can write to, and what to do.
func Open(dir string) (*Store, error) {
	files, err := cache.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Store{files}, nil
}

// Dir is the directory, as an absolute path.
func (s *Store) Dir() string { return s.files.Dir() }

// Get implements [ghapp.Store]. A file that other users could have written is no entry. A
// key is 64 lower-case hexadecimal digits, as those of package ghapp are; any other is an
// error.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) { return s.files.Get(ctx, key) }

// Update implements [ghapp.Store]. An entry has 1 MiB at most. fn must not start another
// update of this store with its context: that is an error.
func (s *Store) Update(ctx context.Context, key string,
	fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	return s.files.Update(ctx, key, fn)
}

// Purge implements [ghapp.Purger].
func (s *Store) Purge(ctx context.Context, gone func(entry []byte) bool) error {
	return s.files.Purge(ctx, gone)
}
