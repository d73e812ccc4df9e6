//go:build unix

package syncer

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/notify"
	"github.com/ghapp-dev/ghapp/internal/watch"
	"github.com/ghapp-dev/ghapp/secret"
)

// notices tell the log, and a receiver, of what is new.
type notices struct {
	log      *slog.Logger
	receiver atomic.Pointer[notify.Notifier] // nil: nobody
	events   chan notify.Event
	failing  map[string]bool // by the names of directories
	// execFailed are the commits after whose release a command has failed, and of which the
	// receiver was told that.
	execFailed map[string]string
}

func newNotices(log *slog.Logger, receiver *notify.Notifier) *notices {
	n := &notices{
		log: log, events: make(chan notify.Event, 100), failing: map[string]bool{}, execFailed: map[string]string{},
	}
	n.receiver.Store(receiver)
	return n
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
		if n.receiver.Load() != nil {
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
		n.send(e, log)
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

// send has an event sent, where somebody wants it.
func (n *notices) send(e notify.Event, log *slog.Logger) {
	if n.receiver.Load() == nil {
		return
	}
	select {
	case n.events <- e:
	default:
		log.Warn("the receiver of notices does not keep up; one is left out", "event", string(e.What))
	}
}

// InSeconds is how long it is until then, in whole seconds; 0 where it is past.
func InSeconds(until time.Time) int {
	return int(max(time.Until(until), 0).Round(time.Second) / time.Second)
}

// lastNotices is how long what was told before the end may still take to be sent.
const lastNotices = 5 * time.Second

// sendAll sends events, one after the other, until there are no more.
func (n *notices) sendAll(ctx context.Context) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// The bound is for all of them: the end of the process waits for it.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastNotices, cancel) })()
	for e := range n.events {
		receiver := n.receiver.Load()
		if receiver == nil {
			continue // there is none any more
		}
		if err := receiver.Send(sending, e); err != nil {
			n.log.Warn("the notice was not delivered", "event", string(e.What), "name", e.Target, "error", err)
		}
	}
}

// notifier is who is told, or nil.
func (o Options) notifier() (*notify.Notifier, error) {
	address := o.Process.Notify
	if address == "" {
		address, _ = o.Opener.LookupEnv("GHAPP_SYNC_NOTIFY_URL")
	}
	if address == "" {
		return nil, nil
	}
	n := &notify.Notifier{
		URL: secret.New(address), Transport: api.NewTransport(nil), Version: o.Version, Log: o.Log,
	}
	if err := n.Check(); err != nil {
		return nil, &fault.SettingError{Err: err, Hint: "give an https URL with --notify or GHAPP_SYNC_NOTIFY_URL"}
	}
	if file := o.Process.NotifySecretFile; file != "" {
		secret, err := readSecret(file)
		if err != nil {
			return nil, err
		}
		n.Secret = secret
	}
	return n, nil
}
