package ghapp_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

func TestYoungTokenIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		app := w.Open(t, func(c *ghapp.Config) { c.Store = store })
		first := mustToken(t, app, site())
		time.Sleep(9 * time.Second)
		drops(t, app, site(), first)
		if token := mustToken(t, app, site()); token != first {
			t.Error("dropped after nine seconds: a new one would not be known any sooner")
		}
		time.Sleep(2 * time.Second)
		drops(t, app, site(), first)
		if token := mustToken(t, app, site()); token == first {
			t.Error("not dropped after eleven seconds")
		}
	})
}

func TestTokenIsYoungFromTheAnswerOn(t *testing.T) {
	// The mint waits for a limit first; the token is new all the same.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		limit := githubtest.SecondaryLimit(githubtest.MintPattern, 30*time.Second)
		limit.Times = 1
		w.fault(t, limit)
		if token := mustToken(t, w.Open(t), site()); !token.Propagating() || ageOf(token) > time.Second {
			t.Errorf("age %s", ageOf(token))
		}
	})
}

func TestRevokeWaitsForAYoungToken(t *testing.T) {
	for lag, revoked := range map[time.Duration]bool{2 * time.Second: true,
		5 * time.Second: true, 20 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.SetPropagationDelay(lag)
			app := w.Open(t)
			start := time.Now()
			err := app.Revoke(t.Context(), mustToken(t, app, site()))
			if revoked && err != nil {
				t.Errorf("lag %s: %v", lag, err)
			}
			if !revoked {
				wantKind(t, err, ghapp.ErrTokenRefused)
			}
			if took := time.Since(start); took > 7*time.Second {
				t.Errorf("lag %s: took %s", lag, took)
			}
		})
	}
}
