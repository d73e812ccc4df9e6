//go:build unix

package agent

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// checkPrivate returns a [*DirError] unless dir is a directory of uid's alone.
func checkPrivate(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	refuse := func(why, fix string) error { return &DirError{Dir: dir, Why: why, Fix: fix} }
	owner, perm := ownerOf(info), info.Mode().Perm()
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		return refuse("is a symbolic link", "remove it")
	case !info.IsDir():
		return refuse("is not a directory", "remove it")
	case owner != uid:
		return refuse(fmt.Sprintf("belongs to user %d, not %d", owner, uid), "remove it, or have XDG_RUNTIME_DIR name a directory of your own")
	case perm&0o077 != 0:
		return refuse(fmt.Sprintf("lets other users in (mode %04o)", perm), "run: chmod 700 "+strconv.Quote(dir))
	}
	return nil
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
