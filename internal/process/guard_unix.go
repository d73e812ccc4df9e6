//go:build unix

package process

import (
	"context"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// RunShell is [Run], apart, for a command line of the user's. A program that was told of the death
// of this process would end alone, and what a shell has started would go on: so a guard ends all
// of its process group when this process dies, even by SIGKILL. What a shell puts into a group of
// its own (set -m), or a program into a session, goes on.
func RunShell(ctx context.Context, cmd *exec.Cmd) error {
	g := newGuard()
	defer g.release()
	g.guards(cmd)
	return Run(ctx, cmd, true)
}

// guarding reads a process group, and then waits for a line, or for the death of who would write
// it. All of it but sleep is built into a shell, and where there is none the group has no time to
// end by itself.
const guarding = `read -r group || exit; read -r _ && exit
kill -s TERM -- "-$group" && { sleep 5; kill -s KILL -- "-$group"; }`

// guarded names its process group to the guard, and becomes the program.
const guarded = `echo $$ >&FD; exec FD>&-; exec "$0" "$@"`

// guard has a process group ended when this process dies before it is released. That it cannot be
// started is no failure: it is needed in a case that is not to come.
type guard struct {
	cmd         *exec.Cmd // nil: it was not started
	read, write *os.File
}

func newGuard() guard {
	read, write, err := os.Pipe()
	if err != nil {
		return guard{}
	}
	cmd := exec.Command("/bin/sh", "-c", guarding)
	cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{"PATH=/usr/bin:/bin:" + os.Getenv("PATH")}, read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // nothing that is sent to us reaches it
	if cmd.Start() != nil {
		read.Close()
		write.Close()
		return guard{}
	}
	return guard{cmd, read, write}
}

// guards has a program name its own group, before it does anything else: of a group that this
// process named, there would be a moment in which nobody but this process knew.
func (g guard) guards(cmd *exec.Cmd) {
	if g.cmd == nil || cmd.Err != nil {
		return
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, g.write)
	fd := strconv.Itoa(2 + len(cmd.ExtraFiles))
	cmd.Args = slices.Concat([]string{"/bin/sh", "-c", strings.ReplaceAll(guarded, "FD", fd), cmd.Path}, cmd.Args[1:])
	cmd.Path = "/bin/sh"
}

// release ends the guard, and waits for its end. Its end of the pipe stays open until then: who
// writes to a guard that somebody has ended is not ended by that.
func (g guard) release() {
	if g.cmd == nil {
		return
	}
	_, _ = io.WriteString(g.write, "\n\n") // one for a group that was never named
	g.write.Close()
	_ = g.cmd.Wait()
	g.read.Close()
}
