//go:build unix

package wire

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkOwner returns an error unless path is a socket of uid in a directory
// that belongs to uid and that nobody else can put another socket into.
func checkOwner(path string, uid int) error {
	socket, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if socket.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket", path)
	}
	dir := filepath.Dir(path)
	parent, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner := ownerOf(socket); owner != uid {
		return fmt.Errorf("%s belongs to user %d, not %d", path, owner, uid)
	}
	if owner := ownerOf(parent); owner != uid {
		return fmt.Errorf("%s belongs to user %d, not %d", dir, owner, uid)
	}
	if parent.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by other users", dir)
	}
	return nil
}

// isOwn reports whether dir is a directory of uid's.
func isOwn(dir string, uid int) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir() && ownerOf(info) == uid
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
