package watch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// world is a target whose commit, failures and speed a test decides.
type world struct {
	mu        sync.Mutex
	commit    string
	askErr    error
	publish   func(commit string) (Done, error)
	asked     []time.Time
	published []string
	shows     string
	passes    []Pass
}

func (w *world) target(name string) *Target {
	return &Target{
		Name: name, Period: time.Minute,
		Ask: func(context.Context) (Desired, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked = append(w.asked, time.Now())
			return Desired{Commit: w.commit}, w.askErr
		},
		Publish: func(_ context.Context, wanted Desired) (Done, error) {
			w.mu.Lock()
			publish := w.publish
			if publish == nil && w.shows == wanted.Commit {
				w.mu.Unlock()
				return Done{}, nil
			}
			w.published = append(w.published, wanted.Commit)
			w.mu.Unlock()
			if publish != nil {
				return publish(wanted.Commit)
			}
			w.mu.Lock()
			w.shows = wanted.Commit
			w.mu.Unlock()
			return Done{Changed: true}, nil
		},
	}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// run runs a watcher in a bubble for as long as do takes.
func run(t *testing.T, watcher *Watcher, w *world, do func(ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		watcher.OnPass = func(p Pass) { w.set(func() { w.passes = append(w.passes, p) }) }
		var ended sync.WaitGroup
		ended.Go(func() { watcher.Run(ctx) })
		synctest.Wait()
		do(ctx)
		cancel(errEnd)
		ended.Wait()
	})
}

var errEnd = errors.New("the end")

func (w *world) outcomes() []Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Outcome
	for _, p := range w.passes {
		list = append(list, p.Outcome)
	}
	return list
}

func TestAsksOncePerPeriodMoreOrLess(t *testing.T) {
	w := &world{commit: "a"}
	run(t, &Watcher{Targets: []*Target{w.target("site")}}, w, func(context.Context) {
		time.Sleep(30 * time.Minute)
		w.set(func() {
			if n := len(w.asked); n < 27 || n > 35 {
				t.Errorf("asked %d times in 30 minutes", n)
			}
			gaps := map[time.Duration]bool{}
			for i := range w.asked[1:] {
				gap := w.asked[i+1].Sub(w.asked[i])
				gaps[gap] = true
				if gap < 54*time.Second || gap > 66*time.Second {
					t.Errorf("%s between two questions", gap)
				}
			}
			if len(gaps) < 2 {
				t.Error("no jitter")
			}
			if !slices.Equal(w.published, []string{"a"}) {
				t.Errorf("published %q", w.published)
			}
		})
	})
}

func TestTriggerIsAnsweredByAPassThatBeganAfterIt(t *testing.T) {
	w := &world{commit: "a"}
	site := w.target("site")
	watcher := &Watcher{Targets: []*Target{site}}
	run(t, watcher, w, func(ctx context.Context) {
		w.set(func() {
			w.publish = func(string) (Done, error) { time.Sleep(10 * time.Second); return Done{Changed: true}, nil }
		})
		got := make(chan error, 2)
		began := time.Now()
		watcher.Trigger(ctx, site, func(err error) { got <- err })
		synctest.Wait()
		time.Sleep(time.Second) // the pass is under way
		watcher.Trigger(ctx, site, func(err error) { got <- err })
		<-got
		testkit.Equal(t, time.Since(began), 10*time.Second, "the first took")
		<-got
		testkit.Equal(t, time.Since(began), 20*time.Second, "the second took")
	})
}

func TestFailingQuestionsAreAskedLessAndLessOften(t *testing.T) {
	w := &world{askErr: errors.New("no network")}
	run(t, &Watcher{Targets: []*Target{w.target("site")}}, w, func(context.Context) {
		time.Sleep(2 * time.Hour)
		w.set(func() {
			if n := len(w.asked); n < 9 || n > 14 { // 1, 2, 4, 8, 15, 15 … minutes
				t.Errorf("asked %d times in two hours", n)
			}
			if gap := w.asked[len(w.asked)-1].Sub(w.asked[len(w.asked)-2]); gap > maxBackoff*11/10 {
				t.Errorf("%s between two questions", gap)
			}
			w.askErr, w.commit = nil, "a"
		})
		time.Sleep(17 * time.Minute)
		w.set(func() {
			if !slices.Equal(w.published, []string{"a"}) {
				t.Errorf("it did not recover: %q", w.published)
			}
		})
	})
}

