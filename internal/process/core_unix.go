//go:build unix

package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// NoCore keeps this process, and what it starts, from leaving its memory in a file, keys
// and tokens and all, where GOTRACEBACK=crash has a Go program abort after a panic
// (https://pkg.go.dev/runtime#hdr-Environment_Variables). In all other cases Go ends
// without one, and the limit stays what the user has set.
func NoCore() {
	if os.Getenv("GOTRACEBACK") != "crash" {
		return
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &limit) == nil {
		limit.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
}
