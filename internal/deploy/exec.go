//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// execUnfinished reports whether the command after the release is still to run, or to run again.
func (r *Release) execUnfinished() bool { return r.ExecPending() || r.ExecFailed() }

// execRetryAt is when a command that has failed after a release may run again; zero where it may
// run now. A command line that was changed since the failure may run now.
func (t *Target) execRetryAt(r *Release) time.Time {
	if !r.ExecFailed() || t.Exec.Line != r.ExecCommand {
		return time.Time{}
	}
	again, now := r.ExecRetryAt(), time.Now()
	if !again.After(now) || r.ExecFailedAt.After(now) { // the machine's clock may jump
		return time.Time{}
	}
	return again
}

// execTooSoon returns how the command after a release failed last, where a patient request would
// do nothing but run that command again and the pause after the failure is not over. Nil: go on.
func (t *Target) execTooSoon(r *Release, q Request) error {
	if !q.Patient || q.Force || r == nil || t.Exec.Line == "" {
		return nil
	}
	stays := r.Commit == q.Commit && r.BuildOptions == t.buildOptions() || slices.Contains(r.Held, q.Commit)
	again := t.execRetryAt(r)
	if !stays || again.IsZero() {
		return nil
	}
	return &Error{
		Problem: ErrExec, Op: fmt.Sprintf("exec %q for %s", t.Exec.Line, r.ID),
		Err: fmt.Errorf("%s (it has failed %s, and is tried again from %s on; at once with --force)",
			r.ExecError, times(r.ExecFailures), again.Format(time.RFC3339)),
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// RunPendingExec runs the command after the published release where it has not run yet, or has
// failed and may run again by now. It is for a pass that does not come to [Target.Publish],
// since nobody knows which commit is wanted. The errors are those of Publish.
func (t *Target) RunPendingExec(ctx context.Context) error {
	if err := t.validate(); err != nil {
		return err
	}
	published, err := t.Published()
	if err != nil || !t.execDue(published) {
		return err
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return t.fail("run the command in", err)
	}
	defer unlock()
	if published, err = t.recover(); err != nil {
		return t.fail("run the command in", err)
	}
	return t.runPendingExec(ctx, published)
}

// execDue reports whether the command after a release is to run now.
func (t *Target) execDue(r *Release) bool {
	return r != nil && t.Exec.Line != "" && r.execUnfinished() && !r.PublishedAt.IsZero() && t.execRetryAt(r).IsZero()
}

// runPendingExec runs the command after a release if it is due. The lock is held.
func (t *Target) runPendingExec(ctx context.Context, r *Release) error {
	if ctx.Err() != nil || !t.execDue(r) {
		return nil
	}
	return t.runExec(ctx, r, r.Previous)
}

// runExec runs the command after a release, and notes what became of it.
func (t *Target) runExec(ctx context.Context, r *Release, previous string) error {
	if t.Exec.Line == "" && r.Exec == "" {
		return nil
	}
	err := t.runCommand(ctx, "exec", t.Exec, t.Dir, r, previous)
	if ctx.Err() != nil {
		return err // it is still to run
	}
	if r.ExecCommand != t.Exec.Line {
		r.setExecPending() // the failures of another command are not its own
	}
	r.ExecCommand, r.ExecError = t.Exec.Line, ""
	switch {
	case err != nil:
		r.ExecError = err.Error()
		if failed, ok := errors.AsType[*Error](err); ok && failed.Err != nil {
			r.ExecError = failed.Err.Error()
		}
		r.Exec, r.ExecFailures, r.ExecFailedAt = execFailed, r.ExecFailures+1, time.Now().UTC()
	default:
		r.Exec, r.ExecFailures, r.ExecFailedAt = execDone, 0, time.Time{}
	}
	return errors.Join(err, t.save(r))
}

// The values of Release.Exec.
const (
	execPending = "pending"
	execDone    = "done"
	execFailed  = "failed"
)

// ExecFailed reports whether the command after the release has failed and is to be tried
// again.
func (r *Release) ExecFailed() bool { return r.Exec == execFailed }

// ExecPending reports whether the command after the release has not ended yet.
func (r *Release) ExecPending() bool { return r.Exec == execPending }

// The pauses after which a command that failed is tried again: each is twice as long as
// the one before.
const (
	firstPause = 30 * time.Second
	mostPause  = 15 * time.Minute
)

// ExecRetryAt is when the command that has failed is tried again by those who wait.
func (r *Release) ExecRetryAt() time.Time {
	pause := min(firstPause<<min(max(r.ExecFailures-1, 0), 10), mostPause)
	return r.ExecFailedAt.Add(pause)
}

// setExecPending notes that the command after the release is still to run.
func (r *Release) setExecPending() {
	r.Exec, r.ExecFailures, r.ExecFailedAt, r.ExecCommand, r.ExecError = execPending, 0, time.Time{}, "", ""
}
