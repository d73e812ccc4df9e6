package ghapp

import "context"

// Store keeps tokens and installation lookups where other processes find them.
// Entries hold secrets: a store keeps them from other users. It is safe for
// concurrent use. A key is 64 lower-case hexadecimal digits (a SHA-256), and an entry less
// than a megabyte.
//
// Package filestore has one of files, and package storetest tests others.
type Store interface {
	// Get returns an entry, or nil where there is none. It does not wait.
	Get(ctx context.Context, key string) ([]byte, error)
	// Update calls fn with the entry's bytes (nil: there is none) while no other
	// process and no other goroutine updates this entry, and stores what fn
	// returns; nil removes the entry. An error of fn changes nothing and is
	// returned as it is. Update returns its own error where fn could not be
	// called, or where its result could not be stored.
	Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) ([]byte, error)) error
}
