//go:build unix

package cache

import (
	"io/fs"
	"os"
	"syscall"
)

// ofAnother reports whether a file belongs to another user than the one this
// process acts as. An owner that cannot be told is another one.
func ofAnother(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(stat.Uid) != os.Geteuid()
}

// openToOthers reports whether the mode gives anything to other users.
func openToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
