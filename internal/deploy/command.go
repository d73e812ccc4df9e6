//go:build unix

package deploy

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// mostOutput is how much of what a command printed an error has, from its end, in bytes.
const mostOutput = 4 << 10

// runCommand runs a command line for a release until it succeeds, as often as it says. previous
// is the commit that was published before.
func (t *Target) runCommand(
	ctx context.Context, name string, c Command, dir string, r *Release, previous string,
) error {
	if c.Line == "" {
		return nil
	}
	pause := c.Pause
	if pause == 0 {
		pause = time.Second
	}
	for try := 1; ; try++ {
		output, err := t.runOnce(ctx, name, c, dir, r, previous)
		if err == nil || ctx.Err() != nil {
			return err
		}
		problem := ErrCheck
		if name == "exec" {
			problem = ErrExec
		}
		err = &Error{Problem: problem, Op: fmt.Sprintf("%s %q for %s", name, c.Line, r.ID), Output: output, Err: err}
		if try >= c.Tries {
			return err
		}
		t.log().Warn("trying again", "command", name, "release", r.ID, "after", pause, "error", err)
		if err := wait.Sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// runOnce runs it once, and returns the end of what it printed.
func (t *Target) runOnce(
	ctx context.Context, name string, c Command, dir string, r *Release, previous string,
) (string, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, c.timeout(), fmt.Errorf("it took longer than %s", c.timeout()))
	defer cancel()
	cmd := exec.CommandContext(bounded, "/bin/sh", "-c", c.Line)
	cmd.Dir, cmd.Env = dir, t.environ(dir, r, previous)
	output, err := newOutput(func(line string) { t.printLine(name, r, line) })
	if err != nil {
		return "", err
	}
	// A file, and no writer: what it leaves running is not waited for.
	cmd.Stdout, cmd.Stderr = output.write, output.write
	cmd.WaitDelay = 5 * time.Second
	err = process.RunShell(bounded, cmd)
	said := output.end(func() {
		t.log().Info("it has left something running, whose output goes on", "command", name, "release", r.ID)
	})
	switch {
	case ctx.Err() != nil:
		return said, context.Cause(ctx)
	case bounded.Err() != nil:
		return said, context.Cause(bounded)
	}
	return said, err
}

// printLine hands on a line that a command printed.
func (t *Target) printLine(name string, r *Release, line string) {
	if t.Printed != nil {
		t.Printed(name, line)
	}
	t.log().Info(line, "command", name, "release", r.ID)
}

// environ is the user's environment without what is ghapp's own, which has secrets in
// it, and with what is published.
func (t *Target) environ(dir string, r *Release, previous string) []string {
	return append(childenv.Apart(t.Environ, childenv.Own{}),
		"GHAPP_REPO="+r.Repository, "GHAPP_REF="+r.Ref, "GHAPP_COMMIT="+r.Commit,
		"GHAPP_PREVIOUS="+previous, "GHAPP_DIR="+dir, "GHAPP_RELEASE="+r.ID,
	)
}
