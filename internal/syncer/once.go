//go:build unix

package syncer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// Result is what became of a directory in one pass.
type Result struct {
	Entry      config.Sync
	Repository ghapp.RepositoryName // its name as the host last had it
	Revision   refs.Revision        // that is wanted
	Outcome    watch.Outcome
	Commit     string // that is wanted; "" where it was not found out
	Release    string // the ID of the one that is published; "" is none
	Bytes      int64  // that were fetched
	Took       time.Duration
	// Unapplied are the commands that have not run for what is published: check, exec.
	Unapplied []string
	// Err is why it failed. What the command after the release has printed, and a person has
	// seen, is not in it.
	Err error
}

// Once makes one pass of every directory, and returns what became of each, in their order. The
// error is that git could not be answered.
func (s *Syncer) Once(ctx context.Context) (list []Result, err error) {
	err = s.answering(ctx, func() error {
		for _, p := range s.watcher.Once(ctx) {
			list = append(list, s.of[p.Target].result(ctx, p))
		}
		return nil
	})
	return list, err
}

// result is what became of a directory, which is noted for ghapp sync status.
func (d *directory) result(ctx context.Context, p watch.Pass) Result {
	r := Result{
		Entry: d.entry, Repository: d.currentName(), Revision: d.revision, Outcome: p.Outcome, Commit: p.Commit,
		Bytes: p.Bytes, Took: p.Took, Unapplied: d.unapplied, Err: d.shown.Once(p.Err),
	}
	if r.Repository.Wiki && saysNotFound(p.Err) {
		r.Err = &fault.ExitError{Code: fault.Refused, Err: p.Err, Hint: diag.NoWiki}
	}
	if published, err := d.deploy.Published(); err == nil && published != nil {
		r.Release = published.ID
	}
	_, held := errors.AsType[*deploy.HeldError](p.Err)
	if held {
		r.Outcome = watch.Held
	}
	switch {
	case p.Err == nil || held && ctx.Err() == nil: // as somebody wants it; the status shows what is held
		d.note(nil, time.Time{})
	case ctx.Err() != nil: // it was stopped, which is no failure
	default:
		report := diag.Explain(r.Err)
		d.note(&report, p.Retry)
	}
	return r
}

// saysNotFound reports whether the git service says that a repository is not there. Of a new
// token it says no more.
func saysNotFound(err error) bool {
	if e, ok := errors.AsType[*gitcmd.Error](err); ok {
		return e.Reason == gitcmd.RepositoryNotFound
	}
	e, ok := errors.AsType[*ghapp.Error](err)
	return ok && e.Kind == ghapp.ErrTokenUnknown && e.Status == http.StatusNotFound
}
