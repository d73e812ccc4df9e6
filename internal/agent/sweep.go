package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// sweepAge is how old a directory is that may be swept: the process that made it
	// listens by then, or never will.
	sweepAge = time.Minute
	// mostSwept bounds the names that are looked at in a parent.
	mostSwept = 1000
)

// sweep removes what [Listen] made under a parent in processes that were killed: a
// directory of this user's alone, with a socket in it on which nobody listens, or with
// nothing. All else stays, and so does what cannot be removed.
func sweep(parent string, uid int, now time.Time) {
	if runtime.GOOS == "windows" {
		return // where a refused connection cannot be told from others
	}
	list, err := os.Open(parent)
	if err != nil {
		return
	}
	names, _ := list.Readdirnames(mostSwept)
	list.Close()
	for _, name := range names {
		dir := filepath.Join(parent, name)
		number, ours := strings.CutPrefix(name, "ghapp-")
		if !ours || strings.Trim(number, "0123456789") != "" || checkPrivate(dir, uid) != nil {
			continue
		}
		if info, err := os.Lstat(dir); err != nil || now.Sub(info.ModTime()) < sweepAge {
			continue
		}
		if path := filepath.Join(dir, "agent"); isDead(path) {
			_ = os.Remove(path)
		}
		_ = os.Remove(dir) // which it refuses while something is in it
	}
}

// isDead reports whether a path is a socket on which nobody listens.
func isDead(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
