// Package watch keeps targets at what they are to be: it asks now and then, at once when
// something says that there is news, and less often where something fails. What is asked
// and done is its caller's; see [Target].
package watch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// DefaultPeriod is the time between two questions where a Target names none.
	DefaultPeriod = time.Minute
	// mostBackoff bounds the time until something that failed is tried again, unless
	// the period is longer.
	mostBackoff = 15 * time.Minute
	// MostAsked bounds the questions that are open at the same time; those that one
	// AskAll asks are one of them.
	MostAsked = 16
	// DefaultJobs is how many targets are published at the same time.
	DefaultJobs = 4
)

// Target is something that is kept at what it is to be.
type Target struct {
	// Name is its name, under which it is triggered.
	Name string
	// Period is the time between two questions, give or take a tenth. 0:
	// [DefaultPeriod].
	Period time.Duration
	// Group is shared by targets that may be asked about in one question. "": this one
	// is asked about alone.
	Group string
	// Ask finds out what is wanted now.
	Ask func(ctx context.Context) (Wanted, error)
	// Publish brings it about.
	Publish func(ctx context.Context, w Wanted) (Done, error)
}

func (t *Target) period() time.Duration {
	if t.Period <= 0 {
		return DefaultPeriod
	}
	return t.Period
}

// Wanted is what a target is to be at. Value is for Publish.
type Wanted struct {
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
	Wanted Wanted
	Err    error
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

// Watcher watches targets. Its fields are not to be changed while it runs.
type Watcher struct {
	Targets []*Target
	// AskAll finds out what several targets of one group are to be at, in their order.
	// Nil: each is asked about alone.
	AskAll func(ctx context.Context, targets []*Target) []Answer
	// StayAway says for how long nothing is to be asked after an error, where that tells
	// so itself. Nil, or 0: longer with each failure.
	StayAway func(error) time.Duration
	// Passed is told of every pass, of one at a time. May be nil.
	Passed func(Pass)
	// Jobs is how many targets are published at the same time. 0: [DefaultJobs].
	Jobs int

	once     sync.Once
	triggers chan trigger
	beats    chan struct{}
	asking   chan struct{} // held while a question is open
	working  chan struct{} // held while a target is published
}

// trigger asks for a pass.
type trigger struct {
	target *Target
	done   func(error)
}

func (w *Watcher) prepare() {
	w.once.Do(func() {
		jobs := w.Jobs
		if jobs <= 0 {
			jobs = DefaultJobs
		}
		w.triggers, w.beats = make(chan trigger), make(chan struct{})
		w.asking, w.working = make(chan struct{}, MostAsked), make(chan struct{}, jobs)
	})
}

// Find returns the target of a name, or nil.
func (w *Watcher) Find(name string) *Target {
	for _, t := range w.Targets {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Trigger asks for a pass of a target. It does not wait: done is called once, with the
// outcome of a pass that begins after this, or with the cause of ctx, which should end
// with [Watcher.Run]. It may be nil.
func (w *Watcher) Trigger(ctx context.Context, t *Target, done func(error)) {
	w.prepare()
	if done == nil {
		done = func(error) {}
	}
	go func() {
		select {
		case w.triggers <- trigger{t, done}:
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
	passed := make(chan Pass)
	for _, key := range order {
		go w.pass(ctx, groups[key], passed)
	}
	of := map[*Target]Pass{}
	for range w.Targets {
		p := <-passed
		of[p.Target] = p
		w.tell(p)
	}
	var list []Pass
	for _, t := range w.Targets {
		list = append(list, of[t])
	}
	return list
}

// Run watches until ctx ends, and then waits for the passes that are under way, which
// end with it. Passed is not told of those that do not end well then.
func (w *Watcher) Run(ctx context.Context) {
	w.prepare()
	states := map[*Target]*state{}
	for _, t := range w.Targets {
		states[t] = &state{Target: t}
	}
	passed := make(chan Pass)
	running, end := 0, ctx.Done()
	for {
		if ctx.Err() == nil {
			for _, jobs := range w.due(states) {
				running += len(jobs)
				go w.pass(ctx, jobs, passed)
			}
		} else if running == 0 {
			for _, s := range states {
				s.tell(context.Cause(ctx))
			}
			return
		}
		timer := time.NewTimer(w.idle(states))
		select {
		case <-timer.C:
		case t := <-w.triggers:
			states[t.target].triggered(t.done)
		case p := <-passed:
			running--
			p.Retry = states[p.Target].ended(p, w.StayAway)
			if p.Err == nil || ctx.Err() == nil { // else it was stopped, which is no outcome
				w.tell(p)
			}
			states[p.Target].answer(p.Err)
		case <-w.beats:
		case <-end:
			end = nil
		}
		timer.Stop()
	}
}

func (w *Watcher) tell(p Pass) {
	if w.Passed != nil {
		w.Passed(p)
	}
}

// idle is how long there is nothing to begin.
func (w *Watcher) idle(states map[*Target]*state) time.Duration {
	wait := time.Hour
	for _, s := range states {
		if !s.running {
			wait = min(wait, time.Until(s.at()))
		}
	}
	return max(wait, 0)
}

// due are the passes that are to begin now. Those of a group that are due soon come
// along, so that one question does for all and they stay together.
func (w *Watcher) due(states map[*Target]*state) [][]job {
	now := time.Now()
	groups := map[string]bool{}
	for _, s := range states {
		if !s.running && !s.at().After(now) {
			groups[s.Group] = true
		}
	}
	together := map[string][]job{}
	var list [][]job
	for _, t := range w.Targets {
		s := states[t]
		soon := now
		if s.Group != "" && groups[s.Group] {
			soon = now.Add(s.period() / 4)
		}
		switch {
		case s.running || s.at().After(soon) || s.blocked.After(now):
		case s.Group == "" || w.AskAll == nil:
			list = append(list, []job{s.begin(now)})
		default:
			together[s.Group] = append(together[s.Group], s.begin(now))
		}
	}
	for _, jobs := range together {
		list = append(list, jobs)
	}
	return list
}

// job is a pass that is to be made.
type job struct {
	*Target
	skip string // the commit that is not to be tried now, since it has failed
}

// pass makes one pass of targets of one group, and tells of each of them.
func (w *Watcher) pass(ctx context.Context, jobs []job, passed chan<- Pass) {
	begun := time.Now()
	ask := func(targets []*Target) []Answer {
		w.asking <- struct{}{}
		defer func() { <-w.asking }()
		if len(targets) > 1 {
			return w.AskAll(ctx, targets)
		}
		wanted, err := targets[0].Ask(ctx)
		return []Answer{{wanted, err}}
	}
	if len(jobs) > 1 && w.AskAll != nil {
		var targets []*Target
		for _, j := range jobs {
			targets = append(targets, j.Target)
		}
		for i, a := range ask(targets) {
			go func() { passed <- w.publish(ctx, jobs[i], a, begun) }()
		}
		return
	}
	for _, j := range jobs {
		go func() { passed <- w.publish(ctx, j, ask([]*Target{j.Target})[0], begun) }()
	}
}

// publish brings about what is wanted.
func (w *Watcher) publish(ctx context.Context, j job, a Answer, begun time.Time) Pass {
	p := Pass{Target: j.Target, Commit: a.Wanted.Commit, Err: a.Err}
	var done Done
	switch {
	case p.Err != nil:
	case j.skip != "" && j.skip == p.Commit:
		p.Outcome = Waiting
	default:
		w.working <- struct{}{}
		done, p.Err = j.Publish(ctx, a.Wanted)
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

// state is what the loop knows of a target.
type state struct {
	*Target
	next    time.Time // when it is asked about again
	blocked time.Time // and not before this, whatever is wished
	running bool

	failures int       // in a row
	refused  string    // the commit that could not be published
	retry    time.Time // when that is tried again

	waiting  []func(error) // for the end of a pass that has not begun
	answered []func(error) // for the end of the one that is under way
}

// at is when the next pass is due.
func (s *state) at() time.Time {
	next := s.next
	if len(s.waiting) > 0 {
		next = time.Time{}
	}
	if next.Before(s.blocked) {
		return s.blocked
	}
	return next
}

// triggered notes that there may be news. What has failed before is tried again.
func (s *state) triggered(done func(error)) {
	s.waiting = append(s.waiting, done)
	s.retry = time.Time{}
}

func (s *state) begin(now time.Time) job {
	s.running = true
	s.answered, s.waiting = s.waiting, nil
	j := job{Target: s.Target}
	if s.retry.After(now) {
		j.skip = s.refused
	}
	return j
}

// ended notes how a pass has ended, and returns when something that failed is tried
// again. What failed before anything was known is asked again later and later; a commit
// that cannot be published is asked about as ever, since a push may mend it.
func (s *state) ended(p Pass, stayAway func(error) time.Duration) time.Time {
	now := time.Now()
	s.running = false
	s.next = now.Add(around(s.period()))
	switch {
	case p.Outcome == Waiting:
		return s.retry
	case p.Outcome != Failed:
		s.failures, s.refused, s.retry = 0, "", time.Time{}
		return time.Time{}
	}
	again := around(min(s.period()<<min(s.failures, 20), max(mostBackoff, s.period())))
	s.failures++
	if p.Commit == "" {
		s.next = now.Add(again)
	} else {
		s.refused, s.retry = p.Commit, now.Add(again)
	}
	if stayAway != nil {
		if away := stayAway(p.Err); away > 0 {
			s.blocked = now.Add(away)
			again = max(again, away)
		}
	}
	return now.Add(again)
}

// answer tells those who asked for the pass that has ended.
func (s *state) answer(err error) {
	for _, done := range s.answered {
		done(err)
	}
	s.answered = nil
}

// tell tells those who asked for one that never began.
func (s *state) tell(err error) {
	for _, done := range s.waiting {
		done(err)
	}
	s.waiting = nil
}

// around is a time, give or take a tenth, so that not all machines ask at once.
func around(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
