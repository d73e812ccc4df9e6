//go:build unix

package syncer

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// service is a process that goes on. The Syncer of its directories is replaced by another when
// the configuration is read anew; all else stays.
type service struct {
	Options // of the start
	log     *slog.Logger
	watcher *watch.Watcher

	daemon   *daemon.Daemon
	now      atomic.Pointer[Syncer]
	of       sync.Map // of *watch.Target: their *directory, as long as a pass of them may be told
	metrics  *metrics
	notices  *notices
	manager  *serviceManager
	syncers  sync.WaitGroup // those that answer git
	finished chan struct{}  // closed when no pass is under way any more, in the end
}

// Watch keeps the directories until ctx ends, which is no failure.
func (s *Syncer) Watch(ctx context.Context) error {
	if err := s.checkAll(); err != nil {
		return err
	}
	w := &service{Options: s.Options, log: s.Log, watcher: s.watcher, finished: make(chan struct{})}
	w.now.Store(s)
	var err error
	if w.daemon, err = daemon.New(w.daemonOptions(), s.limits); err != nil {
		return err
	}
	defer w.daemon.Close()
	w.notices = newNotices(w.log, w.daemon.Notices)
	w.metrics = newMetrics(w.daemon.Counters, w.directories)
	w.manager = newServiceManager(w.daemon.Manager, w.directories)
	handler, err := w.handler(ctx)
	if err != nil {
		return err
	}
	w.daemon.Answer(handler)
	webhook, status, err := w.daemon.Serve(ctx, w.status())
	if err != nil {
		return err
	}

	w.watcher.Jobs, w.watcher.OnPass = w.Process.Jobs, w.onPass
	var beside sync.WaitGroup
	defer beside.Wait()
	running, end := context.WithCancel(ctx)
	defer end()
	defer w.syncers.Wait()
	defer close(w.finished)
	w.admit(running, s)
	beside.Go(func() { w.manager.Watchdog(running, w.watcher.Alive) })
	beside.Go(func() { w.notices.SendAll(running) })
	defer w.notices.Close()
	w.log.Info("watching", "directories", len(s.directories), "webhook", webhook, "status", status)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.watcher.Run(running)
	}()
	err = w.daemon.Wait(running, daemon.Requests{Now: w.askNow, Reload: w.reload, Busy: w.busy})
	end()
	<-stopped
	return err
}

// directories are those of the configuration that is used.
func (w *service) directories() []*directory { return w.now.Load().directories }

// daemonOptions is what was said of the process.
func (o Options) daemonOptions() daemon.Options {
	p := o.Process
	return daemon.Options{
		Command: "sync", Version: o.Version, Webhook: p.Webhook, Status: p.Status, StatusHosts: p.StatusHosts,
		WebhookSecretFiles: p.WebhookSecretFiles, Notify: p.Notify, NotifySecretFile: p.NotifySecretFile,
		LookupEnv: o.Opener.LookupEnv, Log: o.Log,
	}
}

// busy are the directories that the end has to wait for.
func (w *service) busy() string { return strings.Join(w.now.Load().busy(), ", ") }

// admit has a Syncer's git answered until another has taken its place, or all is over.
func (w *service) admit(ctx context.Context, s *Syncer) {
	for _, d := range s.directories {
		w.of.Store(d.target, d)
	}
	w.syncers.Go(func() {
		err := s.answering(ctx, func() error {
			select {
			case <-s.replaced:
			case <-w.finished:
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			w.log.Error("git is not answered any more", "error", err)
		}
		for _, d := range s.directories {
			w.of.Delete(d.target)
		}
	})
}

// onPass is told of every pass.
func (w *service) onPass(p watch.Pass) {
	found, ok := w.of.Load(p.Target)
	if !ok {
		return
	}
	d := found.(*directory)
	w.metrics.onPass(d, p)
	w.notices.onPass(d, p)
	w.manager.onPass(d, p)
}

// askNow asks for a pass of every directory.
func (w *service) askNow(ctx context.Context) {
	all := w.watcher.All()
	w.log.Info("every directory is asked about, as SIGUSR1 wishes", "directories", len(all))
	for _, t := range all {
		w.watcher.Trigger(ctx, t, nil)
	}
}

// reload reads the configuration anew.
func (w *service) reload(ctx context.Context) error {
	err := w.reconfigure(ctx)
	if err == nil && ctx.Err() == nil {
		w.log.Info("the configuration was read anew", "directories", len(w.directories()))
	}
	return err
}

// reconfigure has everything that the configuration and the files of secrets say take the
// place of what they said before, or nothing of it. Passes that are under way end as they
// would have, with the App and the key with which they have begun.
func (w *service) reconfigure(ctx context.Context) error {
	before := w.now.Load()
	fresh := before.Options
	fresh.Opener = before.Opener.Fresh()
	entries, err := fresh.Entries(fresh.Opener)
	if err != nil {
		return err
	}
	receiver, err := w.daemon.Receiver()
	if err != nil {
		return err
	}
	handler, err := w.handler(ctx)
	if err != nil {
		return err
	}
	next, err := newSyncer(ctx, fresh, entries, before.limits)
	if err != nil {
		return err
	}
	next.watcher = w.watcher
	w.admit(ctx, next)
	ended, err := w.watcher.Replace(ctx, next.targets(), next.askAll)
	if err != nil {
		close(next.replaced)
		return err
	}
	w.now.Store(next)
	w.daemon.Use(receiver, handler)
	w.syncers.Go(func() {
		select {
		case <-ended:
			close(before.replaced)
		case <-w.finished:
		}
	})
	return nil
}
