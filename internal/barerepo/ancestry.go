package barerepo

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// row is a commit with its parents.
type row []string

const (
	// maxRows bounds how many commits are held in memory.
	maxRows = 50_000
	// maxUnclear is how many moved refs git is asked about, should what came not tell of them;
	// the others are kept as though they had not been moved forward.
	maxUnclear = 256
	// batch is how many refs are painted at once.
	batch = 64
)

// connected proves that all that the objects need is there, in the quarantine or in the repository
// (connected.c of git has the same question), and returns the commits that came, children before
// their parents.
func (u *update) connected(q *inQuarantine, wants []string) ([]row, error) {
	var rows []row
	lines := &lineWriter{take: func(line []byte) error {
		// All but commits, and those without a parent, are alone on their lines.
		if len(rows) < maxRows && bytes.IndexByte(line, ' ') > 0 {
			rows = append(rows, strings.Fields(string(line)))
		}
		return nil
	}}
	git := u.git(u.Dir, q.Objects)
	git.Stdin = strings.NewReader(strings.Join(wants, "\n") + "\n")
	git.Stdout = lines
	err := u.call(u.ctx, git, "rev-list", "--objects", "--no-object-names", "--parents", "--topo-order",
		"--stdin", "--not", "--all")
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.ExitCode > 0 && u.ctx.Err() == nil {
		return nil, &Error{Problem: ErrMissing, Op: "check what came", Err: err}
	}
	return rows, err
}

// lineWriter takes lines.
type lineWriter struct {
	take func(line []byte) error
	rest []byte
}

// Write implements [io.Writer]. Lines have an end: what comes after the last is no line.
func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			w.rest = append(w.rest, b...)
			return n, nil
		}
		line := b[:end]
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
		}
		if err := w.take(line); err != nil {
			return 0, err
		}
		w.rest, b = w.rest[:0], b[end+1:]
	}
}

// moved is a ref that has another object now.
type moved struct {
	name, old, new string
}

// painter finds out which of at most [batch] old commits can be reached from the new one of the
// same ref, where commits come before their parents.
type painter struct {
	moves   []moved
	reached map[string]uint64 // commit -> of which new ones it is an ancestor
	of      map[string]uint64 // old commit -> of which refs it is the old one
	forward uint64            // the refs that were moved forward
	met     uint64            // those whose old commit came by without that
}

func newPainter(moves []moved) *painter {
	p := &painter{moves: moves, reached: map[string]uint64{}, of: map[string]uint64{}}
	for i, m := range moves {
		p.reached[m.new] |= 1 << i
		p.of[m.old] |= 1 << i
	}
	return p
}

// take looks at a commit.
func (p *painter) take(r row) {
	colours := p.reached[r[0]]
	delete(p.reached, r[0])
	for _, parent := range r[1:] {
		p.reached[parent] |= colours
		p.forward |= colours & p.of[parent]
	}
	p.met |= p.of[r[0]]
}

// done reports whether there is nothing more to find out.
func (p *painter) done() bool {
	return (p.forward|p.met)&(1<<len(p.moves)-1) == 1<<len(p.moves)-1
}

// forward returns which refs were moved to a descendant of what they were. rows are the commits
// that came. Most are told by those alone: a new commit's ancestors reach the old one. Git is
// asked about the others, by one process for [batch] of them, which ends when the youngest
// commits have told.
func (u *update) forward(moves []moved, rows []row) (map[string]bool, error) {
	forward := map[string]bool{}
	var unclear []moved
	for part := range slices.Chunk(moves, batch) {
		p := newPainter(part)
		for _, r := range rows {
			p.take(r)
		}
		for i, m := range part {
			if p.forward>>i&1 == 1 {
				forward[m.name] = true
			} else {
				unclear = append(unclear, m)
			}
		}
	}
	for part := range slices.Chunk(unclear[:min(len(unclear), maxUnclear)], batch) {
		p, err := u.ask(part)
		if err != nil {
			return nil, err
		}
		for i, m := range part {
			if p.forward>>i&1 == 1 {
				forward[m.name] = true
			}
		}
	}
	return forward, nil
}

var errDone = errors.New("done")

// ask has git list the commits from the old and the new ones back, the youngest first. Where
// clocks were wrong, an old one may come too early: then its ref counts as not moved forward, and
// what it was is kept for nothing.
func (u *update) ask(moves []moved) (*painter, error) {
	p := newPainter(moves)
	var names strings.Builder
	for _, m := range moves {
		names.WriteString(m.old + "\n" + m.new + "\n")
	}
	git := u.git(u.Dir, "")
	git.Stdin = strings.NewReader(names.String())
	git.Stdout = &lineWriter{take: func(line []byte) error {
		if r := strings.Fields(string(line)); len(r) > 0 {
			p.take(r)
		}
		if p.done() {
			return errDone
		}
		return nil
	}}
	err := u.call(u.ctx, git, "rev-list", "--parents", "--stdin")
	if p.done() && u.ctx.Err() == nil {
		err = nil // it was stopped, or did not hear of it in time
	}
	return p, err
}
