//go:build unix

package gitcmd

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ofOthers says why other users have a say in a directory, or "" if they have none: it, or
// one that leads there, belongs to somebody else than this user and root, or everybody may
// write in it. As git itself does before it uses a repository (safe.directory), it leaves
// a group alone. What is not there is nobody's.
func ofOthers(dir string) string {
	path, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	for {
		info, err := os.Lstat(path)
		if err != nil {
			return ""
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
			return fmt.Sprintf("%s belongs to user %d", path, stat.Uid)
		case info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0:
			return fmt.Sprintf("everybody may write in %s", path)
		}
		up := filepath.Dir(path)
		if up == path {
			return ""
		}
		path = up
	}
}
