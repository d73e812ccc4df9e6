//go:build unix

package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/notify"
	"github.com/ghapp-dev/ghapp/internal/watch"
	"github.com/ghapp-dev/ghapp/secret"
)

// teller tells the log, and a receiver, of what is new.
type teller struct {
	watching *watching
	told     chan<- notify.Event
	failing  map[string]bool // by the names of directories
	// execTold are the commits after whose release a command has failed, and of which the
	// receiver knows that.
	execTold map[string]string
}

func (l *teller) passed(t *kept, p watch.Pass) {
	name, send := t.entry.Name, l.watching.receiver.Load() != nil
	log := l.watching.log.With("name", name, "repository", t.presently().String(), "wanted", t.want.String())
	e := notify.Event{
		Target: name, Repository: t.presently().String(), Ref: t.want.String(), Commit: p.Commit, Directory: t.entry.To, At: time.Now().UTC().Truncate(time.Second),
	}
	was := l.failing[name]
	l.failing[name] = p.Outcome == watch.Failed || p.Outcome == watch.Waiting && was
	if p.Outcome != watch.Failed && p.Outcome != watch.Waiting {
		l.watching.command.noted(t.deploy, log, nil, time.Time{})
	}
	switch p.Outcome {
	case watch.Failed:
		report := diag.Explain(p.Err)
		l.watching.command.noted(t.deploy, log, &report, p.Retry)
		e.What, e.Error = notify.Failed, &report
		message := "failed; the directory stays as it was"
		after := errors.Is(p.Err, deploy.ErrExec)
		if after {
			e.What, message = notify.ExecFailed, "published, but the command after it failed"
		}
		log.Error(message, "commit", p.Commit, "error", report.Message, "hint", report.Hint, "kind", report.Kind,
			"again", p.Retry.Format(time.RFC3339), "again_in_seconds", inSeconds(p.Retry))
		if was && !after || after && l.execTold[name] == p.Commit { // it was told
			return
		}
		if after {
			l.execTold[name] = p.Commit
		}
	case watch.Published:
		if r, err := t.deploy.Published(); send && err == nil && r != nil && r.Commit == p.Commit {
			e.Previous = r.Previous
		}
		log.Info("up to date", "commit", p.Commit, "bytes", p.Bytes, "took", p.Took.Round(time.Millisecond))
		e.What = notify.Published
	default:
		log.Debug("nothing to do", "outcome", string(p.Outcome), "commit", p.Commit, "took", p.Took.Round(time.Millisecond))
		if !was || l.failing[name] {
			return
		}
		delete(l.execTold, name)
		log.Info("well again", "commit", p.Commit)
		e.What = notify.Recovered
	}
	if !send {
		return
	}
	select {
	case l.told <- e:
	default:
		log.Warn("the receiver of notices does not keep up; one is left out", "event", string(e.What))
	}
}

// inSeconds is how long it is until then, for logs.
func inSeconds(until time.Time) int {
	return int(max(time.Until(until), 0).Round(time.Second) / time.Second)
}

// lastNotices is how long what was told before the end may still take to be sent.
const lastNotices = 5 * time.Second

// sendEvents sends what is told, one after the other, until there is no more.
func (w *watching) sendEvents(ctx context.Context, told <-chan notify.Event) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// The bound is for all of them: whoever ends this waits for it.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastNotices, cancel) })()
	for e := range told {
		n := w.receiver.Load()
		if n == nil {
			continue // there is none any more
		}
		if err := n.Send(sending, e); err != nil {
			w.log.Warn("the notice was not delivered", "event", string(e.What), "name", e.Target, "error", err)
		}
	}
}

// notifier is who is told, or nil.
func (c *command) notifier(o config.SyncProcess, log *slog.Logger) (*notify.Notifier, error) {
	address := o.Notify
	if address == "" {
		address, _ = c.lookup("GHAPP_SYNC_NOTIFY_URL")
	}
	if address == "" {
		return nil, nil
	}
	n := &notify.Notifier{URL: secret.New(address), Transport: api.NewTransport(nil), Version: c.release(), Log: log}
	if err := n.Check(); err != nil {
		return nil, &diag.SettingError{Err: err, Hint: "give an https URL with --notify or GHAPP_SYNC_NOTIFY_URL"}
	}
	if file := o.NotifySecretFile; file != "" {
		secret, err := readSecret(file)
		if err != nil {
			return nil, err
		}
		n.Secret = secret
	}
	return n, nil
}
