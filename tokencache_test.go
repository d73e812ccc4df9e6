package ghapp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestThousandGoroutinesOnAColdCacheMintOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: time.Second})
		app := w.Open(t, func(c *ghapp.Config) { c.Store = newMemory() })
		source := app.TokenSource(site())
		secrets := make([]string, 1000)
		var group sync.WaitGroup
		for n := range secrets {
			group.Go(func() {
				var token *ghapp.Token
				var err error
				if n%2 == 0 {
					token, err = app.Token(t.Context(), site())
				} else {
					token, err = source.Token(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
				secrets[n] = token.Secret.Reveal()
			})
		}
		group.Wait()
		if n := w.GitHub.Mints(); n != 1 || w.count(lookUps) != 1 {
			t.Errorf("%d mints, %d lookups, want 1 of each", n, w.count(lookUps))
		}
		for _, secret := range secrets {
			if secret != secrets[0] || secret == "" {
				t.Fatal("different tokens were handed out")
			}
		}
	})
}

func TestWaiterLeavesWithItsOwnContextWhileTheMintGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 10 * time.Second})
		app := w.Open(t)
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() { mustToken(t, app, site()) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := app.Token(ctx, site()); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(start) != 200*time.Millisecond {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		group.Wait()
		if n := w.GitHub.Mints(); n != 1 || time.Since(start) != 10*time.Second {
			t.Errorf("%d mints after %s", n, time.Since(start))
		}
	})
}

func TestCancelledCallerDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Delay: time.Second}) // the lookup too
		app := w.Open(t)
		first, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			testkit.ErrorIs(t, testkit.ErrorOf(app.Token(first, site())), context.Canceled, "the one who started it")
		})
		synctest.Wait()
		for range 10 {
			group.Go(func() { mustToken(t, app, site()) })
		}
		time.Sleep(500 * time.Millisecond)
		cancel() // within the lookup
		group.Wait()
		testkit.Equal(t, w.GitHub.Mints(), 1, "mints")
		// And within the mint.
		second, cancel := context.WithCancel(t.Context())
		r := ghapp.TokenRequest{Repositories: []string{"acme/docs"}}
		group.Go(func() {
			testkit.ErrorIs(t, testkit.ErrorOf(app.Token(second, r)), context.Canceled, "the one who started it")
		})
		synctest.Wait()
		group.Go(func() { mustToken(t, app, r) })
		time.Sleep(500 * time.Millisecond)
		cancel()
		group.Wait()
		testkit.Equal(t, w.GitHub.Mints(), 2, "mints")
	})
}

func TestMintHasACeilingOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTrips(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		app := newWorld(t).Open(t, func(c *ghapp.Config) { c.Transport, c.MaxWait = hang, time.Hour })
		start := time.Now()
		_, err := app.Token(t.Context(), site())
		if took := time.Since(start); err == nil || took > 2*time.Minute {
			t.Errorf("error %v after %s", err, took)
		}
	})
}

func TestMinLifeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		long := site()
		long.MinLife = 40 * time.Minute
		first := mustToken(t, app, site())
		time.Sleep(15 * time.Minute)
		testkit.Equal(t, mustToken(t, app, long), first, "45 minutes are left, 40 are needed, and it was minted anew")
		time.Sleep(10 * time.Minute)
		if token := mustToken(t, app, site()); token != first {
			t.Error("35 minutes are left, none are needed, and it was minted anew")
		}
		second := mustToken(t, app, long)
		if second == first || second.Life() < 40*time.Minute {
			t.Errorf("a life of %s for a need of 40 minutes", second.Life())
		}
		// The longest that can be promised.
		long.MinLife = 59 * time.Minute
		if token := mustToken(t, app, long); token.Life() < 59*time.Minute {
			t.Errorf("life %s", token.Life())
		}
	})
}

func TestMinLifeLongerThanTheHostsTokensIsAnErrorAndNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.GitHub.SetTokenLife(10 * time.Minute)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 20 * time.Second})
		r := site()
		r.MinLife = 30 * time.Minute
		_, err := w.Open(t).Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrInvalid)
		testkit.Equal(t, w.GitHub.Mints(), 1, "mints")
	})
}

func TestCallerWhoNeedsMoreIsNotContentWithWhatOthersGot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		mustToken(t, w.Open(t, share), site())
		time.Sleep(30 * time.Minute)
		// Another process, with nothing in memory: one caller is content with the
		// stored token, the other, merged with it, is not.
		app := w.Open(t, func(c *ghapp.Config) { c.Store = slowStore{store} })
		long := site()
		long.MinLife = 50 * time.Minute
		var group sync.WaitGroup
		group.Go(func() {
			if token := mustToken(t, app, site()); token.Life() > 31*time.Minute {
				t.Errorf("life %s: minted without need", token.Life())
			}
		})
		time.Sleep(1500 * time.Millisecond) // past the lookup, and while the store is read
		group.Go(func() {
			if token := mustToken(t, app, long); token.Life() < 50*time.Minute {
				t.Errorf("life %s for a need of 50 minutes", token.Life())
			}
		})
		group.Wait()
		testkit.Equal(t, w.GitHub.Mints(), 2, "mints")
	})
}

// Who waits for another process is told so, and nobody where it is quick.
func TestLongWaitForAnotherProcessIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		var log logBuffer
		other := w.Open(t, func(c *ghapp.Config) { c.Store = store })
		app := w.Open(t, func(c *ghapp.Config) { c.Store, c.Log = store, logTo(&log) })
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 5 * time.Second})
		go func() { _, _ = other.Token(t.Context(), site()) }()
		synctest.Wait()
		mustToken(t, app, site())
		testkit.Contains(t, log.String(), "waiting for another process that gets the token")
		testkit.Equal(t, w.GitHub.Mints(), 1, "mints")
	})
}

