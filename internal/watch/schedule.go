package watch

import (
	"context"
	"math/rand/v2"
	"time"
)

// loop is what [Watcher.Run] knows; no other goroutine does.
type loop struct {
	watcher *Watcher
	now     *generation
	states  map[string]*state // by the names of the targets
	passed  chan ended
	running int // passes that are under way, of all generations
}

// replace puts a generation in the place of the one before it, which it returns.
func (l *loop) replace(next *generation) *generation {
	before := l.now
	for _, s := range l.states {
		s.removed = true
	}
	for _, t := range next.targets {
		s := l.states[t.Name]
		if s == nil {
			s = &state{}
			l.states[t.Name] = s
		}
		s.Target, s.removed = t, false
		s.failures, s.refused = 0, ""
		s.triggered(func(error) {})
	}
	for name, s := range l.states {
		if !s.removed {
			continue
		}
		s.abandon(ErrRemoved)
		if !s.running {
			delete(l.states, name)
		}
	}
	l.now, before.over = next, true
	l.watcher.mu.Lock()
	l.watcher.now = next.targets
	l.watcher.mu.Unlock()
	before.closeIfDone()
	return before
}

// ended handles the end of a pass: it schedules the target anew, tells [Watcher.OnPass], and
// answers everybody who asked for the pass.
func (l *loop) ended(ctx context.Context, e ended) {
	p, s := e.Pass, l.states[e.Target.Name]
	l.running--
	e.generation.passes--
	if p.Target == s.Target {
		p.Retry = s.ended(p, l.watcher.RetryAfter)
	} else {
		// Another has taken its place meanwhile, and is asked about next.
		s.running = false
	}
	if p.Err == nil || ctx.Err() == nil { // else it was stopped, which is no outcome
		l.watcher.onPass(p)
	}
	s.answer(p.Err)
	if s.removed {
		delete(l.states, s.Name)
	}
	e.generation.closeIfDone()
}

// idle is how long there is nothing to begin.
func (l *loop) idle() time.Duration {
	wait := time.Hour
	for _, s := range l.states {
		if !s.running {
			wait = min(wait, time.Until(s.at()))
		}
	}
	return max(wait, 0)
}

// due are the passes that are to begin now. Those of a group that are due soon come
// along, so that one question does for all and they stay together.
func (l *loop) due() [][]job {
	now := time.Now()
	groups := map[string]bool{}
	for _, s := range l.states {
		if !s.running && !s.at().After(now) {
			groups[s.Group] = true
		}
	}
	grouped := map[string][]job{}
	var list [][]job
	for _, t := range l.now.targets {
		s := l.states[t.Name]
		soon := now
		if s.Group != "" && groups[s.Group] {
			soon = now.Add(s.Every() / 4)
		}
		switch {
		case s.running || s.at().After(soon) || s.at().After(now) && s.blocked.After(now):
		case s.Group == "" || l.now.askAll == nil:
			list = append(list, []job{s.begin(now)})
		default:
			grouped[s.Group] = append(grouped[s.Group], s.begin(now))
		}
	}
	for _, jobs := range grouped {
		list = append(list, jobs)
	}
	return list
}

// state is what the loop knows of a target.
type state struct {
	*Target
	next    time.Time // when it is asked about again
	blocked time.Time // the server wants to be left alone until then; only a trigger comes earlier
	tried   time.Time // when a pass last began before blocked was over
	running bool
	removed bool // it is not watched any more; a pass of it is under way

	failures int       // in a row
	refused  string    // the commit that could not be published
	retry    time.Time // when that is tried again

	waiting  []func(error) // for the end of a pass that has not begun
	answered []func(error) // for the end of the one that is under way
}

// at is when the next pass is due.
func (s *state) at() time.Time {
	next, least := s.next, s.blocked
	if len(s.waiting) > 0 {
		// Whoever asks for a pass may know that the server is well again.
		next = time.Time{}
		if try := s.tried.Add(betweenTries); try.Before(least) {
			least = try
		}
	}
	if next.Before(least) {
		return least
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
	if s.blocked.After(now) {
		s.tried = now
	}
	s.answered, s.waiting = s.waiting, nil
	j := job{Target: s.Target}
	if s.retry.After(now) {
		j.skip = s.refused
	}
	return j
}

// ended notes the outcome of a pass and schedules the next one. It returns when a failure is
// tried again; zero: nothing has failed. Where it is not known which commit is wanted, the
// target is asked again after pauses that grow with each failure. Where a commit could not be
// published, that commit waits as long, but the target is asked in every period, since a push
// may mend it. stayAway is [Watcher.RetryAfter].
func (s *state) ended(p Pass, stayAway func(error) time.Duration) time.Time {
	now := time.Now()
	s.running = false
	s.next = now.Add(jitter(s.Every()))
	if p.Outcome != Failed {
		s.blocked = time.Time{} // a pass has succeeded before the time was over
	}
	switch {
	case p.Outcome == Waiting:
		s.next = earlier(s.next, s.retry)
		return s.retry
	case p.Outcome != Failed:
		s.failures, s.refused, s.retry = 0, "", time.Time{}
		return time.Time{}
	}
	again := jitter(s.backoff())
	s.failures++
	if p.Commit == "" {
		s.next = now.Add(again)
	} else {
		s.refused, s.retry = p.Commit, now.Add(again)
		s.next = earlier(s.next, s.retry)
	}
	if stayAway != nil {
		if away := min(stayAway(p.Err), maxRetryAfter); away > 0 {
			s.blocked = now.Add(away)
			again = max(again, away)
		}
	}
	return now.Add(again)
}

// earlier is the one of two moments that comes first.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// backoff is twice as long with each failure, and bounded.
func (s *state) backoff() time.Duration {
	again, most := s.Every(), max(maxBackoff, s.Every())
	for range s.failures {
		if again >= most/2 { // to double it could be more than a Duration holds
			return most
		}
		again *= 2
	}
	return again
}

// answer calls back everybody who asked for the pass that has just ended, with its error.
func (s *state) answer(err error) {
	for _, done := range s.answered {
		done(err)
	}
	s.answered = nil
}

// abandon calls back everybody who asked for a pass that is never to begin.
func (s *state) abandon(err error) {
	for _, done := range s.waiting {
		done(err)
	}
	s.waiting = nil
}

// jitter returns d, give or take a tenth, so that not all machines ask at once.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
