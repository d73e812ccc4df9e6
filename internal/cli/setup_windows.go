package cli

import (
	"os/exec"
	"syscall"
)

// detach keeps what the keyboard sends to this program from another.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