// A commit that does not pass its check is not built every minute; one that mends it
// does not wait.
func TestFailingCommitWaitsAndANewOneDoesNot(t *testing.T) {
	w := &world{commit: "bad"}
	w.publish = func(commit string) (Done, error) {
		if commit == "bad" {
			return Done{}, errors.New("the check failed")
		}
		return Done{Changed: true}, nil
	}
	run(t, &Watcher{Targets: []*Target{w.target("site")}}, w, func(context.Context) {
		time.Sleep(20 * time.Minute)
		w.set(func() {
			if n := len(w.published); n < 4 || n > 6 { // 0, 1, 3, 7, 15
				t.Errorf("tried %d times in 20 minutes", n)
			}
			if n := len(w.asked); n < 18 {
				t.Errorf("asked %d times only", n)
			}
			w.commit = "good"
		})
		before := time.Now()
		time.Sleep(70 * time.Second)
		w.set(func() {
			last := w.passes[len(w.passes)-1]
			if w.published[len(w.published)-1] != "good" || last.Outcome != Published && last.Outcome != Unchanged {
				t.Errorf("%s after it was pushed: %q, %+v", time.Since(before), w.published, last)
			}
		})
	})
	if outcomes := w.outcomes(); !slices.Contains(outcomes, Waiting) || !slices.Contains(outcomes, Failed) {
		t.Errorf("%q", outcomes)
	}
}

// When a commit that has failed is tried again is told, and that is when it is, though the next
// question would come much later.
func TestFailedCommitIsTriedAgainWhenItWasSaid(t *testing.T) {
	w := &world{commit: "bad"}
	w.publish = func(string) (Done, error) { return Done{}, errors.New("the check failed") }
	run(t, &Watcher{Targets: []*Target{w.target("site")}}, w, func(context.Context) {
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i := 1; i < len(w.passes); i++ {
			if before, now := w.passes[i-1], w.asked[i]; now.After(before.Retry) {
				t.Errorf("pass %d at %s, and it was said to be at %s", i, now, before.Retry)
			} else if p := w.passes[i]; p.Outcome == Failed && !now.Equal(before.Retry) {
				t.Errorf("pass %d tried at %s, and it was said to be at %s", i, now, before.Retry)
			}
		}
		testkit.Equal(t, len(w.published), 4, "tried")
	})
}

func TestTriggerTriesWhatHasFailedAgain(t *testing.T) {
	w := &world{commit: "bad"}
	w.publish = func(commit string) (Done, error) { return Done{}, errors.New("the check failed") }
	site := w.target("site")
	watcher := &Watcher{Targets: []*Target{site}}
	run(t, watcher, w, func(ctx context.Context) {
		time.Sleep(20 * time.Minute)
		tried := 0
		w.set(func() { tried = len(w.published) })
		got := make(chan error, 1)
		watcher.Trigger(ctx, site, func(err error) { got <- err })
		err := <-got
		w.set(func() {
			if err == nil || len(w.published) != tried+1 {
				t.Errorf("%v, tried %d times and %d before", err, len(w.published), tried)
			}
		})
	})
}

func TestServerThatSaysWhenToComeBackIsLeftAlone(t *testing.T) {
	limited := errors.New("rate limited")
	w := &world{askErr: limited}
	site := w.target("site")
	watcher := &Watcher{Targets: []*Target{site}, RetryAfter: func(err error) time.Duration {
		if errors.Is(err, limited) {
			return 40 * time.Minute
		}
		return 0
	}}
	run(t, watcher, w, func(context.Context) {
		time.Sleep(39 * time.Minute)
		w.set(func() {
			testkit.Equal(t, len(w.asked), 1, "asked")
			w.askErr, w.commit = nil, "a"
		})
		time.Sleep(2 * time.Minute)
		w.set(func() {
			testkit.Equal(t, len(w.published), 1, "published %q", w.published)
		})
	})
}

// What a server says of years is believed for an hour.
func TestServerThatWantsToBeLeftAloneForYearsIsAskedWithinTheHour(t *testing.T) {
	for _, away := range []time.Duration{math.MaxInt64, 24 * 365 * time.Hour, -24 * 365 * time.Hour, math.MinInt64} {
		w := &world{askErr: errors.New("rate limited")}
		watcher := &Watcher{Targets: []*Target{w.target("site")}, RetryAfter: func(error) time.Duration { return away }}
		run(t, watcher, w, func(context.Context) {
			time.Sleep(time.Hour + time.Second)
			w.set(func() {
				if len(w.asked) < 2 || away > 0 && len(w.asked) > 2 {
					t.Errorf("%s: asked %d times in an hour", away, len(w.asked))
				}
				if again := w.passes[0].Retry.Sub(w.asked[0]); again <= 0 || again > time.Hour {
					t.Errorf("%s: it was told that it is asked again in %s", away, again)
				}
			})
		})
	}
}

