//go:build unix

package bench

import (
	"os/exec"
	"syscall"
)

// apart gives a program a session of its own, as one started from another terminal
// has. Linux shares the processors among sessions (autogroups in sched(7)): in the
// session of the server, which is this process's, git would be handed on to by the
// server at once, but the git that ghapp starts in a session of its own would not.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
