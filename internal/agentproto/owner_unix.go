//go:build unix

package agentproto

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/private"
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
	if owner := ownerOf(socket); owner != uid {
		return fmt.Errorf("%s belongs to user %d, not %d", path, owner, uid)
	}
	// A runtime directory may be reached by a link.
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return err
	}
	return private.Check(dir, uid, private.Ours)
}

// isOwn reports whether dir is a directory of uid's.
func isOwn(dir string, uid int) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir() && ownerOf(info) == uid
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