// Whoever says that there is news may know that the server is well: it is tried, at once
// and then not more than once a minute.
func TestTriggerTriesAServerThatWantedToBeLeftAlone(t *testing.T) {
	limited := errors.New("rate limited")
	w := &world{askErr: limited}
	site := w.target("site")
	watcher := &Watcher{Targets: []*Target{site}, RetryAfter: func(err error) time.Duration { return 50 * time.Minute }}
	run(t, watcher, w, func(ctx context.Context) {
		time.Sleep(10 * time.Second)
		got := make(chan error, 1)
		begun := time.Now()
		watcher.Trigger(ctx, site, func(err error) { got <- err })
		if err := <-got; !errors.Is(err, limited) || time.Since(begun) > time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		for range 30 { // a flood of them in ten minutes
			watcher.Trigger(ctx, site, nil)
			time.Sleep(20 * time.Second)
		}
		w.set(func() {
			if n := len(w.asked); n < 9 || n > 13 {
				t.Errorf("asked %d times", n)
			}
			w.askErr, w.commit = nil, "a"
		})
		watcher.Trigger(ctx, site, func(err error) { got <- err })
		if err := <-got; err != nil {
			t.Error(err)
		}
		w.set(func() { w.asked = nil })
		time.Sleep(10 * time.Minute) // and it is asked as ever, since it has answered
		w.set(func() {
			if n := len(w.asked); n < 8 {
				t.Errorf("asked %d times", n)
			}
		})
	})
}

// However long the period is and however often it fails, the time until it is tried again
// is no less than the period, and bounded.
func TestBackoffOfALongPeriodDoesNotOverflow(t *testing.T) {
	for _, period := range []time.Duration{time.Nanosecond, time.Second, time.Minute,
		1000 * time.Hour, math.MaxInt64 / 2} {
		s := &state{Target: &Target{Period: period}}
		for range 100 {
			if d := s.backoff(); d < period || d > max(period, maxBackoff) {
				t.Errorf("period %s, after %d failures: %s", period, s.failures, d)
			}
			s.failures++
		}
	}
}

// Others are put in the place of the targets while a pass is under way: it ends as it would
// have, the changed one is not worked on beside it, and nobody who waits is forgotten.
func TestReplacedTargetsLoseNoPass(t *testing.T) {
	w, other := &world{commit: "a"}, &world{commit: "x"}
	w.publish = func(string) (Done, error) {
		time.Sleep(10 * time.Second)
		return Done{Changed: true}, nil
	}
	site, gone := w.target("site"), other.target("gone")
	watcher := &Watcher{Targets: []*Target{site, gone}}
	run(t, watcher, w, func(ctx context.Context) {
		waits := make(chan error, 1)
		watcher.Trigger(ctx, site, func(err error) { waits <- err })
		time.Sleep(time.Second)
		changed := &world{commit: "b"}
		added := &world{commit: "n"}
		ended := testkit.Must(watcher.Replace(ctx, []*Target{changed.target("site"), added.target("added")}, nil))(t)
		lost := make(chan error, 1)
		watcher.Trigger(ctx, gone, func(err error) { lost <- err })
		testkit.ErrorIs(t, <-lost, ErrRemoved, "of a target that is gone")
		time.Sleep(time.Second)
		select {
		case <-ended:
			t.Error("a pass is said to have ended that is under way")
		default:
		}
		added.set(func() {
			testkit.Equal(t, len(added.asked), 1, "the new target was asked about")
		})
		changed.set(func() {
			testkit.Equal(t, len(changed.asked), 0, "two passes of one target at the same time")
		})
		<-ended
		if err := <-waits; err != nil {
			t.Errorf("who waited for it: %v", err)
		}
		synctest.Wait()
		changed.set(func() {
			if len(changed.asked) != 1 || !slices.Equal(changed.published, []string{"b"}) {
				t.Errorf("the changed target was asked about %d times and published %q", len(changed.asked), changed.published)
			}
		})
		w.set(func() {
			if n := len(w.passes); n == 0 || !slices.ContainsFunc(w.passes,
				func(p Pass) bool { return p.Target == site && p.Outcome == Published }) {
				t.Errorf("its pass was not told: %+v", w.passes)
			}
		})
		time.Sleep(10 * time.Minute)
		other.set(func() {
			testkit.Equal(t, len(other.asked), 1, "a target that is gone was asked about")
		})
		if watcher.Find("gone") != nil || watcher.Find("added") == nil || len(watcher.All()) != 2 {
			t.Errorf("%v", watcher.All())
		}
	})
}