// slowStore takes a second for everything.
type slowStore struct{ ghapp.Store }

func (s slowStore) Get(ctx context.Context, key string) ([]byte, error) {
	time.Sleep(time.Second)
	return s.Store.Get(ctx, key)
}

func TestTokenIsRenewedEarlyWhileTheOldOneServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		source := app.TokenSource(site())
		first := mustToken(t, app, site())
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 5 * time.Second})
		time.Sleep(54 * time.Minute)
		for range 3 {
			if token := mustToken(t, app, site()); token != first {
				t.Fatal("renewed too early")
			}
		}
		synctest.Wait()
		testkit.Equal(t, w.count(mints), 1, "mints at 54 minutes")
		time.Sleep(2 * time.Minute)
		start := time.Now()
		for range 100 {
			token := mustToken(t, app, site())
			leased, err := source.Token(t.Context())
			if err != nil || token != first || leased != first || time.Since(start) != 0 {
				t.Fatalf("at 56 minutes: waited %s, %v", time.Since(start), err)
			}
		}
		time.Sleep(6 * time.Second)
		second := mustToken(t, app, site())
		leased, err := source.Token(t.Context())
		if err != nil || second == first || leased != second || w.GitHub.Mints() != 2 {
			t.Errorf("after the renewal: %d mints, %v", w.GitHub.Mints(), err)
		}
		if life := second.Life(); life < 59*time.Minute {
			t.Errorf("life %s", life)
		}
	})
}

func TestFailedRenewalServesOnWhileTheTokenLivesAndNotASecondLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log logBuffer
		app := w.Open(t, func(c *ghapp.Config) { c.Log, c.MaxWait = logTo(&log), -1 })
		source := app.TokenSource(site())
		first := mustToken(t, app, site())
		w.GitHub.ResetRequests()
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 502})
		time.Sleep(55 * time.Minute)
		for {
			token, err := app.Token(t.Context(), site())
			leased, leaseErr := source.Token(t.Context())
			synctest.Wait()
			age := ageOf(first)
			if age >= 59*time.Minute {
				wantKind(t, err, ghapp.ErrUnreachable)
				wantKind(t, leaseErr, ghapp.ErrUnreachable)
				break
			}
			if err != nil || leaseErr != nil || token != first || leased != first {
				t.Fatalf("at %s: %v, %v", age, err, leaseErr)
			}
			time.Sleep(500 * time.Millisecond)
		}
		// Renewal was tried now and then, not with every call.
		if n := w.count(mints); n < 6 || n > 12 {
			t.Errorf("%d attempts to renew in four minutes", n)
		}
		if len(log.lines("could not be renewed")) == 0 {
			t.Error("the failed renewals are not logged")
		}
		w.GitHub.ClearFaults()
		mustToken(t, app, site())
	})
}

func TestTwoProcessesWithOneStoreMintOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 3 * time.Second})
		store := newMemory()
		var group sync.WaitGroup
		tokens := make([]*ghapp.Token, 50)
		for n := range tokens {
			group.Go(func() {
				tokens[n] = mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }), site())
			})
		}
		group.Wait()
		testkit.Equal(t, w.GitHub.Mints(), 1, "mints for 50 processes")
		for _, token := range tokens {
			if token.Secret.Reveal() != tokens[0].Secret.Reveal() || token.API != "https://api.github.com" ||
				token.Repositories[0] != "acme/site" || token.Life() < 59*time.Minute {
				t.Fatalf("token %+v", token)
			}
		}
		// A renewal is shared too.
		time.Sleep(57 * time.Minute)
		for range 2 {
			for range 5 {
				mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }), site())
			}
			time.Sleep(10 * time.Second)
		}
		testkit.Equal(t, w.GitHub.Mints(), 2, "mints after the renewal")
	})
}

func TestDifferentKeysShareNoTokens(t *testing.T) {
	w := newWorld(t)
	store := newMemory()
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }), site())
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store; c.Host = "git.acme.example" }), site())
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store; c.Issuer = fmt.Sprint(w.Registration.ID) }), site())
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store; c.Signer = &countingSigner{key: testkit.Key(t)} }),
		site())
	if n := w.GitHub.Mints(); n != 4 || w.count(lookUps) != 3 {
		t.Errorf("%d mints, %d lookups, want 4 and 3: which key signs does not matter to a lookup", n, w.count(lookUps))
	}
}

func TestColdStartsOnAllCoresMintOnce(t *testing.T) {
	// Without a bubble: callers come while a flight lands, not only while it is in the air.
	w := newWorld(t)
	const rounds = 60
	for range rounds {
		app := w.Open(t)
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() { mustToken(t, app, site()) })
		}
		group.Wait()
	}
	if mints, lookups := w.GitHub.Mints(), w.count(lookUps); mints != rounds || lookups != rounds {
		t.Errorf("%d mints and %d lookups in %d cold starts", mints, lookups, rounds)
	}
}

func TestExpiredTokensAreForgotten(t *testing.T) {
	// A token that expires while it is being minted anew is still kept once.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		mustToken(t, app, site())
		time.Sleep(2 * time.Hour)
		slow := githubtest.Fault{Match: githubtest.MintPattern, Delay: 2 * time.Second, Times: 1}
		w.fault(t, slow)
		var group sync.WaitGroup
		group.Go(func() { mustToken(t, app, site()) })
		synctest.Wait()
		mustToken(t, app, ghapp.TokenRequest{Repositories: []string{"acme/docs"}}) // sweeps
		group.Wait()
		mustToken(t, app, site())
		testkit.Equal(t, w.GitHub.Mints(), 3, "mints")
	})
}
