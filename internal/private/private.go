// Package private looks at directories before anything in them is believed: whether they
// are this user's own, and whether another user could have prepared them, or could put
// others in their place.
//
// On Windows modes say nothing. There the access control list that a directory inherits
// from the user's profile keeps other users out, and nothing is looked at here.
package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Access is what other users may do with a directory of ours.
type Access int

const (
	// Alone is a directory that others cannot even list: of keys, tokens and sockets.
	Alone Access = iota
	// Ours is one that others may read, but not change.
	Ours
)

// Error reports a directory that another user could turn against this one.
type Error struct {
	Path string
	Why  string // what is wrong with it: "belongs to user 7, not 8"
	Hint string // what to do about it; one line
}

// Error is one line, without the hint.
func (e *Error) Error() string { return e.Path + " " + e.Why }

// Open opens a directory of this user's, which must be there. What is in it is then to be
// reached through the root and not by path, so that nothing that happens to the path
// meanwhile leads elsewhere.
//
// The error is an [*Error], or that of the system.
func Open(dir string, access Access) (*os.Root, error) {
	if err := Check(dir, os.Geteuid(), access); err != nil {
		return nil, err
	}
	named, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	return openSame(dir, named, access)
}

// openSame opens a directory if it still is the one that was looked at, and not what has
// taken its place since.
func openSame(dir string, named fs.FileInfo, access Access) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	switch {
	case err != nil:
	case !os.SameFile(named, opened):
		err = errors.New(dir + " was replaced while it was opened")
	default:
		err = check(dir, opened, os.Geteuid(), access)
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

// Make makes a directory that is not there, and those above it with mode 0700, as the XDG
// Base Directory Specification asks. One that is there already is looked at as by [Check].
func Make(dir string, perm fs.FileMode, access Access) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	// Another process, or another user, may have been quicker.
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Check(dir, os.Geteuid(), access)
}

// Check returns an [*Error] where something is not a directory of a user's that others
// have this access to at most, or is a link to one; or the system's error.
func Check(dir string, uid int, access Access) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	return check(dir, info, uid, access)
}

// File reports whether a file, as it was opened, is a regular one of this user's that
// others cannot even read.
func File(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && closedTo(info, os.Geteuid(), Alone)
}
