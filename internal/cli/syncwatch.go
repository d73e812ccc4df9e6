//go:build unix

package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/notify"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// watching is a process that goes on. The keeper of its directories is replaced by another
// when the configuration is read anew; all else stays.
type watching struct {
	command *command
	options config.SyncProcess
	entries entries
	log     *slog.Logger
	watcher *watch.Watcher

	now      atomic.Pointer[keeper]
	of       sync.Map // of *watch.Target: their *kept, as long as a pass of them may be told
	hook     *webhooks
	receiver atomic.Pointer[notify.Notifier] // nil: nobody
	metrics  *syncMetrics
	teller   *teller
	manager  *manager
	keepers  sync.WaitGroup // those that answer git
	finished chan struct{}  // closed when no pass is under way any more, in the end
}

// watch keeps directories until ctx ends, which is no failure.
func (c *command) watch(ctx context.Context, first *keeper, entries entries, o config.SyncProcess, limits *rateLimits) error {
	w := &watching{command: c, options: o, entries: entries, log: first.log, watcher: first.watcher}
	w.now.Store(first)
	// From here on these are requests, and not the end.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)

	notifier, err := c.notifier(o, w.log)
	if err != nil {
		return err
	}
	w.receiver.Store(notifier)
	w.metrics = newSyncMetrics(w, limits)
	if w.hook, err = w.newWebhooks(ctx); err != nil {
		return err
	}
	servers, err := w.serve(ctx)
	if err != nil {
		return err
	}
	defer servers.close()

	told := make(chan notify.Event, 100)
	w.teller = &teller{watching: w, told: told, failing: map[string]bool{}, execTold: map[string]string{}}
	w.manager = &manager{watching: w, failing: map[string]time.Time{}, shows: map[string]bool{}}
	w.watcher.Jobs = o.Jobs
	w.watcher.OnPass = w.passed
	var beside sync.WaitGroup
	defer beside.Wait()
	running, end := context.WithCancel(ctx)
	defer end()
	w.finished = make(chan struct{})
	defer w.keepers.Wait()
	defer close(w.finished)
	w.admit(running, first)
	beside.Go(func() { w.watchdog(running) })
	beside.Go(func() { w.sendEvents(running, told) })
	defer close(told)
	w.log.Info("watching", "directories", len(first.kept), "webhook", servers.webhook, "status", servers.status)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.watcher.Run(running)
	}()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGUSR1 {
				w.log.Info("every directory is asked about, as SIGUSR1 wishes", "directories", len(w.watcher.All()))
				w.askNow(running)
				continue
			}
			w.reload(running)
			continue
		case <-ctx.Done():
			c.notify("STOPPING=1")
		case err = <-servers.failed:
		}
		end()
		<-stopped
		return err
	}
}

// admit has a keeper's git answered until the keeper is over, or all is.
func (w *watching) admit(ctx context.Context, k *keeper) {
	for _, t := range k.kept {
		w.of.Store(t.target, t)
	}
	w.keepers.Go(func() {
		err := k.serving(ctx, func() error {
			select {
			case <-k.over:
			case <-w.finished:
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			w.log.Error("git is not answered any more", "error", err)
		}
		for _, t := range k.kept {
			w.of.Delete(t.target)
		}
	})
}

// passed is told of every pass.
func (w *watching) passed(p watch.Pass) {
	found, ok := w.of.Load(p.Target)
	if !ok {
		return
	}
	t := found.(*kept)
	w.metrics.passed(t, p)
	w.teller.passed(t, p)
	w.manager.passed(t, p)
}

// askNow asks for a pass of every directory.
func (w *watching) askNow(ctx context.Context) {
	for _, t := range w.watcher.All() {
		w.watcher.Trigger(ctx, t, nil)
	}
}

// reload reads the configuration anew. What cannot be used is told, and changes nothing.
func (w *watching) reload(ctx context.Context) {
	if w.manager.ready.Load() { // else it would be told that it is, in the end
		w.command.notify("RELOADING=1")
		defer w.command.notify("READY=1")
	}
	err := w.reconfigure(ctx)
	if ctx.Err() != nil {
		return // the end came meanwhile, and is no fault of the configuration
	}
	w.metrics.reloaded(err == nil)
	if err != nil {
		report := diag.Explain(err)
		w.log.Error("the configuration cannot be used, and is used on as it was", "error", report.Message, "hint", report.Hint)
		return
	}
	w.log.Info("the configuration was read anew", "directories", len(w.now.Load().kept))
}

// reconfigure has everything that the configuration and the files of secrets say take the
// place of what they said before, or nothing of it. Passes that are under way end as they
// would have, with the App and the key with which they have begun.
func (w *watching) reconfigure(ctx context.Context) error {
	again := w.command.with(w.command.apps().Fresh())
	list, err := w.entries(again)
	if err != nil {
		return err
	}
	notifier, err := again.notifier(w.options, w.log)
	if err != nil {
		return err
	}
	handler, err := w.hook.handler(ctx)
	if err != nil {
		return err
	}
	next, err := again.keep(ctx, list, w.log, false)
	if err != nil {
		return err
	}
	next.watcher = w.watcher
	w.admit(ctx, next)
	before := w.now.Load()
	ended, err := w.watcher.Replace(ctx, next.watched(), next.askAll)
	if err != nil {
		close(next.over)
		return err
	}
	w.now.Store(next)
	w.receiver.Store(notifier)
	w.hook.now.Store(handler)
	w.keepers.Go(func() {
		select {
		case <-ended:
			close(before.over)
		case <-w.finished:
		}
	})
	return nil
}
