//go:build unix

package term

import (
	"io/fs"
	"os"
	"syscall"
)

// readByOthers reports whether a pipe or a device, such as a terminal, is that of another
// user, root excepted.
func readByOthers(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) != 0 && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
