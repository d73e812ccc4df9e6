package barerepo

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kept is what a ref has left behind.
type Kept struct {
	Time time.Time // when, in UTC
	Ref  string    // the full name of the ref that was there
	Name string    // the full name under which it is kept
	ID   string    // what it stood for
}

// Kept lists what is kept, the oldest first. The error is the system's, or git's.
func (r *Repository) Kept(ctx context.Context) ([]Kept, error) {
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil {
		return nil, err
	}
	return s.kept(), nil
}

func (s *state) kept() []Kept {
	var list []Kept
	for name, id := range s.refs {
		rest, ok := strings.CutPrefix(name, keptRefs)
		at, ref, below := strings.Cut(rest, "/")
		made, err := time.Parse(stampLayout, at)
		if ok && below && err == nil && id != "" {
			list = append(list, Kept{made.UTC(), "refs/" + ref, name, id})
		}
	}
	slices.SortFunc(list, func(a, b Kept) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Ref, b.Ref))
	})
	return list
}

// Expire ends what was left behind before a time, and what the journal knows of the time before
// it. It returns how much it was. The commits go with a later [Maintenance.Prune].
func (r *Repository) Expire(ctx context.Context, before time.Time) (int, error) {
	u := &update{run: &run{Repository: r}, ctx: ctx}
	if err := u.clean(true); err != nil {
		return 0, err
	}
	s, err := u.read(ctx)
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	ended := 0
	for _, k := range s.kept() {
		if k.Time.Before(before) {
			fmt.Fprintf(&b, "delete %s\x00%s\x00", k.Name, k.ID)
			ended++
		}
	}
	if ended > 0 {
		git := u.git(r.Dir, "", "core.fsync=committed")
		git.Stdin = &b
		err := u.locking(func() error { return u.call(ctx, git, "update-ref", "--no-deref", "--stdin", "-z") })
		if err != nil {
			return 0, err
		}
	}
	return ended, forget(r.Dir, before)
}

// Snapshot is what a repository has, or had, but for what is kept.
type Snapshot struct {
	Format string            // of the objects: sha1 or sha256
	Refs   map[string]string // full name -> ID
	Head   string            // the full name of what HEAD stands for; empty: it is a commit
}

// Snapshot reads what the repository has now. The error is the system's, or git's.
func (r *Repository) Snapshot(ctx context.Context) (*Snapshot, error) {
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil {
		return nil, err
	}
	shot := &Snapshot{s.format, map[string]string{}, s.head}
	for name, id := range s.refs {
		if id != "" && !strings.HasPrefix(name, ours) {
			shot.Refs[name] = id
		}
	}
	return shot, nil
}

// At is what the repository had at a time: what it has now, with all taken back that the journal has
// since. The commits are there as long as what is kept is. The error is an [*Error] with
// [ErrNoHistory] where the journal does not tell of that time.
func (r *Repository) At(ctx context.Context, t time.Time) (*Snapshot, error) {
	shot, err := r.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	since, entries, err := readJournal(r.Dir)
	if err != nil {
		return nil, err
	}
	if t.Before(since) || since.IsZero() {
		e := &Error{Problem: ErrNoHistory, Op: fmt.Sprintf("look up %s as it was at %s", r.Dir, t.UTC().Format(time.RFC3339))}
		if !since.IsZero() {
			e.Detail = "it is known since " + since.Format(time.RFC3339)
		}
		return nil, e
	}
	for _, e := range slices.Backward(entries) {
		switch {
		case !e.Time.After(t):
		case e.Ref == "HEAD":
			shot.Head = e.Old
		case e.Old == "":
			delete(shot.Refs, e.Ref)
		default:
			shot.Refs[e.Ref] = e.Old
		}
	}
	return shot, nil
}
