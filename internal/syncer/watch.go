//go:build unix

package syncer

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// service is a process that goes on. The Syncer of its directories is replaced by another when
// the configuration is read anew; all else stays.
type service struct {
	Options // of the start
	log     *slog.Logger
	watcher *watch.Watcher

	now      atomic.Pointer[Syncer]
	of       sync.Map // of *watch.Target: their *directory, as long as a pass of them may be told
	hook     *webhooks
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
	// From here on these are requests, and not the end.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)

	notifier, err := w.Options.notifier()
	if err != nil {
		return err
	}
	w.notices = newNotices(w.log, notifier)
	w.metrics = newMetrics(w.Version, w.Process.Webhook != "", w.directories, s.limits)
	w.manager = newServiceManager(w.log, w.Opener.LookupEnv, w.directories)
	if w.hook, err = w.newWebhooks(ctx); err != nil {
		return err
	}
	servers, err := w.serve(ctx)
	if err != nil {
		return err
	}
	defer servers.close()

	w.watcher.Jobs, w.watcher.OnPass = w.Process.Jobs, w.onPass
	var beside sync.WaitGroup
	defer beside.Wait()
	running, end := context.WithCancel(ctx)
	defer end()
	defer w.syncers.Wait()
	defer close(w.finished)
	w.admit(running, s)
	beside.Go(func() { w.manager.watchdog(running, w.watcher.Alive) })
	beside.Go(func() { w.notices.sendAll(running) })
	defer close(w.notices.events)
	w.log.Info("watching", "directories", len(s.directories), "webhook", servers.webhook, "status", servers.status)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.watcher.Run(running)
	}()
	err = w.wait(running, signals, servers.failed)
	end()
	<-stopped
	return err
}

// directories are those of the configuration that is used.
func (w *service) directories() []*directory { return w.now.Load().directories }

// wait does what signals want until ctx ends, or a server fails.
func (w *service) wait(ctx context.Context, signals <-chan os.Signal, failed <-chan error) error {
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGUSR1 {
				w.log.Info("every directory is asked about, as SIGUSR1 wishes", "directories", len(w.watcher.All()))
				w.askNow(ctx)
				continue
			}
			w.reload(ctx)
		case <-ctx.Done():
			w.manager.notify("STOPPING=1")
			waitsFor := "nothing"
			if busy := w.now.Load().busy(); len(busy) > 0 {
				waitsFor = strings.Join(busy, ", ")
			}
			w.log.Info("ending after a signal", "waits_for", waitsFor)
			return nil
		case err := <-failed:
			return err
		}
	}
}

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
	for _, t := range w.watcher.All() {
		w.watcher.Trigger(ctx, t, nil)
	}
}

// reload reads the configuration anew. What cannot be used is told, and changes nothing.
func (w *service) reload(ctx context.Context) {
	if w.manager.ready.Load() { // else it would be told that it is, in the end
		w.manager.notify("RELOADING=1")
		defer w.manager.notify("READY=1")
	}
	err := w.reconfigure(ctx)
	if ctx.Err() != nil {
		return // the end came meanwhile, and is no fault of the configuration
	}
	w.metrics.onReload(err == nil)
	if err != nil {
		report := diag.Explain(err)
		w.log.Error("the configuration cannot be used, and is used on as it was",
			"error", report.Message, "hint", report.Hint)
		return
	}
	w.log.Info("the configuration was read anew", "directories", len(w.directories()))
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
	notifier, err := fresh.notifier()
	if err != nil {
		return err
	}
	handler, err := w.hook.handler(ctx)
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
	w.notices.receiver.Store(notifier)
	w.hook.now.Store(handler)
	w.syncers.Go(func() {
		select {
		case <-ended:
			close(before.replaced)
		case <-w.finished:
		}
	})
	return nil
}
