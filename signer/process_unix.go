//go:build unix

package signer

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// supervise runs cmd to its end. It stands in a session of its own, which has no
// terminal (setsid(2)): when its time is over, the signal reaches all that it started.
func supervise(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	release := endWithParent(cmd.SysProcAttr)
	defer release()
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	return cmd.Run()
}
