//go:build unix

package syncer

import (
	"errors"
	"log/slog"
	"time"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/notify"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// notices tell the log, and a receiver, of what is new.
type notices struct {
	*daemon.Notices
	log     *slog.Logger
	failing map[string]bool // by the names of directories
	// execFailed are the commits after whose release a command has failed, and of which the
	// receiver was told that.
	execFailed map[string]string
}

func newNotices(log *slog.Logger, to *daemon.Notices) *notices {
	return &notices{Notices: to, log: log, failing: map[string]bool{}, execFailed: map[string]string{}}
}

// onPass tells of a pass.
func (n *notices) onPass(d *directory, p watch.Pass) {
	log := n.log.With("name", d.entry.Name, "repository", d.currentName().String(), "wanted", d.revision.String())
	was := n.failing[d.entry.Name]
	n.failing[d.entry.Name] = p.Outcome == watch.Failed || p.Outcome == watch.Waiting && was
	if p.Outcome != watch.Failed && p.Outcome != watch.Waiting {
		d.note(nil, time.Time{})
	}
	e := notify.Event{
		Target: d.entry.Name, Repository: d.currentName().String(), Ref: d.revision.String(), Commit: p.Commit,
		Directory: d.entry.To, At: time.Now().UTC().Truncate(time.Second),
	}
	isNew := false
	switch p.Outcome {
	case watch.Failed:
		isNew = n.failed(d, p, &e, log, was)
	case watch.Published:
		log.Info("up to date", "commit", p.Commit, "bytes", p.Bytes, "took", p.Took.Round(time.Millisecond))
		e.What, isNew = notify.Published, true
		if n.Wanted() {
			if r, err := d.deploy.Published(); err == nil && r != nil && r.Commit == p.Commit {
				e.Previous = r.Previous
			}
		}
	default:
		log.Debug("nothing to do", "outcome", string(p.Outcome), "commit", p.Commit, "took", p.Took.Round(time.Millisecond))
		if was && !n.failing[d.entry.Name] {
			delete(n.execFailed, d.entry.Name)
			log.Info("well again", "commit", p.Commit)
			e.What, isNew = notify.Recovered, true
		}
	}
	if isNew {
		n.Send(e, log)
	}
}

// failed tells the log of a pass that failed, and completes the event of it. It reports whether
// that is new to the receiver.
func (n *notices) failed(d *directory, p watch.Pass, e *notify.Event, log *slog.Logger, was bool) bool {
	report := diag.Explain(p.Err)
	d.note(&report, p.Retry)
	e.What, e.Error = notify.Failed, &report
	message := "failed; the directory stays as it was"
	after := errors.Is(p.Err, deploy.ErrExec)
	if after {
		e.What, message = notify.ExecFailed, "published, but the command after it failed"
	}
	log.Error(message, "commit", p.Commit, "error", report.Message, "hint", report.Hint, "kind", report.Kind,
		"again", p.Retry.Format(time.RFC3339), "again_in_seconds", InSeconds(p.Retry))
	if !after {
		return !was
	}
	known := n.execFailed[d.entry.Name] == p.Commit
	n.execFailed[d.entry.Name] = p.Commit
	return !known
}

// InSeconds is how long it is until then, in whole seconds; 0 where it is past.
func InSeconds(until time.Time) int {
	return int(max(time.Until(until), 0).Round(time.Second) / time.Second)
}
