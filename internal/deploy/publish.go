//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Outcome is what [Target.Publish] did.
type Outcome struct {
	Release *Release // what is published now
	Changed bool     // it was published just now
	Fetched int64    // bytes that were fetched for it, as git stores them
	// Unapplied are the commands of the target, "check" and "exec", that have not run for
	// this release: it was published before they were given.
	Unapplied []string
}

// unapplied are the commands of the target that a published release has not seen.
func (t *Target) unapplied(r *Release) []string {
	var list []string
	if t.Check.Line != "" && t.Check.Line != r.Check {
		list = append(list, "check")
	}
	if t.Exec.Line != "" && t.Exec.Line != r.ExecCommand {
		list = append(list, "exec")
	}
	return list
}

// settled reports whether there is nothing to do for a commit: it is published, no
// command after it is still owed, and it was made as it is wanted now.
func (t *Target) settled(r *Release, commit string) bool {
	return r != nil && r.Commit == commit && r.Makeup == t.makeup() && !r.owes() && !r.PublishedAt.IsZero()
}

// owes reports whether the command after the release is still to run, or to run again.
func (r *Release) owes() bool { return r.ExecPending() || r.ExecFailed() }

// tooSoon is the error of a command that has failed and is not to be tried again yet. One
// that is another now has not failed.
func (t *Target) tooSoon(r *Release, w Want) error {
	if !w.Patient || w.Again || r == nil || !r.ExecFailed() || t.Exec.Line == "" || t.Exec.Line != r.ExecCommand {
		return nil
	}
	if here := r.Commit == w.Commit && r.Makeup == t.makeup() || slices.Contains(r.Held, w.Commit); !here {
		return nil // another release is to come
	}
	again, now := r.ExecRetryAt(), time.Now()
	if !again.After(now) || r.ExecFailedAt.After(now) { // the machine's clock may jump
		return nil
	}
	return &Error{
		Problem: ErrExec, Op: fmt.Sprintf("exec %q for %s", t.Exec.Line, r.ID),
		Err: fmt.Errorf("%s (it has failed %s, and is tried again from %s on; at once with --again)",
			r.ExecError, times(r.ExecFailures), again.Format(time.RFC3339)),
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Publish brings the directory to a commit: it fetches it, builds its files beside the
// directory, and puts them into its place once they are whole, on the disk, and the
// check has succeeded. After a failure the directory shows what it showed before, but
// for [ErrExec], which comes after the change. What is published already is left alone,
// but for a command after it that has failed: that runs again.
//
// The errors are [*Error], [*HeldError], [*gitcmd.Error], [*os.PathError] and its like,
// and the cause of a context that ended.
func (t *Target) Publish(ctx context.Context, w Want) (*Outcome, error) {
	const op = "publish in"
	if err := t.validate(); err != nil {
		return nil, err
	}
	// What says that there is nothing to do has to be ours, too.
	if err := t.guard(); err != nil {
		return nil, t.fail(op, err)
	}
	published, err := t.Published()
	if err != nil {
		return nil, err
	}
	if !w.Again && t.settled(published, w.Commit) && !t.moved(published) {
		return &Outcome{Release: published, Unapplied: t.unapplied(published)}, nil
	}
	if err := t.tooSoon(published, w); err != nil {
		return &Outcome{Release: published}, err
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return nil, t.fail(op, err)
	}
	defer unlock()
	published, err = t.mend() // nobody else changes it now
	if err != nil {
		return nil, t.fail(op, err)
	}
	switch {
	case w.Again:
	case t.settled(published, w.Commit):
		return &Outcome{Release: published, Unapplied: t.unapplied(published)}, nil
	case published != nil && published.Commit == w.Commit && published.Makeup == t.makeup():
		// The command after it has failed, or the process that published it was stopped
		// before it was done.
		err := t.after(ctx, published, published.Previous)
		return &Outcome{Release: published, Unapplied: t.unapplied(published)}, err
	case published != nil && slices.Contains(published.Held, w.Commit):
		if published.owes() {
			if err := t.after(ctx, published, published.Previous); err != nil {
				return &Outcome{Release: published}, err
			}
		}
		return nil, &HeldError{Dir: t.Dir, Commit: w.Commit, Since: published.HeldSince}
	}
	if t, err = t.apart(ctx); err != nil {
		return nil, err
	}
	// Thousands of files are taken away while git fetches, and not while somebody waits
	// for what was pushed.
	var beside sync.WaitGroup
	beside.Go(t.sweep)
	defer beside.Wait()
	before := t.main(w.URL).size()
	r, err := t.build(ctx, w, published, (*store).fetch)
	if err != nil && t.repair(ctx, err) {
		r, err = t.build(ctx, w, published, (*store).fetch)
	}
	if err != nil {
		// What is published stays, and so does what is owed to it.
		if owed := t.pay(ctx, published); owed != nil {
			t.log().Warn("the command after the release that stays has failed again", "directory", t.Dir, "error", owed)
		}
		return nil, t.fail(op, err)
	}
	if published != nil && published.Commit == r.Commit { // it is made in another way
		r.Held, r.HeldSince = published.Held, published.HeldSince
	}
	if err := t.put(r, published); err != nil {
		return nil, t.fail(op, err)
	}
	t.log().Info("published", "directory", t.Dir, "commit", r.Commit, "release", r.ID, "previous", r.Previous)
	outcome := &Outcome{Release: r, Changed: true, Fetched: max(0, t.main(w.URL).size()-before)}
	err = t.after(ctx, r, r.Previous)
	t.clean(ctx, r, published)
	return outcome, err
}

// RunOwed runs the command after the published release where it is still owed, or has failed
// and its time has come again. It is for a pass that does not come to [Target.Publish],
// since nobody knows which commit is wanted. The errors are those of Publish.
func (t *Target) RunOwed(ctx context.Context) error {
	if err := t.validate(); err != nil {
		return err
	}
	published, err := t.Published()
	if err != nil || !t.due(published) {
		return err
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return t.fail("run the command in", err)
	}
	defer unlock()
	if published, err = t.mend(); err != nil {
		return t.fail("run the command in", err)
	}
	return t.pay(ctx, published)
}

// due reports whether the command after a release is to run now.
func (t *Target) due(r *Release) bool {
	return r != nil && t.Exec.Line != "" && r.owes() && !r.PublishedAt.IsZero() &&
		(!r.ExecFailed() || !r.ExecRetryAt().After(time.Now()))
}

// pay runs the command after a release if it is due. The lock is held.
func (t *Target) pay(ctx context.Context, r *Release) error {
	if ctx.Err() != nil || !t.due(r) {
		return nil
	}
	return t.after(ctx, r, r.Previous)
}

// put publishes a release by one rename. After a failure a new one is gone. Nothing that
// goes wrong after the rename is an error.
func (t *Target) put(r, published *Release) error {
	if t.mode() == Directory {
		r.Inode, r.Exchange = inode(t.tree(r.ID)), nobody
		if published != nil {
			r.Exchange = published.ID
		}
	}
	err := t.save(r)
	if err == nil && t.mode() == Directory {
		err = t.exchange(r, published)
	} else if err == nil {
		err = t.link(r)
	}
	if err != nil {
		if now, looked := t.Published(); looked == nil && r.PublishedAt.IsZero() && (now == nil || now.ID != r.ID) {
			err = errors.Join(err, t.drop(r.ID))
		}
		return err // what is said of an exchange is taken back by the next one
	}
	r.PublishedAt = time.Now().UTC()
	if err = t.rename(r); err == nil {
		r.Exchange = "" // or else the next one does it
	}
	if err = errors.Join(err, flushFile(filepath.Dir(t.Dir)), t.save(r)); err != nil {
		t.log().Warn("the release is published, but something after that went wrong", "directory", t.Dir, "error", err)
	}
	return nil
}

// link has Dir lead to the release. A link that lies in the way is replaced in one step.
func (t *Target) link(r *Release) error {
	name := filepath.Join(t.base(), newLink+r.ID)
	if err := os.Symlink(t.linkText(r.ID), name); err != nil {
		return err
	}
	var err error
	if info, looked := os.Lstat(t.Dir); looked == nil && info.IsDir() {
		err = os.Remove(t.Dir) // it is empty, or else Published had refused it
	}
	if err == nil {
		err = os.Rename(name, t.Dir)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// exchange makes the tree of the release Dir, and gives the one that was there its name.
func (t *Target) exchange(r, published *Release) error {
	if published == nil {
		// Over an empty directory too, which os.Rename refuses.
		if err := unix.Rename(t.tree(r.ID), t.Dir); err != nil {
			return &os.LinkError{Op: "rename", Old: t.tree(r.ID), New: t.Dir, Err: err}
		}
		return nil
	}
	err := exchange(t.tree(r.ID), t.Dir)
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return &Error{Problem: ErrNoExchange, Op: "publish in " + t.Dir, Err: err}
	}
	return err
}

// after runs the command after a release, and notes what became of it.
func (t *Target) after(ctx context.Context, r *Release, previous string) error {
	if t.Exec.Line == "" && r.Exec == "" {
		return nil
	}
	err := t.run(ctx, "exec", t.Exec, t.Dir, r, previous)
	if ctx.Err() != nil {
		return err // it is still owed
	}
	if r.ExecCommand != t.Exec.Line {
		r.owe() // the failures of another command are not its own
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
