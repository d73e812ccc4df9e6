package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// WatchOptions are what [Watch] is called with. What is not said to be optional is required.
type WatchOptions struct {
	// Opener opens the Apps. A fresh one is taken when the configuration is read anew.
	Opener *apps.Opener
	// Entries are the mirrors that are kept, by the configuration of an Opener.
	Entries func(*apps.Opener) ([]config.Mirror, error)
	// Process is what was said of the process.
	Process config.MirrorProcess
	// Version is ghapp's.
	Version string
	// Log is told of each step.
	Log *slog.Logger
}

// Watch keeps mirrors until ctx ends, which is no failure: a pass of each in every period, and
// single repositories at once where a webhook says that there is news of them.
func Watch(ctx context.Context, o WatchOptions) error {
	w := &watcher{WatchOptions: o, log: o.Log}
	w.watch = &watch.Watcher{RetryAfter: retryAfter, OnPass: w.onPass, Jobs: mostDirectories}
	limits := w.limits.Observe
	w.Opener = o.Opener.With(func(a *apps.Options) { a.Observe = limits })
	entries, err := o.Entries(w.Opener)
	if err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	defer end()
	keepers, err := w.open(running, w.Opener, entries, nil)
	if err != nil {
		return err
	}
	w.now.Store(&keepers)
	defer func() {
		for _, k := range w.keepers() {
			k.close()
		}
	}()
	w.watch.Targets = w.targets(keepers)
	return w.run(running, end)
}

// mostDirectories bounds the directories of which passes are made at the same time. Each bounds
// its transfers by itself.
const mostDirectories = 64

// watcher is a process that goes on.
type watcher struct {
	WatchOptions // Opener is that of the configuration that is used
	log          *slog.Logger
	daemon       *daemon.Daemon
	limits       daemon.RateLimits
	metrics      *metrics
	watch        *watch.Watcher
	now          atomic.Pointer[[]*keeper]
	snapshot     snapshot
	of           sync.Map // of *watch.Target: its *keeper
	beside       sync.WaitGroup
}

// keepers are those of the configuration that is used.
func (w *watcher) keepers() []*keeper { return *w.now.Load() }

func (w *watcher) run(ctx context.Context, end func()) (err error) {
	p := w.Process
	w.daemon, err = daemon.New(daemon.Options{
		Command: "mirror", Version: w.Version, Webhook: p.Webhook, Status: p.Status, StatusHosts: p.StatusHosts,
		WebhookSecretFiles: p.WebhookSecretFiles, Notify: p.Notify, NotifySecretFile: p.NotifySecretFile,
		LookupEnv: w.Opener.LookupEnv, Log: w.log,
	}, &w.limits)
	if err != nil {
		return err
	}
	defer w.daemon.Close()
	w.metrics = newMetrics(w.daemon.Counters)
	handler, err := w.handler()
	if err != nil {
		return err
	}
	w.daemon.Answer(handler)
	webhook, status, err := w.daemon.Serve(ctx, daemon.Status{
		Page: w.page, Metrics: func() []byte { return w.metrics.exposition(w.keepers()) },
		Alive: w.watch.Alive, Unready: w.unready,
	})
	if err != nil {
		return err
	}
	defer w.beside.Wait()
	w.beside.Go(func() { w.daemon.Manager.Watchdog(ctx, w.watch.Alive) })
	w.beside.Go(func() { w.daemon.Notices.SendAll(ctx) })
	defer w.daemon.Notices.Close()
	for _, k := range w.keepers() {
		k.start(ctx)
	}
	w.log.Info("watching", "mirrors", len(w.keepers()), "webhook", webhook, "status", status)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.watch.Run(ctx)
	}()
	err = w.daemon.Wait(ctx, daemon.Requests{Now: w.askNow, Reload: w.reload, Busy: w.busy})
	end()
	<-stopped
	for _, k := range w.keepers() {
		k.stop()
	}
	return err
}

// open takes the directories of some entries, but for those that are kept already. After an error
// nothing is changed.
func (w *watcher) open(ctx context.Context, opener *apps.Opener, entries []config.Mirror, before []*keeper) (
	keepers []*keeper, err error,
) {
	var opened []*keeper
	defer func() {
		if err != nil {
			for _, k := range opened {
				k.close()
			}
		}
	}()
	for _, entry := range entries {
		var k *keeper
		for _, b := range before {
			if b.dir == entry.To {
				k = b
			}
		}
		if k == nil {
			if k, err = w.newKeeper(ctx, opener, entry); err != nil {
				return nil, err
			}
			opened = append(opened, k)
		}
		keepers = append(keepers, k)
	}
	for i, k := range keepers {
		k.next.Store(w.options(k, opener, entries[i]))
	}
	return keepers, nil
}

