package cache

import (
	"errors"
	"io/fs"
	"os"
)

// StoreError reports that the files could not be used. It says nothing about the
// caller's own work: see [Files.Update].
type StoreError struct {
	Op  string // "open", "lock", "read", "write to"
	Dir string
	Ran bool // Update had called its function, which succeeded
	Err error
}

// Error is one line, and names the directory. It has no byte of an entry.
func (e *StoreError) Error() string {
	if e.Dir == "" {
		return "cannot " + e.Op + " the cache: " + reason(e.Err)
	}
	return "cannot " + e.Op + " the cache in " + e.Dir + ": " + reason(e.Err)
}

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// reason leaves out the name of the file inside the directory, which is a key or
// a random name and helps nobody.
func reason(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err.Error()
	}
	return err.Error()
}

// DirError reports a directory that is not used because other users could read
// or change what is in it.
type DirError struct {
	Dir  string
	Why  string // "it lets other users in (mode 0755)"
	hint string
}

// Error is one line: which directory, why, and what to do.
func (e *DirError) Error() string {
	return "the cache directory " + e.Dir + " is not used: " + e.Why + "; " + e.hint
}

// Hint is what to do, one line, with the command if there is one.
func (e *DirError) Hint() string { return e.hint }