// A server is left alone across a change of the configuration, but for one try.
func TestReplacedTargetIsTriedOnceThoughItsServerWantsToBeLeftAlone(t *testing.T) {
	w := &world{askErr: errors.New("rate limited")}
	watcher := &Watcher{Targets: []*Target{w.target("site")},
		RetryAfter: func(error) time.Duration { return 50 * time.Minute }}
	run(t, watcher, w, func(ctx context.Context) {
		for range 20 {
			time.Sleep(time.Second)
			if _, err := watcher.Replace(ctx, []*Target{w.target("site")}, nil); err != nil {
				t.Error(err)
			}
		}
		w.set(func() {
			testkit.Equal(t, len(w.asked), 2, "asked")
		})
	})
}

func TestGroupIsAskedInOneQuestionAndStaysTogether(t *testing.T) {
	w := &world{commit: "a"}
	var targets []*Target
	for i := range 20 {
		one := &world{commit: "a"}
		target := one.target(fmt.Sprint(i))
		target.Group = "acme"
		target.Ask = func(context.Context) (Desired, error) {
			t.Error("asked alone")
			return Desired{}, nil
		}
		targets = append(targets, target)
	}
	var questions []int
	watcher := &Watcher{Targets: targets, AskAll: func(_ context.Context, targets []*Target) []Answer {
		w.set(func() { questions = append(questions, len(targets)) })
		answers := make([]Answer, len(targets))
		for i := range answers {
			answers[i].Desired.Commit = "a"
		}
		return answers
	}}
	run(t, watcher, w, func(context.Context) {
		time.Sleep(10 * time.Minute)
		w.set(func() {
			if len(questions) > 13 {
				t.Errorf("%d questions in ten minutes: %v", len(questions), questions)
			}
			for _, n := range questions {
				testkit.Equal(t, n, 20, "a question about")
			}
		})
	})
}

func TestOnlySoManyArePublishedAtOnce(t *testing.T) {
	w := &world{}
	now, most := 0, 0
	var targets []*Target
	for i := range 10 {
		target := w.target(fmt.Sprint(i))
		target.Publish = func(context.Context, Desired) (Done, error) {
			w.set(func() { now++; most = max(most, now) })
			time.Sleep(time.Second)
			w.set(func() { now-- })
			return Done{}, nil
		}
		targets = append(targets, target)
	}
	run(t, &Watcher{Targets: targets, Jobs: 3}, w, func(context.Context) { time.Sleep(10 * time.Second) })
	testkit.Equal(t, most, 3, "at once")
}

func TestEndWaitsForWhatIsUnderWayAndAnswersAll(t *testing.T) {
	w := &world{commit: "a"}
	site := w.target("site")
	stopped := false
	site.Publish = func(ctx context.Context, _ Desired) (Done, error) {
		<-ctx.Done()
		time.Sleep(time.Second)
		stopped = true
		return Done{}, context.Cause(ctx)
	}
	watcher := &Watcher{Targets: []*Target{site}}
	got := make(chan error, 2)
	run(t, watcher, w, func(ctx context.Context) {
		watcher.Trigger(ctx, site, func(err error) { got <- err })
		synctest.Wait()
	})
	if !stopped {
		t.Error("it did not wait")
	}
	testkit.ErrorIs(t, <-got, errEnd)
}

func TestAliveOnlyWhileTheLoopAnswers(t *testing.T) {
	w := &world{commit: "a"}
	watcher := &Watcher{Targets: []*Target{w.target("site")}}
	run(t, watcher, w, func(ctx context.Context) {
		if !watcher.Alive(ctx) {
			t.Error("it is alive")
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if new(Watcher).Alive(ctx) {
		t.Error("it does not run")
	}
}

func TestOnceTellsWhatBecameOfEach(t *testing.T) {
	good, bad := &world{commit: "a"}, &world{askErr: errors.New("no")}
	watcher := &Watcher{Targets: []*Target{good.target("good"), bad.target("bad"), good.target("again")}}
	passes := watcher.Once(t.Context())
	if len(passes) != 3 || passes[0].Target.Name != "good" || passes[1].Outcome != Failed ||
		passes[1].Err == nil || passes[2].Outcome == Failed {
		t.Errorf("%+v", passes)
	}
}
