package ghapp_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestWarmSourceAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	source := w.Open(t).TokenSource(site())
	ctx := t.Context()
	testkit.Must(source.Token(ctx))(t)
	testkit.Equal(t, testing.AllocsPerRun(1000, func() {
		if _, err := source.Token(ctx); err != nil {
			t.Error(err)
		}
	}), 0, "allocations")
}

func TestWarmSourceAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.Open(t).TokenSource(site())
		first := testkit.Must(source.Token(t.Context()))(t)
		w.GitHub.ResetRequests()
		for range 500 {
			token, err := source.Token(t.Context())
			if err != nil || token != first {
				t.Fatalf("another token after %s, %v", ageOf(first), err)
			}
			time.Sleep(6 * time.Second)
		}
		testkit.Equal(t, len(w.calls()), 0, "requests")
	})
}

func TestSourceKeepsMinLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := site()
		r.MinLife = 30 * time.Minute
		source := w.Open(t).TokenSource(r)
		for range 200 {
			token, err := source.Token(t.Context())
			if err != nil || token.Life() <= 30*time.Minute {
				t.Fatalf("life %s, %v", token.Life(), err)
			}
			time.Sleep(30 * time.Second)
		}
		testkit.Equal(t, w.GitHub.Mints(), 4, "mints in 100 minutes")
	})
}

func TestSourceKeepsMinLifeToTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := site()
		r.MinLife = 30 * time.Minute
		source := w.Open(t).TokenSource(r)
		testkit.Must(source.Token(t.Context()))(t)
		// Asked just before the moment, so that the lease was looked into just now.
		time.Sleep(30*time.Minute - 400*time.Millisecond)
		for range 10 {
			token, err := source.Token(t.Context())
			if err != nil || token.Life() < 30*time.Minute {
				t.Fatalf("life %s, %v", token.Life(), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		testkit.Equal(t, w.GitHub.Mints(), 2, "mints")
	})
}

func TestSourceNeverHandsOutAnExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.GitHub.SetTokenLife(6 * time.Second) // the ages of a token are shares of its life
		source := w.Open(t).TokenSource(site())
		for range 400 {
			token, err := source.Token(t.Context())
			if err != nil || token.Life() <= 0 {
				t.Fatalf("life %s, %v", token.Life(), err)
			}
			time.Sleep(70 * time.Millisecond)
			synctest.Wait()
		}
	})
}

func TestSourceObeysItsCallersContextWhenCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Delay: time.Minute / 3})
		source := w.Open(t).TokenSource(site())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := source.Token(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		// The context of one call is not kept: the source works on.
		testkit.Must(source.Token(t.Context()))(t)
		time.Sleep(time.Minute)
	})
}

func TestSourceDropsATokenThatTheAppHasReplaced(t *testing.T) {
	// The source leases a token; someone who needed a longer life made the App mint
	// another. When GitHub refuses the leased one, the source must let go of it.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		source := app.TokenSource(site())
		leased := testkit.Must(source.Token(t.Context()))(t)
		time.Sleep(20 * time.Minute)
		long := site()
		long.MinLife = 50 * time.Minute
		mustToken(t, app, long)
		testkit.OK(t, source.(ghapp.Invalidator).Invalidate(t.Context(), leased))
		next, err := source.Token(t.Context())
		if err != nil || next.Secret.Reveal() == leased.Secret.Reveal() {
			t.Errorf("the refused token is handed out again (%v)", err)
		}
		testkit.Equal(t, w.GitHub.Mints(), 2, "mints")
	})
}

func TestSourceDropsInTheStoreAndNoYoungToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		source := w.Open(t, share).TokenSource(site())
		drop := func(token *ghapp.Token) {
			testkit.OK(t, source.(ghapp.Invalidator).Invalidate(t.Context(), token))
		}
		first := testkit.Must(source.Token(t.Context()))(t)
		drop(first)
		testkit.Equal(t, testkit.Must(source.Token(t.Context()))(t), first, "a token was dropped in its first second")
		time.Sleep(time.Minute)
		drop(first)
		if token := mustToken(t, w.Open(t, share), site()); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("the store still gives the refused token to the next process")
		}
	})
}

func TestRevokedTokenThatTheAppHasReplacedIsNotLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		source := app.TokenSource(site())
		leased := testkit.Must(source.Token(t.Context()))(t)
		time.Sleep(20 * time.Minute)
		long := site()
		long.MinLife = 50 * time.Minute
		mustToken(t, app, long)
		testkit.OK(t, app.Revoke(t.Context(), leased))
		if token, err := source.Token(t.Context()); err != nil || token == leased {
			t.Errorf("a revoked token is handed out (%v)", err)
		}
	})
}

func TestSourceIsSafeForConcurrentUse(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	source := app.TokenSource(site())
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 50 {
				token, err := source.Token(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				_, _, _ = token.Life(), token.Propagating(), token.Permissions.String()
				_ = source.(ghapp.Invalidator).Invalidate(t.Context(), token)
			}
		})
	}
	group.Wait()
}
