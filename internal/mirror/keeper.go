package mirror

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

const (
	// mostNews is how many deliveries may wait for an outcome, of one directory. What comes then
	// is found by the next pass.
	mostNews = 4096
	// restFactor bounds the passes that news ask for: the pause before one is that many times as
	// long as the last pass took.
	restFactor = 10
)

// keeper keeps the mirrors of one directory.
type keeper struct {
	w     *watcher
	dir   string
	run   *Run
	queue *watch.Queue[int64] // of the IDs of repositories
	next  atomic.Pointer[Options]
	entry atomic.Pointer[config.Mirror]
	// target is what the passes are made of by now.
	target  atomic.Pointer[watch.Target]
	passed  atomic.Bool  // a pass has come to its end
	working atomic.Int64 // passes and updates under way
	eager   atomic.Bool  // the next pass tries what has failed, too
	busy    atomic.Int64 // mirrors that are being compared

	passing sync.Mutex // held by the one pass

	end  context.CancelFunc // of what start has begun; nil: nothing
	over sync.WaitGroup

	mu      sync.Mutex
	ctx     context.Context
	planned []func(error) // want the outcome of a pass that begins soon
	ended   time.Time     // when the last pass did
	took    time.Duration
	report  *Report // of the last pass; nil: none was
	unended error   // why the last pass did not come to its end; nil: it did
	retry   time.Time
	troubles
}

func (w *watcher) newKeeper(ctx context.Context, opener *apps.Opener, entry config.Mirror) (*keeper, error) {
	k := &keeper{w: w, dir: entry.To, troubles: troubles{failing: map[trouble]bool{}}}
	k.queue = &watch.Queue[int64]{Work: k.update, Most: mostNews, Jobs: max(entry.Jobs, watch.DefaultJobs)}
	run, err := Open(ctx, *w.options(k, opener, entry))
	if err != nil {
		return nil, err
	}
	k.run = run
	return k, nil
}

// options are those of the Run, from the next pass on.
func (w *watcher) options(k *keeper, opener *apps.Opener, entry config.Mirror) *Options {
	k.entry.Store(&entry)
	return &Options{
		Opener: opener, Entry: entry, Log: w.log.With("name", entry.Name),
		Observer: Observer{
			Planned: func(int) { k.warm() }, Began: func(string, int64) { k.busy.Add(1) }, Ended: k.onEnded,
		},
	}
}

func (k *keeper) name() string { return k.entry.Load().Name }

func (k *keeper) log() *slog.Logger { return k.w.log.With("name", k.name()) }

// start begins to work on news, once.
func (k *keeper) start(ctx context.Context) {
	if k.end != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ctx, k.end = context.WithCancel(ctx)
	running := k.ctx
	k.over.Go(func() { k.queue.Run(running) })
}

// stop ends what start has begun, and waits for it.
func (k *keeper) stop() {
	if k.end != nil {
		k.end()
		k.over.Wait()
	}
}

func (k *keeper) close() { k.run.Close() }

// pass makes one pass.
func (k *keeper) pass(ctx context.Context, _ watch.Desired) (watch.Done, error) {
	k.passing.Lock()
	defer k.passing.Unlock()
	k.working.Add(1)
	defer k.working.Add(-1)
	if next := k.next.Swap(nil); next != nil {
		k.run.Reconfigure(*next)
	}
	report, err := k.run.Pass(ctx, Request{Patient: !k.eager.Swap(false)})
	if ctx.Err() != nil {
		return watch.Done{}, context.Cause(ctx)
	}
	k.mu.Lock()
	k.ended, k.took = time.Now(), report.Took
	k.unended = cmp.Or(err, report.Stopped, report.None)
	if err == nil {
		k.report = report
	}
	k.mu.Unlock()
	if err == nil {
		k.passed.Store(true)
	}
	k.w.metrics.onReport(k.name(), report)
	k.told(report, err)
	changed := report.Made+report.Changed+report.Moved+len(report.Gone)+len(report.Pruned) > 0
	return watch.Done{Changed: changed, Bytes: report.Bytes}, cmp.Or(err, report.Stopped)
}

