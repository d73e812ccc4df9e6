package mirror

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// onlyCopy has what is wrong with a mirror say how to bring it back where GitHub cannot give it again.
func onlyCopy(err error) error {
	return &fault.ExitError{Code: fault.Failed, Err: err,
		Hint: "GitHub does not give this repository any more: bring the mirror back from a copy, or from bundles with " +
			"`ghapp mirror restore --mirror`; where there are none, take away what is left of it, and " +
			"`ghapp mirror --full` goes on without it"}
}

// errNotThere is what is wrong with a mirror of which nothing is left.
func errNotThere() error { return errors.New("the mirror is not there any more") }

// lose remembers what is wrong with the mirror of a repository that GitHub does not give any more.
func (p *pass) lose(r *Record, err error) {
	r.Lost = p.failure(r.Lost, onlyCopy(err))
	r.Lost.Again = time.Time{} // nothing can be tried
}

// examine looks after the mirrors whose repositories GitHub does not give any more. One that is damaged or not
// there is a failure of each pass, until it is back, or a full one goes on without it.
func (p *pass) examine(ctx context.Context) {
	marked, _ := damaged(p.dir)
	for _, r := range p.state.Repositories {
		switch {
		case p.seen[r.ID] || ctx.Err() != nil:
			continue
		case r.Path == "" && r.Lost != nil && p.Full:
			p.Log.Warn("a mirror is lost; the rest goes on without it", "repository", r.Name)
			p.forget(r)
			continue
		case r.Path != "" && r.Gone != nil:
			p.examineOne(ctx, r, marked.git[r.ID])
		}
		if r.Lost != nil {
			p.fail(Failed{Repository: r.Name, Err: &fault.ExitError{
				Code: r.Lost.Exit, Err: errors.New(r.Lost.Message), Hint: r.Lost.Hint}})
		}
	}
}

// examineOne reads a mirror that was found damaged, or that somebody else has changed.
func (p *pass) examineOne(ctx context.Context, r *Record, marked bool) {
	here := &barerepo.Repository{Dir: filepath.Join(p.dir, r.Path), Git: p.transfers().git, Log: p.Log}
	now := here.Stat()
	untouched := r.Code.Stat.Equal(now)
	switch {
	case r.Lost != nil && r.Code.Stat != nil && untouched && !p.Full: // it is as it was found
		return
	case r.Lost == nil && !marked && (r.Code.Stat == nil || untouched):
		return
	}
	seen := seenMark(p.dir, identity(r.ID), "")
	err := here.Fsck(ctx)
	if ctx.Err() != nil {
		return
	}
	r.Code.Stat = now
	if err != nil {
		p.lose(r, err)
	} else {
		r.Lost = nil
		if err := endMark(p.dir, identity(r.ID), "", seen); err != nil {
			p.Log.Warn("that a mirror is whole again cannot be written down", "mirror", here.Dir, "error", err)
		}
	}
	p.dirty(r)
}
