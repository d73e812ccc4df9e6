// Package process runs programs so that none of them, nor what they start, outlives what it
// was started for; one in the place of this process; and this process where it is the first
// of a container.
package process

import (
	"context"
	"os/exec"
)

// Run runs cmd, which was made with ctx, to its end or to that of ctx. It stands in a
// [group] of its own: when ctx ends, SIGTERM reaches it and all it started at once, and
// after cmd.WaitDelay SIGKILL does. Ctrl-C is the caller's to catch, and to end ctx
// with. apart takes the terminal away too: git is told not to ask questions, but ssh
// would, and wait for ever. The errors are those of [exec.Cmd.Run].
func Run(ctx context.Context, cmd *exec.Cmd, apart bool) error {
	var g group
	g.prepare(cmd, apart)
	defer g.close()
	if err := cmd.Start(); err != nil {
		return err
	}
	g.started(cmd)
	err := cmd.Wait()
	if _, dead := Signal(cmd.ProcessState); dead || ctx.Err() != nil {
		// What a killed git leaves behind would go on filling the directory.
		g.kill(cmd)
	}
	return err
}
