// Package watch keeps targets at what they are to be: it asks now and then, at once when
// something says that there is news, and less often where something fails. What is asked
// and done is its caller's; see [Target].
package watch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultPeriod is the time between two questions where a Target names none.
	DefaultPeriod = time.Minute
	// maxBackoff bounds the time until something that failed is tried again, unless
	// the period is longer.
	maxBackoff = 15 * time.Minute
	// maxRetryAfter bounds for how long nothing is asked because a server wants to be left
	// alone: no limit of GitHub's lasts longer than an hour
	// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
	maxRetryAfter = time.Hour
	// betweenTries is the least time between two passes that are asked for while the
	// server wants to be left alone.
	betweenTries = time.Minute
	// MaxQuestions bounds the questions that are open at the same time; those that one
	// AskAll asks are one of them.
	MaxQuestions = 16
	// DefaultJobs is how many targets are published at the same time.
	DefaultJobs = 4
)

// ErrRemoved is told to those who have asked for a pass of a target that [Watcher.Replace]
// has taken away.
var ErrRemoved = errors.New("it is not kept at anything any more")

// Target is something that is kept at what it is to be.
type Target struct {
	// Name is its name, under which it is triggered. No other target has the same.
	Name string
	// Period is the time between two questions, give or take a tenth. 0:
	// [DefaultPeriod].
	Period time.Duration
	// Group is shared by targets that may be asked about in one question. "": this one
	// is asked about alone.
	Group string
	// Ask finds out what is wanted now.
	Ask func(ctx context.Context) (Desired, error)
	// Publish brings it about.
	Publish func(ctx context.Context, w Desired) (Done, error)
}

// Every is the time between two questions, as it is meant to be.
func (t *Target) Every() time.Duration {
	if t.Period <= 0 {
		return DefaultPeriod
	}
	return t.Period
}

// Desired is what a target is to be at. Value is for Publish.
type Desired struct {
	Commit string
	Value  any
}

// Done is what Publish did.
type Done struct {
	Changed bool
	Held    bool  // it is not published, as somebody wishes
	Bytes   int64 // that were fetched
}

// Answer is what was found out about one target of several.
type Answer struct {
	Desired Desired
	Err     error
}

// Outcome is how a pass ended.
type Outcome string

// The outcomes.
const (
	Unchanged Outcome = "unchanged"
	Published Outcome = "published"
	Held      Outcome = "held"    // somebody has rolled back from this commit
	Failed    Outcome = "failed"  // see Pass.Err
	Waiting   Outcome = "waiting" // the commit has failed before, and is tried again later
)

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{Unchanged, Published, Held, Failed, Waiting} }

// Pass is one pass of a target.
type Pass struct {
	Target  *Target
	Outcome Outcome
	Commit  string // that was wanted; "" where it was not found out
	Bytes   int64
	Took    time.Duration
	Err     error     // of Failed
	Retry   time.Time // of Failed and Waiting, in [Watcher.Run]: when it is tried again
}

// Watcher watches targets. Its fields are not to be changed while it runs; [Watcher.Replace]
// puts other targets in the place of these.
type Watcher struct {
	Targets []*Target
	// AskAll finds out what several targets of one group are to be at, in their order.
	// Nil: each is asked about alone.
	AskAll func(ctx context.Context, targets []*Target) []Answer
	// RetryAfter says for how long nothing is to be asked after an error, where that tells
	// so itself; it is believed for an hour. Nil, or 0: longer with each failure.
	RetryAfter func(error) time.Duration
	// OnPass is told of every pass, of one at a time. May be nil.
	OnPass func(Pass)
	// Jobs is how many targets are published at the same time. 0: [DefaultJobs].
	Jobs int

	once     sync.Once
	triggers chan trigger
	changes  chan change
	beats    chan struct{}
	asking   chan struct{} // held while a question is open
	working  chan struct{} // held while a target is published

	mu  sync.Mutex
	now []*Target // those that are watched; the loop alone changes it
}

// trigger asks for a pass.
type trigger struct {
	name string
	done func(error)
}

// generation is the targets that are watched until others take their place.
type generation struct {
	targets []*Target
	askAll  func(ctx context.Context, targets []*Target) []Answer
	passes  int           // of them that are under way
	over    bool          // others have taken their place
	ended   chan struct{} // closed once it is over and no pass is under way
}

// change puts a generation in the place of another, and tells of that.
type change struct {
	next   *generation
	before chan *generation
}

// closeIfDone closes ended once the generation is over and no pass of it is under way. The loop
// calls it.
func (g *generation) closeIfDone() {
	if g.over && g.passes == 0 {
		close(g.ended)
	}
}

func (w *Watcher) prepare() {
	w.once.Do(func() {
		jobs := w.Jobs
		if jobs <= 0 {
			jobs = DefaultJobs
		}
		w.triggers, w.beats, w.changes = make(chan trigger), make(chan struct{}), make(chan change)
		w.now = w.Targets
		w.asking, w.working = make(chan struct{}, MaxQuestions), make(chan struct{}, jobs)
	})
}

