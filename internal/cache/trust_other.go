//go:build !unix

package cache

import "io/fs"

// Where there are no Unix owners and modes, access control lists decide, and a
// user's own directories are closed to other users from the start.

func ofAnother(fs.FileInfo) bool    { return false }
func openToOthers(fs.FileInfo) bool { return false }
