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
		if at, ok := keptAt(name); ok && id != "" {
			list = append(list, Kept{at, "refs/" + name[len(keptRefs)+len(stampLayout)+1:], name, id})
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
	return ended, forget(r.Dir, before, false)
}

// toKeep returns the names of the refs whose former ID is to be kept: of those that are deleted, of tags
// that move, and of others that are not moved forward. It also counts all changes in the result.
func (u *update) toKeep(list []change, rows []row) (map[string]bool, error) {
	kept := map[string]bool{}
	var moves []moved
	for _, c := range list {
		switch {
		case c.new == "" && u.fleeting(c.name):
		case c.new == "":
			u.result.Deleted++
			kept[c.name] = c.old != ""
		case c.old == "":
			u.result.Created++
		case u.fleeting(c.name):
			u.result.Moved++
		case strings.HasPrefix(c.name, "refs/tags/"):
			u.result.Moved++
			kept[c.name] = true // a tag is not to move at all
		default:
			u.result.Moved++
			moves = append(moves, moved{c.name, c.old, c.new})
		}
	}
	forward, err := u.forward(moves, rows)
	if err != nil {
		return nil, err
	}
	for _, m := range moves {
		kept[m.name] = !forward[m.name]
	}
	for _, c := range list {
		if !kept[c.name] {
			continue
		}
		u.result.Kept++
		if c.new != "" {
			u.result.Forced++
		}
	}
	return kept, nil
}

const stampLayout = "20060102T150405Z"

// stamp is a time as part of the name of a ref.
func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// keptName is the name under which the former ID of a ref is kept.
func keptName(t time.Time, ref string) string {
	return keptRefs + stamp(t) + "/" + strings.TrimPrefix(ref, "refs/")
}

// keptAt is when something was kept under a name, and whether it is such a name.
func keptAt(name string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(name, keptRefs)
	at, _, below := strings.Cut(rest, "/")
	made, err := time.Parse(stampLayout, at)
	return made.UTC(), ok && below && err == nil
}

// unusedTime is a time, or the first second after it under which nothing is kept yet. Two updates in
// one second may each keep a former commit of the same branch, and need two names.
func (s *state) unusedTime(at time.Time) time.Time {
	used := map[string]bool{}
	for name := range s.refs {
		if rest, ok := strings.CutPrefix(name, keptRefs); ok {
			stamp, _, _ := strings.Cut(rest, "/")
			used[stamp] = true
		}
	}
	for used[stamp(at)] {
		at = at.Add(time.Second)
	}
	return at
}
