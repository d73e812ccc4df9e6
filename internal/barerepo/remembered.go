package barerepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Remembered is what is known elsewhere of a repository's history, so that it shows when some of it is
// lost. The zero value knows nothing.
type Remembered struct {
	Kept      int       // how many refs were kept
	KeptSince time.Time // the time of the first of them
	// Last is the last entry that the journal had; nil: it had none.
	Last *Entry
	// Lost is what was lost of it when the repository was made anew, in words; empty: nothing was.
	Lost string
}

// Remember is what can be remembered of the history as it is now.
func (r *Repository) Remember(ctx context.Context) (now Remembered, err error) {
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil {
		return now, err
	}
	_, entries, err := readJournal(r.Dir)
	if err != nil {
		return now, err
	}
	if kept := s.kept(); len(kept) > 0 {
		now.Kept, now.KeptSince = len(kept), kept[0].Time
	}
	if len(entries) > 0 {
		now.Last = &entries[len(entries)-1]
	}
	return now, nil
}

// CheckHistory returns an [*Error] with [ErrHistoryLost] where something is missing of what is kept, or of
// what the journal told. What has ended with [Repository.Expire] is not missing.
func (r *Repository) CheckHistory(ctx context.Context, was Remembered) error {
	_, lost, err := r.lostHistory(ctx, was)
	return errors.Join(lost, err)
}

// Forgo has the history go on with what is there: where some of the journal is lost, it tells of the time
// from now on alone. lost is what [Repository.CheckHistory] would have returned.
func (r *Repository) Forgo(ctx context.Context, was Remembered, now time.Time) (lost, err error) {
	until, lost, err := r.lostHistory(ctx, was)
	if err == nil && !until.IsZero() {
		err = forget(r.Dir, now, true)
	}
	return lost, err
}

// lostHistory is what is missing, and until when the journal lacks some; zero: it lacks nothing.
func (r *Repository) lostHistory(ctx context.Context, was Remembered) (until time.Time, lost, err error) {
	s, err := (&run{Repository: r}).read(ctx) // first: the journal is written before the refs are
	if err != nil {
		return until, nil, err
	}
	since, entries, err := readJournal(r.Dir)
	if err != nil {
		return until, nil, err
	}
	var list []string
	if was.Lost != "" {
		list = append(list, was.Lost)
	}
	// What has ended since it was remembered is not counted there.
	if n := len(s.kept()); n < was.Kept && !was.KeptSince.Before(since) {
		list = append(list, fmt.Sprintf("%d of %d refs below %s are not there any more", was.Kept-n, was.Kept, keptRefs))
	}
	for _, at := range []time.Time{s.unnoted(entries), was.lostUntil(since, entries)} {
		if at.After(until) && !at.Before(since) {
			until = at
		}
	}
	if !until.IsZero() {
		list = append(list, "the journal lacks what it told of the time until "+until.Format(time.RFC3339))
	}
	if len(list) == 0 {
		return until, nil, nil
	}
	lost = &Error{Problem: ErrHistoryLost, Op: "check the history of " + r.Dir, Detail: strings.Join(list, "; ")}
	return until, lost, nil
}

// lostUntil is the time of the last entry that is known to have been in a journal that does not have it any
// more, and is of a time of which it is to tell; zero: there is none.
func (was *Remembered) lostUntil(since time.Time, entries []Entry) time.Time {
	if was.Last == nil || was.Last.Time.Before(since) {
		return time.Time{}
	}
	line := was.Last.line()
	if slices.ContainsFunc(entries, func(e Entry) bool { return e.line() == line }) {
		return time.Time{}
	}
	return was.Last.Time
}

// CheckRefs looks for refs that are lost where nothing else is known of the repository than what is in it: those
// that its journal says were set last. The error is an [*Error] with [ErrDamaged], or the system's.
func (r *Repository) CheckRefs(ctx context.Context) error {
	_, entries, err := readEntries(r.Dir)
	if err != nil {
		return err
	}
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil || s.reftable {
		return err
	}
	damaged := &Error{Problem: ErrDamaged, Op: "look at " + r.Dir}
	if len(entries) == 0 {
		// It is as it was made, or has forgotten what it was: with a file of all refs, if it had any.
		packs, err := filepath.Glob(globQuoted(r.path("objects", "pack")) + "/*.pack")
		if err == nil && len(packs) > 0 && len(s.refs) == 0 {
			damaged.Detail = "it has objects, and no ref"
			return damaged
		}
		return err
	}
	last := map[string]string{}
	for _, e := range entries {
		last[e.Ref] = e.New
	}
	delete(last, "HEAD")
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if _, there := s.refs[name]; !there && last[name] != "" {
			damaged.Detail = fmt.Sprintf("it has no ref %q any more, which its journal says was set last", name)
		}
	}
	if damaged.Detail == "" {
		return nil
	}
	open, err := isOpen(r.Dir)
	_, now, failed := readEntries(r.Dir)
	if err := errors.Join(err, failed); err != nil || open || len(now) != len(entries) {
		return err // somebody is at it, or was stopped: the next update goes on with it
	}
	return damaged
}
