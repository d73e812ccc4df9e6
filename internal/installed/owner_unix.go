//go:build unix

package installed

import (
	"os"
	"syscall"
)

// others reports whether a link belongs to another user, who can lead it elsewhere.
func others(link string) bool {
	info, err := os.Lstat(link)
	if err != nil {
		return true
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