// warm has tokens ready before they are needed, beside the pass that has just listed everything.
func (k *keeper) warm() {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx := k.ctx
	if ctx == nil || ctx.Err() != nil || k.w.Process.Webhook == "" {
		return
	}
	k.over.Go(func() {
		if err := k.run.Warm(ctx); err != nil && ctx.Err() == nil {
			k.log().Debug("no token is ready for the next push", "error", err)
		}
	})
}

// update brings one mirror up to date.
func (k *keeper) update(ctx context.Context, id int64) error {
	k.working.Add(1)
	defer k.working.Add(-1)
	report, err := k.run.Update(ctx, id)
	if errors.Is(err, ErrUnknown) { // it was listed no more meanwhile
		k.planPass(nil)
		return nil
	}
	if err != nil {
		return err
	}
	k.w.metrics.onReport(k.name(), report)
	if report.Stopped != nil {
		k.stopped(report.Stopped)
	}
	var failed []error
	for _, f := range report.Failed {
		failed = append(failed, f.Err)
	}
	err = errors.Join(append(failed, report.Stopped)...)
	k.w.metrics.onUpdate(k.name(), report, err)
	return err
}

// news is what to do about an event; nil: nothing follows from it. The function calls done once.
func (k *keeper) news(e hook.Event) func(done func(error)) {
	covered := e.Installation != 0 && len(e.Repositories) == 0 && k.run.Covers("", e.Installation, "")
	for _, r := range e.Repositories {
		covered = covered || k.run.Covers(r.Name.Host, e.Installation, r.Name.Owner)
	}
	if !covered {
		return nil
	}
	if len(e.Refs) == 0 {
		return func(done func(error)) {
			if e.Kind == hook.InstallationKind { // that may have mended much
				k.eager.Store(true)
			}
			k.planPass(done)
		}
	}
	switch reaches, left := k.run.Knows(e.Repositories[0].ID); {
	case left:
		return nil
	case reaches:
		return func(done func(error)) {
			if !k.queue.Add(e.Repositories[0].ID, done) {
				k.planPass(done)
			}
		}
	}
	return k.planPass
}

// planPass asks for a pass, which comes soon; done, which may be nil, is told how it ended.
func (k *keeper) planPass(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ctx == nil || k.ctx.Err() != nil {
		go done(context.Canceled)
		return
	}
	if len(k.planned) >= mostNews {
		go done(nil) // one comes anyway
		return
	}
	k.planned = append(k.planned, done)
	if len(k.planned) > 1 {
		return
	}
	pause := min(time.Until(k.ended.Add(restFactor*k.took)), k.target.Load().Every())
	time.AfterFunc(max(pause, 0), func() {
		k.mu.Lock()
		all := k.planned
		k.planned = nil
		ctx := k.ctx
		k.mu.Unlock()
		k.w.watch.Trigger(ctx, k.target.Load(), func(err error) {
			for _, done := range all {
				done(err)
			}
		})
	})
}

// onPass is told of every pass as the schedule has it.
func (k *keeper) onPass(p watch.Pass) {
	k.mu.Lock()
	k.retry = p.Retry
	k.mu.Unlock()
	k.w.metrics.onPass(k.name(), p)
}

// counts are how many mirrors there are, and how many of them, or installations, fail.
func (k *keeper) counts() (mirrors, fail int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.report != nil {
		mirrors = k.report.Mirrors
	}
	return mirrors, len(k.failing)
}

// joined calls done once it was called n times, with all errors.
func joined(n int, done func(error)) func(error) {
	var mu sync.Mutex
	var failed []error
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, err)
		if len(failed) == n {
			done(errors.Join(failed...))
		}
	}
}

// retryAfter is how long GitHub wants to be left alone after an error.
func retryAfter(err error) time.Duration {
	if limit, ok := errors.AsType[*ghapp.RateLimitError](err); ok && errors.Is(err, ghapp.ErrRateLimited) {
		return time.Until(limit.Until)
	}
	return 0
}
