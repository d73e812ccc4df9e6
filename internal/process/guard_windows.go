package process

import (
	"context"
	"os/exec"
)

// RunShell is [Run], apart, for a command line of the user's: the job ends with this process.
func RunShell(ctx context.Context, cmd *exec.Cmd) error { return Run(ctx, cmd, true) }
