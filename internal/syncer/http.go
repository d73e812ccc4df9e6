//go:build unix

package syncer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/watch"
	"github.com/ghapp-dev/ghapp/secret"
)

// handler answers GitHub's webhook and POST /sync, with the secrets that their files have by now.
// It is nil where nobody is to be answered.
func (w *service) handler(ctx context.Context) (*hook.Handler, error) {
	if w.Process.Webhook == "" {
		return nil, nil
	}
	webhook, err := w.daemon.WebhookSecrets()
	if err != nil {
		return nil, err
	}
	requests, err := w.daemon.Secrets(w.Process.SyncSecretFiles, "GHAPP_SYNC_SECRET")
	if err != nil {
		return nil, err
	}
	for _, one := range requests {
		if slices.ContainsFunc(webhook, func(other secret.Text) bool { return other.Reveal() == one.Reveal() }) {
			return nil, &fault.SettingError{
				Err:  errors.New("the secret of POST /sync is that of the webhook as well"),
				Hint: "openssl rand -hex 32 makes one for each: GitHub, and who may change the webhook there, know the webhook's",
			}
		}
	}
	if len(webhook) == 0 && len(requests) == 0 {
		return nil, daemon.NoSecret()
	}
	return &hook.Handler{
		Secrets: webhook, SyncSecrets: requests, Log: w.log, OnAnswer: w.daemon.Counters.OnAnswer,
		OnPush: func(p hook.Push, done func(error)) bool { return w.now.Load().onPush(ctx, p, done) },
		OnSync: func(names []string, all bool, done func(error)) []string {
			return w.now.Load().onRequest(ctx, names, all, done)
		},
	}, nil
}

// onPush has those directories brought up to date that follow a ref, and reports whether
// there are any.
func (s *Syncer) onPush(ctx context.Context, p hook.Push, done func(error)) bool {
	var list []*watch.Target
	for target, d := range s.of {
		r := d.currentName()
		_, host, _ := strings.Cut(d.asker.Origin, "://")
		here := strings.EqualFold(r.String(), p.Repository.String()) && strings.EqualFold(p.Repository.Host, host)
		if here && d.revision.Matches(p.Ref) {
			list = append(list, target)
		}
	}
	if len(list) == 0 {
		return false
	}
	s.trigger(ctx, list, done)
	return true
}

// onRequest has the named directories brought up to date, and returns the names that none
// has.
func (s *Syncer) onRequest(ctx context.Context, names []string, all bool, done func(error)) (unknown []string) {
	list := s.watcher.All()
	if !all {
		list = nil
		for _, name := range names {
			if t := s.watcher.Find(name); t != nil {
				list = append(list, t)
			} else {
				unknown = append(unknown, name)
			}
		}
	}
	if len(unknown) == 0 {
		s.trigger(ctx, list, done)
	}
	return unknown
}

// trigger asks for passes, and calls done once, when all have ended.
func (s *Syncer) trigger(ctx context.Context, list []*watch.Target, done func(error)) {
	var mu sync.Mutex
	var failed []error
	left := len(list)
	for _, t := range list {
		s.watcher.Trigger(ctx, t, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
			if left--; left == 0 {
				done(errors.Join(failed...))
			}
		})
	}
}

// status is what is told at the status address.
func (w *service) status() daemon.Status {
	return daemon.Status{Page: w.page, Metrics: w.metrics.exposition, Alive: w.watcher.Alive, Unready: w.unready}
}

// unready is why the directories are not ready: each is to show something. That it is old is no
// reason to take it away from those who use it.
func (w *service) unready() string {
	if names := w.now.Load().unready(); len(names) > 0 {
		return "nothing is published yet: " + strings.Join(names, ", ")
	}
	return ""
}
