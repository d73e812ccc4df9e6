// Package atomicfile puts a finished file in the place of another in one step, so that
// a reader sees the old bytes or the new ones, and never half of either.
//
// What is replaced is a regular file or nothing. A rename would as readily put a file in
// the place of a device, a pipe or a link: of /dev/null, where we run as root.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// NotRegularError is the error of [File.Commit] and [Check] where something stands in the
// way that is no regular file. It stays as it was.
type NotRegularError struct {
	Path string
	Mode fs.FileMode
}

// Error implements error.
func (e *NotRegularError) Error() string {
	return fmt.Sprintf("%s is %s, which is not replaced by a file", e.Path, kind(e.Mode))
}

// kind names what a mode is of.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// Options say how a file is made. The zero value is for a file that is worth its sync.
type Options struct {
	// Root is the directory that the target's name is relative to, which no link leads
	// out of. Nil: the target is a path like any other.
	Root *os.Root
	// Temp is the name of the new file until it is whole. One that is fixed is a lock
	// among all who use it: while it is there, Begin fails with [fs.ErrExist]. Empty: a
	// name beside the target that nobody else uses.
	Temp string
	// Leftover removes a file of the name Temp first. It is for a caller who holds a lock
	// of another kind, and so knows that the process that made it was killed.
	Leftover bool
	// Perm are the permissions of the new file, before umask. Zero: 0600.
	Perm fs.FileMode
	// Ours says that the target's name is one of our own, in a directory that nobody else
	// writes to. Whatever got there, a link or a pipe, is replaced like a file.
	Ours bool
	// NoSync leaves it to the system when the bytes reach the disk: a power cut may
	// leave an empty file then.
	NoSync bool
}

// File is a file that is being written, to take the place of another.
type File struct {
	*os.File
	calls  calls
	temp   string
	target string
	ours   bool
	sync   bool
	ended  bool
}

// calls are what a replacement asks of the system. [*os.Root] has them, too.
type calls interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Lstat(name string) (fs.FileInfo, error)
	Rename(from, to string) error
	Remove(name string) error
}

type system struct{}

func (system) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (system) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }
func (system) Rename(from, to string) error           { return os.Rename(from, to) }
func (system) Remove(name string) error               { return os.Remove(name) }

// Begin makes the new file, empty. Its directory has to be there. The caller ends it with
// [File.Commit] or [File.Discard].
func Begin(target string, o Options) (*File, error) {
	f := &File{calls: system{}, temp: o.Temp, target: target, ours: o.Ours, sync: !o.NoSync}
	if o.Root != nil {
		f.calls = o.Root
	}
	if f.temp == "" {
		f.temp = filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+"."+rand.Text())
	}
	if o.Perm == 0 {
		o.Perm = 0o600
	}
	if o.Leftover {
		if err := f.calls.Remove(f.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	// O_EXCL follows no link and opens nothing that somebody has laid there.
	file, err := f.calls.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, o.Perm)
	if err != nil {
		// A name that nobody gave says nothing to anybody.
		if e, ok := errors.AsType[*fs.PathError](err); ok && o.Temp == "" {
			e.Path = target
		}
		return nil, err
	}
	f.File = file
	return f, nil
}

// Temp is the name that the new file has until it is committed.
func (f *File) Temp() string { return f.temp }

// Finish writes the file to its end: what check may look at, and Commit puts in place.
// After an error the caller discards the file.
func (f *File) Finish() error {
	var err error
	if f.sync {
		err = f.File.Sync()
	}
	// Where a network file system reports a full disk.
	if closed := f.File.Close(); !errors.Is(closed, os.ErrClosed) {
		err = errors.Join(err, closed)
	} else {
		err = nil // it was finished before
	}
	return err
}

// Commit puts the file in the place of the target. The error is a [*NotRegularError] where
// that is no regular file. After any error the new file is gone, and the target as it was.
func (f *File) Commit() error {
	err := f.Finish()
	if err == nil && !f.ours {
		err = check(f.calls, f.target)
	}
	if err == nil {
		err = f.calls.Rename(f.temp, f.target)
	}
	if err != nil {
		f.Discard()
		return err
	}
	f.ended = true
	return nil
}

// Discard removes the new file, unless it was committed. It may be deferred.
func (f *File) Discard() {
	if f.ended {
		return
	}
	f.ended = true
	_ = f.File.Close()
	_ = f.calls.Remove(f.temp)
}

// Check returns a [*NotRegularError] where something stands at path that is not to be
// replaced: whatever is no regular file. A link is looked at itself.
func Check(path string) error { return check(system{}, path) }

func check(c calls, path string) error {
	info, err := c.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &NotRegularError{path, info.Mode()}
	}
	return nil
}
