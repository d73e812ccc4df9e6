//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Damaged is what a rollback does with a release whose files something has changed.
type Damaged int

// What a rollback can do.
const (
	// Refuse publishes nothing.
	Refuse Damaged = iota
	// Rebuild builds it again from what was fetched, and runs the check in it.
	Rebuild
	// AsIs publishes it as it is now.
	AsIs
)

// Rollback publishes a release again that was published before: the one named, or the
// one that was before that which is published now. The commit that it rolls back from is
// held, with those that were held already: none of them is published until another one
// has been, or [Target.Resume] is called. The command after a release runs.
//
// It makes nothing beside a directory that was not published by this package.
//
// The error has the Problem [ErrNoRelease] where there is no such release,
// [ErrNothingBefore] where none is named and there is none to go back to, and
// [ErrDamaged] where something has changed its files since it was published, unless
// damaged says what to do then, or that cannot be done; nothing is published then.
func (t *Target) Rollback(ctx context.Context, id string, damaged Damaged) (*Release, error) {
	const op = "roll back"
	if err := t.validate(); err != nil {
		return nil, err
	}
	if there, err := t.Published(); err != nil {
		return nil, err
	} else if there == nil && !exists(t.base()) {
		return nil, t.problem(ErrNothingBefore, op, "nothing has been published yet")
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return nil, t.fail(op, err)
	}
	defer unlock()
	published, err := t.recover()
	if err != nil {
		return nil, t.fail(op, err)
	}
	if published == nil {
		return nil, t.problem(ErrNothingBefore, op, "nothing has been published yet")
	}
	held := published.Held
	if !slices.Contains(held, published.Commit) && published.Commit != "" {
		held = append(slices.Clip(held), published.Commit)
	}
	r, err := t.chooseRelease(id, published, held)
	if err != nil {
		return nil, t.fail(op, err)
	}
	return t.publishAgain(ctx, r, published, held, damaged)
}

// chooseRelease is the release that a rollback goes to: the one of an ID, or the one before the
// published one, which has none of the held commits if that can be. Of an ID its number is enough.
func (t *Target) chooseRelease(id string, published *Release, held []string) (*Release, error) {
	const op = "roll back"
	list, err := t.list()
	if err != nil {
		return nil, err
	}
	if id == "" {
		r := releaseBefore(published, list, held)
		if r == nil {
			// Somebody went forward to this one, and back again.
			r = releaseBefore(published, list, []string{published.Commit})
		}
		if r == nil {
			r = releaseBefore(published, list, nil) // of the same commit, which was built anew
		}
		switch {
		case r != nil:
			return r, nil
		case len(list) == 1:
			return nil, t.problem(ErrNothingBefore, op, "only one release is kept, the one that is published")
		}
		return nil, t.problem(ErrNothingBefore, op, "none of those that are kept was published before it")
	}
	at := slices.IndexFunc(list, func(r *Release) bool { return r.named(id) })
	switch {
	case at < 0:
		return nil, t.problem(ErrNoRelease, op, "none of those that are kept is %q", id)
	case list[at].ID == published.ID:
		return nil, t.problem(ErrNoRelease, op, "%s is the one that is published", published.ID)
	}
	return list[at], nil
}

// publishAgain publishes a release that was published before, with its hold on commits.
func (t *Target) publishAgain(
	ctx context.Context, r, published *Release, held []string, damaged Damaged,
) (*Release, error) {
	const op = "roll back"
	chosen := r
	r, err := t.soundRelease(ctx, chosen, published, damaged)
	if err != nil {
		return nil, err
	}
	r.Held = slices.DeleteFunc(slices.Clone(held), func(commit string) bool { return commit == r.Commit })
	if r.HeldSince = time.Now().UTC(); len(r.Held) == 0 {
		r.HeldSince = time.Time{}
	}
	if t.Exec.Line != "" {
		r.setExecPending()
	}
	if err := t.activate(r, published); err != nil {
		return nil, t.fail(op, err)
	}
	t.log().Info("rolled back", "directory", t.Dir, "commit", r.Commit, "release", r.ID, "from", published.ID)
	if r.ID != chosen.ID {
		if err := t.drop(chosen.ID); err != nil {
			t.log().Warn("a damaged release stays", "directory", t.Dir, "release", chosen.ID, "error", err)
		}
	}
	return r, t.runExec(ctx, r, published.Commit)
}