// Find returns the target of a name, or nil.
func (w *Watcher) Find(name string) *Target {
	for _, t := range w.All() {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// All returns the targets that are watched now.
func (w *Watcher) All() []*Target {
	w.prepare()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.now)
}

// Replace puts other targets in the place of those that are watched, and returns a channel
// that is closed once no pass of these is under way: they are not broken off. A target that
// has the name of one before it is that one, changed: those who wait for a pass of it get
// one, it is never worked on twice at the same time, and a server that wants to be left alone
// is. The others are told [ErrRemoved]. Each of the new ones is asked about at once.
//
// [Watcher.Run] has to run; the error is the cause of ctx, and nothing has changed then.
func (w *Watcher) Replace(
	ctx context.Context, targets []*Target, askAll func(context.Context, []*Target) []Answer,
) (ended <-chan struct{}, err error) {
	w.prepare()
	c := change{&generation{targets: targets, askAll: askAll, ended: make(chan struct{})}, make(chan *generation, 1)}
	select {
	case w.changes <- c:
		return (<-c.before).ended, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Trigger asks for a pass of a target, which is tried although it has failed before, and
// although its server wants to be left alone, then at most once a minute. It does not wait:
// done is called once, with the outcome of a pass that begins after this, or with the cause
// of ctx, which should end with [Watcher.Run], or with [ErrRemoved]. It may be nil.
func (w *Watcher) Trigger(ctx context.Context, t *Target, done func(error)) {
	w.prepare()
	if done == nil {
		done = func(error) {}
	}
	go func() {
		select {
		case w.triggers <- trigger{t.Name, done}:
		case <-ctx.Done():
			done(context.Cause(ctx))
		}
	}()
}

// Alive reports whether [Watcher.Run] answers within the time of ctx.
func (w *Watcher) Alive(ctx context.Context) bool {
	w.prepare()
	select {
	case w.beats <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// Once makes one pass of every target, and returns what became of each, in their order.
func (w *Watcher) Once(ctx context.Context) []Pass {
	w.prepare()
	groups := map[string][]job{}
	var order []string
	for _, t := range w.Targets {
		key := t.Group
		if key == "" {
			key = "\x00" + t.Name
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], job{Target: t})
	}
	passed := make(chan ended)
	for _, key := range order {
		go w.pass(ctx, &generation{askAll: w.AskAll}, groups[key], passed)
	}
	of := map[*Target]Pass{}
	for range w.Targets {
		p := (<-passed).Pass
		of[p.Target] = p
		w.onPass(p)
	}
	var list []Pass
	for _, t := range w.Targets {
		list = append(list, of[t])
	}
	return list
}

// Run watches until ctx ends, and then waits for the passes that are under way, which
// end with it. OnPass is not told of those that do not end well then.
func (w *Watcher) Run(ctx context.Context) {
	w.prepare()
	l := &loop{
		watcher: w, states: map[string]*state{}, passed: make(chan ended),
		now: &generation{targets: w.now, askAll: w.AskAll, ended: make(chan struct{})},
	}
	for _, t := range w.now {
		l.states[t.Name] = &state{Target: t}
	}
	end := ctx.Done()
	for {
		if ctx.Err() == nil {
			for _, jobs := range l.due() {
				l.now.passes += len(jobs)
				l.running += len(jobs)
				go w.pass(ctx, l.now, jobs, l.passed)
			}
		} else if l.running == 0 {
			for _, s := range l.states {
				s.abandon(context.Cause(ctx))
			}
			return
		}
		timer := time.NewTimer(l.idle())
		select {
		case <-timer.C:
		case t := <-w.triggers:
			if s := l.states[t.name]; s != nil && !s.removed {
				s.triggered(t.done)
			} else {
				t.done(ErrRemoved)
			}
		case c := <-w.changes:
			c.before <- l.replace(c.next)
		case e := <-l.passed:
			l.ended(ctx, e)
		case <-w.beats:
		case <-end:
			end = nil
		}
		timer.Stop()
	}
}

func (w *Watcher) onPass(p Pass) {
	if w.OnPass != nil {
		w.OnPass(p)
	}
}

// job is a pass that is to be made.
type job struct {
	*Target
	skip string // the commit that is not to be tried now, since it has failed
}

// ended is a pass that has ended, and the generation of its target.
type ended struct {
	Pass
	generation *generation
}

// pass makes one pass of targets of one group, and tells of each of them.
func (w *Watcher) pass(ctx context.Context, g *generation, jobs []job, passed chan<- ended) {
	begun := time.Now()
	ask := func(targets []*Target) []Answer {
		w.asking <- struct{}{}
		defer func() { <-w.asking }()
		if len(targets) > 1 {
			return g.askAll(ctx, targets)
		}
		wanted, err := targets[0].Ask(ctx)
		return []Answer{{wanted, err}}
	}
	if len(jobs) > 1 && g.askAll != nil {
		var targets []*Target
		for _, j := range jobs {
			targets = append(targets, j.Target)
		}
		for i, a := range ask(targets) {
			go func() { passed <- ended{w.publish(ctx, jobs[i], a, begun), g} }()
		}
		return
	}
	for _, j := range jobs {
		go func() { passed <- ended{w.publish(ctx, j, ask([]*Target{j.Target})[0], begun), g} }()
	}
}

// publish brings about what is wanted.
func (w *Watcher) publish(ctx context.Context, j job, a Answer, begun time.Time) Pass {
	p := Pass{Target: j.Target, Commit: a.Desired.Commit, Err: a.Err}
	var done Done
	switch {
	case p.Err != nil:
	case j.skip != "" && j.skip == p.Commit:
		p.Outcome = Waiting
	default:
		w.working <- struct{}{}
		done, p.Err = j.Publish(ctx, a.Desired)
		<-w.working
	}
	p.Bytes = done.Bytes
	switch {
	case p.Outcome != "":
	case p.Err != nil:
		p.Outcome = Failed
	case done.Held:
		p.Outcome = Held
	case done.Changed:
		p.Outcome = Published
	default:
		p.Outcome = Unchanged
	}
	p.Took = time.Since(begun)
	return p
}
