//go:build unix

package cli

import (
	"io/fs"
	"os"
	"syscall"
)

// readByOthers reports whether a pipe is that of another user, root excepted.
func readByOthers(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeNamedPipe != 0 && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
