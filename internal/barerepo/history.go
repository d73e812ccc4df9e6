package barerepo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

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
	return s.snapshot(), nil
}

func (s *state) snapshot() *Snapshot {
	shot := &Snapshot{s.format, map[string]string{}, s.head}
	for name, id := range s.refs {
		if id != "" && !strings.HasPrefix(name, ours) {
			shot.Refs[name] = id
		}
	}
	return shot
}

// At is what the repository had at a time: what it has now, with all taken back that the journal has
// since. The commits are there as long as what is kept is. The error is an [*Error] with
// [ErrNoHistory] where the journal does not tell of that time, or is known to have told more than it does,
// and with [ErrHistoryLost] where something that stood there then is not in the repository any more.
func (r *Repository) At(ctx context.Context, t time.Time, was Remembered) (*Snapshot, error) {
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil {
		return nil, err
	}
	since, entries, err := readJournal(r.Dir)
	if err != nil {
		return nil, err
	}
	for _, lacks := range []time.Time{s.unnoted(entries), was.lostUntil(since, entries)} {
		if lacks.After(since) {
			since = lacks
		}
	}
	if t.Before(since) || since.IsZero() {
		e := &Error{Problem: ErrNoHistory, Op: r.lookingUp(t)}
		if !since.IsZero() {
			e.Detail = "it is known since " + since.Format(time.RFC3339)
		}
		return nil, e
	}
	shot := s.snapshot()
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
	return shot, r.checkPast(ctx, t, shot, s.refs)
}

func (r *Repository) lookingUp(t time.Time) string {
	return fmt.Sprintf("look up %s as it was at %s", r.Dir, t.UTC().Format(time.RFC3339))
}

// checkPast looks whether what refs stood for at a time is there, of those that stand for something else now.
func (r *Repository) checkPast(ctx context.Context, t time.Time, shot *Snapshot, now map[string]string) error {
	past := maps.Clone(shot.Refs)
	maps.DeleteFunc(past, func(name, id string) bool { return now[name] == id })
	missing, err := (&update{run: &run{Repository: r}, ctx: ctx}).missing(wantsOf(past, nil))
	if err != nil || len(missing) == 0 {
		return err
	}
	lost := &Error{Problem: ErrHistoryLost, Op: r.lookingUp(t)}
	for _, name := range slices.Sorted(maps.Keys(past)) {
		if slices.Contains(missing, past[name]) {
			lost.Detail = fmt.Sprintf("%s was at %s then, which is not there any more", name, past[name])
			break
		}
	}
	return lost
}

// unnoted is the last time at which something was kept of which the journal does not tell: some of it
// is lost, and what it says of the time before is not to be believed. It is zero where all is told.
func (s *state) unnoted(entries []Entry) (last time.Time) {
	noted := map[string]bool{}
	for _, e := range entries {
		noted[keptName(e.Time, e.Ref)] = true
	}
	for _, k := range s.kept() {
		if !noted[k.Name] {
			last = k.Time
		}
	}
	return last
}
