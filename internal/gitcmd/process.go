package gitcmd

import (
	"context"
	"os/exec"
)

// supervise runs cmd to its end, or to ctx's. git stands in a [group] of its own:
// when ctx ends, that reaches git and all it started at once. Ctrl-C is the
// caller's to catch, and to end ctx with. apart takes the terminal away too: git is
// told not to ask questions, but ssh would, and wait for ever.
func supervise(ctx context.Context, cmd *exec.Cmd, apart bool) error {
	var g group
	g.prepare(cmd, apart)
	defer g.close()
	if err := cmd.Start(); err != nil {
		return err
	}
	g.started(cmd)
	err := cmd.Wait()
	if _, dead := killed(cmd.ProcessState); dead || ctx.Err() != nil {
		// What a killed git leaves behind would go on filling the directory.
		g.kill(cmd)
	}
	return err
}
