//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// writableByOthers says why users other than this one and root can change a file,
// or "" if they cannot.
func writableByOthers(info fs.FileInfo) string {
	if !info.Mode().IsRegular() {
		return ""
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Sprintf("it belongs to user %d", stat.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("its mode is %04o", info.Mode().Perm())
	}
	return ""
}
