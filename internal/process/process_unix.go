//go:build unix

package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// group is a process group, or a session (setsid(2)), which has no terminal. A
// session is no more than what is needed: Linux's autogroup scheduling can make it
// wait for its turn.
type group struct{ thread }

func (g *group) prepare(cmd *exec.Cmd, apart bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !apart, Setsid: apart}
	g.thread.hold(cmd.SysProcAttr)
	// git, and much else, removes what it has half made when it gets SIGTERM.
	cmd.Cancel = func() error {
		err := unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
		if errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

func (g *group) started(*exec.Cmd) {}

// kill ends what is left after its time to stop. The kernel gives a process id to
// nobody else while it still names a group with members.
func (g *group) kill(cmd *exec.Cmd) { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }

func (g *group) close() { g.thread.release() }

// Signal is the signal that ended a process, if one did.
func Signal(state *os.ProcessState) (os.Signal, bool) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return nil, false
	}
	return status.Signal(), true
}
