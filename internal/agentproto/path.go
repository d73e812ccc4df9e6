package agentproto

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// SocketPath returns where the one agent of a user listens: ghapp/agent.sock in the
// first of these directories that there is.
//
//   - $XDG_RUNTIME_DIR, if it is this user's: a program that sudo started may have
//     another's
//   - /run/user/UID, where systemd puts it for those who have no such variable
//   - $XDG_CACHE_HOME, and where that is not set, ~/.cache, ~/Library/Caches on macOS
//     and %LocalAppData% on Windows
//
// The environment is read by lookup, as by os.LookupEnv; a directory in it that is
// not absolute counts as not set, as the XDG Base Directory Specification asks. The
// result is "" where there is none at all.
func SocketPath(lookup func(string) (string, bool)) string {
	uid := os.Geteuid()
	return socketPath(lookup, runtime.GOOS, "/run/user/"+strconv.Itoa(uid), uid)
}

func socketPath(lookup func(string) (string, bool), goos, runUser string, uid int) string {
	directory := func(variable string, below ...string) string {
		dir, _ := lookup(variable)
		if !filepath.IsAbs(dir) {
			return ""
		}
		return filepath.Join(append([]string{dir}, below...)...)
	}
	for _, dir := range []string{directory("XDG_RUNTIME_DIR"), runUser} {
		if dir != "" && isOwn(dir, uid) {
			return filepath.Join(dir, "ghapp", "agent.sock")
		}
	}
	cache := directory("XDG_CACHE_HOME")
	switch {
	case cache != "":
	case goos == "windows":
		cache = directory("LocalAppData")
	case goos == "darwin":
		cache = directory("HOME", "Library", "Caches")
	default:
		cache = directory("HOME", ".cache")
	}
	if cache == "" {
		return ""
	}
	return filepath.Join(cache, "ghapp", "agent.sock")
}
