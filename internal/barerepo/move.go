package barerepo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// change is what becomes of a ref. No ID is the empty one.
type change struct {
	name, old, new string
	symbolic       bool // it stood for another
}

// changes are those that make the repository equal to the remote, sorted by name.
func (u *update) changes() []change {
	var list []change
	for name, id := range u.there.refs {
		if old, there := u.here.refs[name]; old != id || !there {
			list = append(list, change{name, old, id, there && old == ""})
		}
	}
	for name, old := range u.here.refs {
		if _, stays := u.there.refs[name]; !stays && u.follows(name) && !strings.HasPrefix(name, ours) {
			list = append(list, change{name, old, "", old == ""})
		}
	}
	slices.SortFunc(list, func(a, b change) int { return cmp.Compare(a.name, b.name) })
	return list
}

// move moves the refs, and HEAD, in that order. rows are commits that came.
func (u *update) move(rows []row) error {
	list := u.changes()
	head := u.here.head
	if u.there.head != "" {
		head = u.there.head
	}
	u.result.Head = strings.TrimPrefix(head, heads)
	if len(list) == 0 && head == u.here.head {
		return nil
	}
	kept, err := u.toKeep(list, rows)
	if err != nil {
		return err
	}
	at := u.here.unusedTime(u.Now)
	entries := make([]Entry, 0, len(list)+1)
	for _, c := range list {
		if !u.fleeting(c.name) {
			entries = append(entries, Entry{at, c.name, c.old, c.new})
		}
	}
	if head != u.here.head {
		entries = append(entries, Entry{at, "HEAD", u.here.head, head})
	}
	if err := beginBatch(u.Dir, entries); err != nil {
		return err
	}
	u.step("noted")
	if len(list) > 0 {
		if err := u.transact(list, kept, at); err != nil {
			if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.ExitCode > 0 {
				// Git has ended by itself, and has left no lock: one that is there is another's.
				err = errors.Join(err, endBatch(u.Dir))
			}
			return err
		}
	}
	u.step("moved refs")
	if head != u.here.head {
		if err := u.setHead(head); err != nil {
			return err
		}
	}
	u.step("moved HEAD")
	u.result.Changed = true
	if len(entries) > 0 {
		u.result.Last = &entries[len(entries)-1]
	}
	return endBatch(u.Dir)
}

// setHead has HEAD stand for a branch.
func (u *update) setHead(target string) error {
	if u.here.reftable {
		return u.call(u.ctx, u.git(u.Dir, ""), "symbolic-ref", "HEAD", target)
	}
	return u.writeHead(u.Dir, target)
}

// fleeting reports whether nothing is kept of what a ref leaves behind.
func (o *Options) fleeting(ref string) bool { return o.Fleeting != nil && o.Fleeting(ref) }

// transact moves the refs by one transaction of git-update-ref(1). Where the name of a deleted ref is
// in the way of a new ref (see collide), all deletions are a transaction of their own before the other
// changes. A former ID is kept by the same transaction that takes it from its ref.
func (u *update) transact(list []change, kept map[string]bool, at time.Time) error {
	var gone, rest []change
	if collide(list) {
		for _, c := range list {
			if c.new == "" {
				gone = append(gone, c)
			} else {
				rest = append(rest, c)
			}
		}
	} else {
		rest = list
	}
	var b bytes.Buffer
	for _, part := range [][]change{gone, rest} {
		if len(part) == 0 {
			continue
		}
		b.WriteString("start\x00")
		for _, c := range part {
			u.write(&b, c)
			if kept[c.name] {
				fmt.Fprintf(&b, "create %s\x00%s\x00", keptName(at, c.name), c.old)
			}
		}
		b.WriteString("commit\x00")
	}
	git := u.git(u.Dir, "", "core.fsync=committed")
	git.Stdin = &b
	return u.call(u.ctx, git, "update-ref", "--no-deref", "--stdin", "-z")
}

// write writes a change. Where somebody has moved the ref meanwhile, git refuses all.
func (u *update) write(b *bytes.Buffer, c change) {
	old := c.old
	switch {
	case c.new == "":
		fmt.Fprintf(b, "delete %s\x00%s\x00", c.name, old)
	case c.symbolic:
		fmt.Fprintf(b, "update %s\x00%s\x00\x00", c.name, c.new)
	default:
		fmt.Fprintf(b, "update %s\x00%s\x00%s\x00", c.name, c.new, cmp.Or(old, noID(u.here.format)))
	}
}

// collide reports whether git may refuse to delete and to write these refs in one transaction because
// of their names: refs/heads/a cannot be deleted while refs/heads/a/b is written, nor the other way
// round. It is also true where nothing but a directory is shared, as by refs/heads/a/b and a/c.
func collide(list []change) bool {
	gone := map[string]bool{}
	for _, c := range list {
		if c.new == "" {
			gone[c.name] = true
			for above := parentName(c.name); above != ""; above = parentName(above) {
				gone[above] = true
			}
		}
	}
	if len(gone) == 0 {
		return false
	}
	for _, c := range list {
		if c.new == "" {
			continue
		}
		for name := c.name; name != ""; name = parentName(name) {
			if gone[name] {
				return true
			}
		}
	}
	return false
}
