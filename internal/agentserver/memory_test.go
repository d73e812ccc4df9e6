package agentserver

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Used for a day, and then no more: without a token and without an end there is
// nothing left, not even a goroutine, which the bubble would find.
func TestAgentHoldsNothingThatHasRunOut(t *testing.T) {
	const many, hours = 50, 24
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		for hour := range hours {
			for i := range many {
				name := fmt.Sprint("acme/r", hour, "-", i)
				h.add(name)
				h.use(name)
			}
			testkit.Equal(t, len(h.list()), many, "hour %d", hour)
			time.Sleep(time.Hour + time.Minute)
			synctest.Wait()
			testkit.Equal(t, len(h.held), 0, "hour %d", hour)
		}
	})
}

// asleep lets the machine sleep: the wall's clock goes on, and no timer does. Seen from
// there, the token was minted so much earlier, and runs out so much earlier.
func (h *holding) asleep(token *ghapp.Token, d time.Duration) {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	token.MintedAt, token.ExpiresAt = token.MintedAt.Add(-d), token.ExpiresAt.Add(-d)
}

// The timers sleep as well: whether a token is good is asked anew each time.
func TestTokenThatRanOutWhileTheMachineSleptIsNotServed(t *testing.T) {
	for _, test := range []struct {
		slept  time.Duration
		served bool // the first one, once more
		mints  int
	}{
		{20 * time.Minute, true, 1},
		{57 * time.Minute, true, 2}, // it is renewed meanwhile
		{59*time.Minute + 30*time.Second, false, 2},
		{8 * time.Hour, false, 2},
	} {
		t.Run(test.slept.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHolding(t)
				first := h.use("acme/site")
				time.Sleep(time.Minute / 2)
				h.asleep(first, test.slept)
				testkit.Equal(t, len(h.list()) == 1, (first.Life() > 0), "listed as one that lives")
				again := h.use("acme/site")
				testkit.Equal(t, again == first, test.served, "served once more with %s left", again.Life())
				synctest.Wait()
				if next := h.use("acme/site"); next.Life() <= 0 || h.github.Mints() != test.mints {
					t.Errorf("then one with %s left; %d mints", next.Life(), h.github.Mints())
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				testkit.Equal(t, len(h.held), 0, "held: %v", h.list())
			})
		})
	}
}

// When its timer goes off at last, nobody is there to use what would be minted.
func TestTokenThatRanOutWhileTheMachineSleptIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		h.use("acme/site")
		time.Sleep(45 * time.Minute)
		h.asleep(h.use("acme/site"), 8*time.Hour)
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		testkit.Equal(t, h.github.Mints(), 1, "mints; held: %v", h.list())
		testkit.Equal(t, len(h.held), 0, "mints; held: %v", h.list())
	})
}

// collected reports whether something is garbage, as it becomes once nothing refers to
// it any more.
func collected[T any](p weak.Pointer[T]) bool {
	for range 100 {
		runtime.GC()
		if p.Value() == nil {
			return true
		}
		time.Sleep(10 * time.Millisecond) // what was told to end ends
	}
	return false
}

func TestConfigurationThatIsUsedNoMoreIsForgotten(t *testing.T) {
	s := newService(t, "")
	testkit.OK(t, s.ask())
	before := s.now.Load()
	old := weak.Make(before)
	var keys []weak.Pointer[apps.App]
	for _, i := range before.opener.Apps() {
		keys = append(keys, weak.Make(i))
	}
	before = nil
	testkit.OK(t, s.configure(t.Context()))
	if !collected(old) || len(keys) != 1 || !collected(keys[0]) {
		t.Error("the configuration before, or its key, is held")
	}
	testkit.OK(t, s.ask())
}

func TestNothingRunsOnceTheAgentHasEnded(t *testing.T) {
	const many, times = 30, 5
	s := newService(t, "")
	ask := func(i int) {
		t.Helper()
		answer, err := s.Credential(t.Context(), credential.Get,
			&credential.Credential{Protocol: "http", Host: s.host, Path: fmt.Sprint("acme/r", i, ".git")})
		if err != nil || answer == nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		s.add(fmt.Sprint("acme/r", i))
	}
	before := runtime.NumGoroutine()
	for range times {
		for i := range many {
			ask(i)
		}
		testkit.Equal(t, len(s.now.Load().tokens.list()), many, "tokens are held")
		testkit.OK(t, s.configure(t.Context()))
	}
	ask(0)
	s.Close()
	var now int
	for range 100 {
		// Those of the stand-in end a moment after ours.
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	all := make([]byte, 1<<16)
	t.Errorf("%d goroutines run, %d did before:\n%s", now, before, all[:runtime.Stack(all, true)])
}
