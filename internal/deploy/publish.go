//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/flush"
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

// upToDate reports whether there is nothing to do for a commit: it is published, with the
// options that are wanted now, and the command after it has succeeded.
func (t *Target) upToDate(r *Release, commit string) bool {
	return r != nil && r.Commit == commit && r.BuildOptions == t.buildOptions() && !r.execUnfinished() &&
		!r.PublishedAt.IsZero()
}

// Publish brings the directory to a commit: it fetches it, builds its files beside the
// directory, and puts them into its place once they are whole, on the disk, and the
// check has succeeded. After a failure the directory shows what it showed before, but
// for [ErrExec], which comes after the change. What is published already is left alone,
// but for a command after it that has failed: that runs again.
//
// The errors are [*Error], [*HeldError], [*gitcmd.Error], [*os.PathError] and its like,
// and the cause of a context that ended.
func (t *Target) Publish(ctx context.Context, q Request) (*Outcome, error) {
	const op = "publish in"
	if err := t.validate(); err != nil {
		return nil, err
	}
	// Where another user could have written the record, not even "nothing to do" is believed.
	if err := t.guard(); err != nil {
		return nil, t.fail(op, err)
	}
	published, err := t.Published()
	if err != nil {
		return nil, err
	}
	if !q.Force && t.upToDate(published, q.Commit) && !t.recordStale(published) {
		return &Outcome{Release: published, Unapplied: t.unapplied(published)}, nil
	}
	if err := t.execTooSoon(published, q); err != nil {
		return &Outcome{Release: published}, err
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return nil, t.fail(op, err)
	}
	defer unlock()
	published, err = t.recover() // nobody else changes it now
	if err != nil {
		return nil, t.fail(op, err)
	}
	switch {
	case q.Force:
	case t.upToDate(published, q.Commit):
		return &Outcome{Release: published, Unapplied: t.unapplied(published)}, nil
	case published != nil && published.Commit == q.Commit && published.BuildOptions == t.buildOptions():
		// The command after it has failed, or the process that published it was stopped
		// before that had run.
		err := t.runExec(ctx, published, published.Previous)
		return &Outcome{Release: published, Unapplied: t.unapplied(published)}, err
	case published != nil && slices.Contains(published.Held, q.Commit):
		return t.hold(ctx, published, q.Commit)
	}
	return t.replaceRelease(ctx, q, published)
}

// hold leaves the published release where it is, since the commit that is wanted is held.
func (t *Target) hold(ctx context.Context, published *Release, commit string) (*Outcome, error) {
	if published.execUnfinished() {
		if err := t.runExec(ctx, published, published.Previous); err != nil {
			return &Outcome{Release: published}, err
		}
	}
	return nil, &HeldError{Dir: t.Dir, Commit: commit, Since: published.HeldSince}
}

// replaceRelease builds the release of a commit and publishes it in the place of another. The
// lock is held.
func (t *Target) replaceRelease(ctx context.Context, q Request, published *Release) (*Outcome, error) {
	const op = "publish in"
	t = t.isolated(ctx)
	t.pack = q.Fetch
	// Thousands of files are removed while git fetches, and not while somebody waits for what
	// was pushed.
	var trash sync.WaitGroup
	trash.Go(t.emptyTrash)
	defer trash.Wait()
	before := t.mainStore(q.URL).size()
	r, err := t.build(ctx, q, published, (*store).fetch)
	if err != nil && t.repair(ctx, err) {
		r, err = t.build(ctx, q, published, (*store).fetch)
	}
	if err != nil {
		// What is published stays, and so does its command.
		if failed := t.runPendingExec(ctx, published); failed != nil {
			t.log().Warn("the command after the release that stays has failed again", "directory", t.Dir, "error", failed)
		}
		err = t.fail(op, err)
		if e, ok := errors.AsType[*Error](err); ok {
			e.First = published == nil
		}
		return nil, err
	}
	if published != nil && published.Commit == r.Commit { // it is made in another way
		r.Held, r.HeldSince = published.Held, published.HeldSince
	}
	if err := t.activate(r, published); err != nil {
		return nil, t.fail(op, err)
	}
	t.log().Info("published", "directory", t.Dir, "commit", r.Commit, "release", r.ID, "previous", r.Previous)
	outcome := &Outcome{Release: r, Changed: true, Fetched: max(0, t.mainStore(q.URL).size()-before)}
	err = t.runExec(ctx, r, r.Previous)
	t.prune(ctx, r, published)
	return outcome, err
}

// activate publishes a release by one rename. Where that fails, a release that has never been
// published is deleted. What goes wrong after the rename is logged, and is no error.
func (t *Target) activate(r, published *Release) error {
	if t.mode() == Directory {
		r.Inode, r.Exchange = inode(t.tree(r.ID)), noRelease
		if published != nil {
			r.Exchange = published.ID
		}
	}
	err := errors.Join(t.save(r), t.saveHold(r))
	if err == nil && t.mode() == Directory {
		err = t.activateDirectory(r, published)
	} else if err == nil {
		err = t.activateLink(r)
	}
	if err != nil {
		if now, looked := t.Published(); looked == nil && r.PublishedAt.IsZero() && (now == nil || now.ID != r.ID) {
			err = errors.Join(err, t.drop(r.ID))
		}
		return err // what is said of an exchange is taken back by the next one
	}
	r.PublishedAt = time.Now().UTC()
	if err = t.finishExchange(r); err == nil {
		r.Exchange = "" // or else the next one does it
	}
	if err = errors.Join(err, flush.Parent(t.Dir), t.save(r)); err != nil {
		t.log().Warn("the release is published, but something after that went wrong", "directory", t.Dir, "error", err)
	}
	return nil
}

// activateLink has Dir lead to the release. A link that lies in the way is replaced in one step.
func (t *Target) activateLink(r *Release) error {
	name := filepath.Join(t.base(), linkPrefix+r.ID)
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

// activateDirectory makes the tree of the release Dir, and gives the one that was there its name.
func (t *Target) activateDirectory(r, published *Release) error {
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