// soundRelease is a release whose files are as they were; another one in its place where it was
// built again, and the same where it is to be taken as it is.
func (t *Target) soundRelease(ctx context.Context, r, published *Release, damaged Damaged) (*Release, error) {
	damage := t.checkFiles(r)
	switch {
	case damage == nil:
		return r, nil
	case damaged == AsIs && len(r.Parts) > 0 && exists(t.location(r)):
		t.log().Warn("the release is published as it is", "directory", t.Dir, "release", r.ID, "error", damage)
		return r, nil
	case damaged != Rebuild:
		return nil, damage
	}
	t.log().Warn("the release is not as it was, and is built again", "directory", t.Dir, "release", r.ID, "error", damage)
	again, err := t.rebuild(ctx, r, published)
	if err != nil {
		return nil, &Error{Problem: ErrDamaged, Op: "roll back " + t.Dir, Err: errors.Join(damage, err)}
	}
	return again, nil
}

// rebuild builds a release again from what was fetched, with the check that it has
// passed where the target names none.
func (t *Target) rebuild(ctx context.Context, r, published *Release) (*Release, error) {
	switch {
	case len(r.Parts) == 0:
		return nil, errors.New("what it was made of is not known any more")
	case r.BuildOptions != t.buildOptions():
		return nil, fmt.Errorf("it was built with other options (%s; now %s)",
			orNone(r.BuildOptions), orNone(t.buildOptions()))
	}
	with := t.isolated(ctx)
	if with.Check.Line == "" {
		with.Check.Line = r.Check
	}
	q := Request{Repository: r.Repository, URL: r.Parts[0].URL, Ref: r.Ref, Commit: r.Commit}
	again, err := with.build(ctx, q, published, (*store).pin)
	if err != nil {
		return nil, err
	}
	again.Previous = r.Previous
	return again, nil
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// releaseBefore is the release that was published before another, or else the one that was
// built before it, but none of whose commit is held; nil where there is none.
func releaseBefore(published *Release, list []*Release, held []string) *Release {
	var found *Release
	for _, r := range list {
		switch {
		case slices.Contains(held, r.Commit), r.ID == published.ID:
		case r.Commit == published.Previous:
			found = r
		case r.number() < published.number() && (found == nil || found.Commit != published.Previous):
			found = r
		}
	}
	return found
}

// Resume forgets what is held, so that a commit that was rolled back from may be
// published again. It returns the commits that were held, in hexadecimal.
func (t *Target) Resume(ctx context.Context) ([]string, error) {
	const op = "resume"
	if published, err := t.Published(); err != nil || published == nil || len(published.Held) == 0 {
		return nil, err
	}
	unlock, err := t.lock(ctx, busyFor)
	if err != nil {
		return nil, t.fail(op, err)
	}
	defer unlock()
	published, err := t.Published()
	if err != nil || published == nil || len(published.Held) == 0 {
		return nil, err
	}
	held := published.Held
	if len(published.Parts) > 0 { // else its record is lost
		published.Held, published.HeldSince = nil, time.Time{}
		err = t.save(published)
	}
	return held, t.fail(op, errors.Join(err, t.removeHold()))
}

// checkFiles returns an error with the Problem [ErrDamaged] for a release of which a file is
// missing, or is not as it was when it was built and checked.
func (t *Target) checkFiles(r *Release) error {
	files, err := t.contents(r.ID)
	switch {
	case len(r.Parts) == 0, errors.Is(err, fs.ErrNotExist):
		err = errors.New("its record is lost")
	case err == nil:
		err = unchanged(t.location(r), files)
	}
	if err != nil {
		return &Error{Problem: ErrDamaged, Op: "look at release " + r.ID, Err: err}
	}
	return nil
}

// Status is what is known of a target.
type Status struct {
	Published *Release   // nil: nothing
	Releases  []*Release // all that are kept, the oldest first
	Held      []string   // the commits that are not to be published
	HeldSince time.Time
	// Damage is why the published release is not as it was published; nil where it is.
	Damage error
	// Failure is how the last pass has failed; nil where it has not.
	Failure *Failure
}

// Kept are the releases that are kept, the oldest first, with the published one among them (nil:
// nothing is published). None of their files is looked at, and no lock is taken.
func (t *Target) Kept(published *Release) ([]*Release, error) {
	list, err := t.list()
	if err != nil {
		return nil, t.fail("look at", err)
	}
	return slices.DeleteFunc(list, func(r *Release) bool {
		return r.PublishedAt.IsZero() && (published == nil || r.ID != published.ID) // being made
	}), nil
}

// Status looks at the directory, and at every file of the published release. It takes no
// lock, so that it can be asked at any time.
func (t *Target) Status() (*Status, error) {
	published, err := t.Published()
	if err != nil {
		return nil, err
	}
	s := &Status{Published: published}
	if s.Releases, err = t.Kept(published); err != nil {
		return nil, err
	}
	if published != nil {
		s.Held, s.HeldSince = published.Held, published.HeldSince
		s.Damage = t.checkFiles(published)
	}
	if s.Failure, err = t.failure(); err != nil {
		return nil, t.fail("look at", err)
	}
	return s, nil
}