// targets are what passes are made of.
func (w *watcher) targets(keepers []*keeper) (list []*watch.Target) {
	for _, k := range keepers {
		t := &watch.Target{
			Name: k.name(), Period: w.Process.Period,
			Ask:     func(context.Context) (watch.Desired, error) { return watch.Desired{}, nil },
			Publish: k.pass,
		}
		k.target.Store(t)
		w.of.Store(t, k)
		list = append(list, t)
	}
	return list
}

// onPass is told of every pass.
func (w *watcher) onPass(p watch.Pass) {
	found, ok := w.of.Load(p.Target)
	if !ok {
		return
	}
	found.(*keeper).onPass(p)
	if w.unready() == "" {
		w.daemon.Manager.Ready()
	}
	w.daemon.Manager.Status(w.line())
}

// unready is why nobody should rely on the mirrors yet; "": somebody may.
func (w *watcher) unready() string {
	var names []string
	for _, k := range w.keepers() {
		if !k.passed.Load() {
			names = append(names, k.name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "the first pass is not done yet: " + strings.Join(names, ", ")
}

// line is how things stand in a few words, for systemctl status.
func (w *watcher) line() string {
	mirrors, fail := 0, 0
	for _, k := range w.keepers() {
		m, f := k.counts()
		mirrors, fail = mirrors+m, fail+f
	}
	text := fmt.Sprintf("%d repositories are mirrored", mirrors)
	if !w.daemon.Manager.IsReady() {
		text += "; the first pass is not done yet"
	}
	if fail > 0 {
		text += fmt.Sprintf("; %d fail", fail)
	}
	return text
}

func (w *watcher) busy() string {
	var names []string
	for _, k := range w.keepers() {
		if k.working.Load() > 0 {
			names = append(names, k.name())
		}
	}
	return strings.Join(names, ", ")
}

// askNow asks for a pass of every mirror.
func (w *watcher) askNow(ctx context.Context) {
	all := w.watch.All()
	w.log.Info("a pass now, and what has failed is tried, as SIGUSR1 wishes", "mirrors", len(all))
	for _, k := range w.keepers() {
		k.eager.Store(true)
	}
	for _, t := range all {
		w.watch.Trigger(ctx, t, nil)
	}
}

// reload has everything that the configuration and the files of secrets say take the place of
// what they said before, or nothing of it. What is under way ends as it would have.
func (w *watcher) reload(ctx context.Context) error {
	opener := w.Opener.Fresh()
	entries, err := w.Entries(opener)
	if err != nil {
		return err
	}
	for _, entry := range entries { // an App that cannot be opened would have every pass fail from now on
		if _, err := appsOf(ctx, opener, entry.Owners); err != nil {
			return err
		}
	}
	receiver, err := w.daemon.Receiver()
	if err != nil {
		return err
	}
	handler, err := w.handler()
	if err != nil {
		return err
	}
	before := w.keepers()
	keepers, err := w.open(ctx, opener, entries, before)
	if err != nil {
		return err
	}
	w.now.Store(&keepers)
	for _, k := range keepers {
		k.start(ctx)
	}
	ended, err := w.watch.Replace(ctx, w.targets(keepers), nil)
	if err != nil {
		return err // the end has come
	}
	w.Opener = opener
	w.daemon.Use(receiver, handler)
	w.beside.Go(func() {
		select {
		case <-ended:
		case <-ctx.Done():
		}
		w.leave(before, keepers)
	})
	w.log.Info("the configuration was read anew", "mirrors", len(keepers))
	return nil
}

// leave gives the directories back that are not kept any more.
func (w *watcher) leave(before, now []*keeper) {
	kept := map[*keeper]bool{}
	for _, k := range now {
		kept[k] = true
	}
	for _, k := range before {
		if !kept[k] {
			k.stop()
			k.close()
		}
	}
}

// handler answers GitHub's webhook, with the secrets that their files have by now. It is nil where
// nobody is to be answered.
func (w *watcher) handler() (*hook.Handler, error) {
	if w.Process.Webhook == "" {
		return nil, nil
	}
	secrets, err := w.daemon.WebhookSecrets()
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return nil, daemon.NoSecret()
	}
	return &hook.Handler{
		Secrets: secrets, Log: w.log, OnAnswer: w.daemon.Counters.OnAnswer, OnEvent: w.onEvent,
	}, nil
}

// onEvent has news looked for that GitHub tells of, and reports whether any mirror is about it.
func (w *watcher) onEvent(e hook.Event, done func(error)) bool {
	began := time.Now()
	var all []func(func(error))
	for _, k := range w.keepers() {
		if ask := k.news(e); ask != nil {
			all = append(all, ask)
		}
	}
	if len(all) == 0 {
		return false
	}
	join := joined(len(all), func(err error) {
		w.metrics.onEvent(time.Since(began))
		done(err)
	})
	for _, ask := range all {
		ask(join)
	}
	return true
}
