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
)

func TestWarmSourceAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	source := w.app(t).TokenSource(site())
	ctx := t.Context()
	if _, err := source.Token(ctx); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := source.Token(ctx); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func TestWarmSourceAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.app(t).TokenSource(site())
		first, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.gh.ResetRequests()
		for range 500 {
			token, err := source.Token(t.Context())
			if err != nil || token != first {
				t.Fatalf("another token after %s, %v", ageOf(first), err)
			}
			time.Sleep(6 * time.Second)
		}
		if calls := w.calls(); len(calls) != 0 {
			t.Errorf("requests: %v", calls)
		}
	})
}

func TestSourceKeepsMinLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := site()
		r.MinLife = 30 * time.Minute
		source := w.app(t).TokenSource(r)
		for range 200 {
			token, err := source.Token(t.Context())
			if err != nil || token.Life() <= 30*time.Minute {
				t.Fatalf("life %s, %v", token.Life(), err)
			}
			time.Sleep(30 * time.Second)
		}
		if n := w.gh.Mints(); n != 4 {
			t.Errorf("%d mints in 100 minutes, want one every 30", n)
		}
	})
}

func TestSourceKeepsMinLifeToTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := site()
		r.MinLife = 30 * time.Minute
		source := w.app(t).TokenSource(r)
		if _, err := source.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Asked just before the moment, so that the lease was looked into just now.
		time.Sleep(30*time.Minute - 400*time.Millisecond)
		for range 10 {
			token, err := source.Token(t.Context())
			if err != nil || token.Life() < 30*time.Minute {
				t.Fatalf("life %s, %v", token.Life(), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.gh.Mints(); n != 2 {
			t.Errorf("%d mints, want 2", n)
		}
	})
}

func TestSourceNeverHandsOutAnExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.gh.SetTokenLife(6 * time.Second) // the ages of a token are shares of its life
		source := w.app(t).TokenSource(site())
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
		source := w.app(t).TokenSource(site())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := source.Token(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		// The context of one call is not kept: the source works on.
		if _, err := source.Token(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}

func TestSourceDropsATokenThatTheAppHasReplaced(t *testing.T) {
	// The source leases a token; someone who needed a longer life made the App mint
	// another. When GitHub refuses the leased one, the source must let go of it.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.app(t)
		source := app.TokenSource(site())
		leased, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		long := site()
		long.MinLife = 50 * time.Minute
		mustToken(t, app, long)
		if err := source.(ghapp.Invalidator).Invalidate(t.Context(), leased); err != nil {
			t.Fatal(err)
		}
		next, err := source.Token(t.Context())
		if err != nil || next.Secret.Reveal() == leased.Secret.Reveal() {
			t.Errorf("the refused token is handed out again (%v)", err)
		}
		if n := w.gh.Mints(); n != 2 {
			t.Errorf("%d mints, want 2: the App's newer token is good", n)
		}
	})
}

func TestSourceDropsInTheStoreAndNoYoungToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		source := w.app(t, share).TokenSource(site())
		drop := func(token *ghapp.Token) {
			if err := source.(ghapp.Invalidator).Invalidate(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		first, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		drop(first)
		if token, err := source.Token(t.Context()); err != nil || token != first {
			t.Errorf("a token was dropped in its first second (%v)", err)
		}
		time.Sleep(time.Minute)
		drop(first)
		if token := mustToken(t, w.app(t, share), site()); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("the store still gives the refused token to the next process")
		}
	})
}

func TestRevokedTokenThatTheAppHasReplacedIsNotLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.app(t)
		source := app.TokenSource(site())
		leased, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		long := site()
		long.MinLife = 50 * time.Minute
		mustToken(t, app, long)
		if err := app.Revoke(t.Context(), leased); err != nil {
			t.Fatal(err)
		}
		if token, err := source.Token(t.Context()); err != nil || token == leased {
			t.Errorf("a revoked token is handed out (%v)", err)
		}
	})
}

func TestSourceIsSafeForConcurrentUse(t *testing.T) {
	w := newWorld(t)
	app := w.app(t)
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
