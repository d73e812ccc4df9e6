//go:build !unix

package private

import "io/fs"

func check(dir string, info fs.FileInfo, _ int, _ Access) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &Error{dir, "is a symbolic link", "name the directory it leads to"}
	case !info.IsDir():
		return &Error{dir, "is not a directory", "remove it, or name another"}
	}
	return nil
}

func closedTo(fs.FileInfo, int, Access) bool { return true }

// Way looks at nothing here.
func Way(string) error { return nil }

// Closed returns nil.
func Closed(string, fs.FileInfo) error { return nil }
