//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package agent

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes the lock file, or fails with errLocked while another process has it.
// The kernel gives it back when the process ends, however it ends (flock(2)).
func lock(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", name, err)
}
