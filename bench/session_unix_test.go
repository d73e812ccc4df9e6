//go:build unix

package bench

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// apart gives a program a session of its own, as one started from another terminal
// has. Linux shares the processors among sessions (autogroups in sched(7)): in the
// session of the server, which is this process's, git would be handed on to by the
// server at once, but the git that ghapp starts in a session of its own would not.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// processorTime is that of this process and of its children that have ended.
func processorTime(tb testing.TB) time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return sum
}
