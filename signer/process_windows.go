package signer

import (
	"os/exec"
	"syscall"
)

// createNoWindow keeps a program from a console of its own, and from ours
// (https://learn.microsoft.com/windows/win32/procthread/process-creation-flags).
const createNoWindow = 0x08000000

// supervise runs cmd to its end.
func supervise(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: createNoWindow}
	return cmd.Run()
}
