//go:build unix

package process

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// RunShell is [Run], apart, for a command line of the user's. A program that was told of the death
// of this process would end alone, and what a shell has started would go on: so a guard ends all
// of its session when this process dies, even by SIGKILL.
func RunShell(ctx context.Context, cmd *exec.Cmd) error {
	release := func() {}
	defer func() { release() }()
	return run(ctx, cmd, true, func() { release = guard(cmd.Process.Pid) })
}

// guarding waits for a line, or for the death of who would write it.
const guarding = `read -r _ && exit; kill -s TERM -- "-$0" && sleep 5 && kill -s KILL -- "-$0"`

// guard has a process group ended when this process dies before it calls release. That it cannot be
// started is no failure: it is needed in a case that is not to come.
func guard(group int) (release func()) {
	read, write, err := os.Pipe()
	if err != nil {
		return func() {}
	}
	defer read.Close()
	cmd := exec.Command("/bin/sh", "-c", guarding, strconv.Itoa(group))
	cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{"PATH=/usr/bin:/bin"}, read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // nothing that is sent to us reaches it
	if cmd.Start() != nil {
		write.Close()
		return func() {}
	}
	return func() {
		_, _ = io.WriteString(write, "\n")
		write.Close()
		_ = cmd.Wait()
	}
}
