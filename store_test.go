package ghapp_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/storetest"
)

// The other tests rest on this store.
func TestStoreOfTheTestsKeepsTheInterfacesPromises(t *testing.T) {
	storetest.Run(t, func(testing.TB) ghapp.Store { return newMemory() })
}

func TestStoreThatFailsIsLoggedAndDoneWithout(t *testing.T) {
	cause := errors.New("read-only file system")
	for name, broken := range map[string]brokenStore{
		"cannot be read":           {get: cause},
		"cannot be locked":         {before: cause},
		"cannot be written":        {after: cause},
		"cannot be read or locked": {get: cause, before: cause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				broken.Store = newMemory()
				var log logBuffer
				app := w.Open(t, func(c *ghapp.Config) { c.Store, c.Log = broken, logTo(&log) })
				first := mustToken(t, app, site())
				if again := mustToken(t, app, site()); again != first || w.GitHub.Mints() != 1 {
					t.Errorf("%d mints", w.GitHub.Mints())
				}
				if broken.before != nil || broken.after != nil {
					for _, says := range []string{"the installation is not remembered", "the token is not shared"} {
						if lines := log.lines(says); len(lines) != 1 || !strings.Contains(lines[0], cause.Error()) {
							t.Errorf("the store's failure is not logged as %q:\n%s", says, &log)
						}
					}
				}
				time.Sleep(time.Minute)
				w.GitHub.RevokeTokens()
				_ = app.Invalidate(t.Context(), site(), first.Secret)
				if next := mustToken(t, app, site()); next.Secret.Reveal() == first.Secret.Reveal() {
					t.Error("a refused token is handed out again")
				}
			})
		})
	}
}

// Whoever revokes its tokens in the end takes none from others and leaves none to them.
func TestUnsharedTokensAreNotSharedButInstallationsAre(t *testing.T) {
	w := newWorld(t)
	store := newMemory()
	others := mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }), site())
	app := w.Open(t, func(c *ghapp.Config) { c.Store, c.Unshared = store, true })
	own := mustToken(t, app, site())
	if again := mustToken(t, app, site()); again != own || own.Secret.Reveal() == others.Secret.Reveal() {
		t.Error("it has no token of its own")
	}
	if lookUps, mints := w.count(lookUps), w.count(mints); lookUps != 1 || mints != 2 {
		t.Errorf("%d look-ups, %d mints", lookUps, mints)
	}
	testkit.OK(t, app.Revoke(t.Context(), own))
	if kept := mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }),
		site()); kept.Secret.Reveal() != others.Secret.Reveal() {
		t.Error("the others' token is gone")
	}
	store.each(func(entry []byte) []byte {
		if bytes.Contains(entry, []byte(own.Secret.Reveal())) {
			t.Error("its token is in the store")
		}
		return entry
	})
	// And what it finds out, others need not look up again.
	empty := newMemory()
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store, c.Unshared = empty, true }), site())
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = empty }), site())
	testkit.Equal(t, w.count(lookUps), 2, "look-ups")
}

func TestRefusedTokenThatTheStoreCannotForgetIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &brokenStore{Store: newMemory()}
		app := w.Open(t, func(c *ghapp.Config) { c.Store = store })
		first := mustToken(t, app, site())
		time.Sleep(time.Minute)
		w.GitHub.RevokeTokens()
		store.before = errors.New("read-only file system")
		testkit.ErrorIs(t, app.Invalidate(t.Context(), site(), first.Secret), store.before)
		if next := mustToken(t, app, site()); next.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("the refused token was taken from the store again")
		}
	})
}

func TestDamagedEntryOfTheStoreIsMintedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		first := mustToken(t, w.Open(t, share), site())
		var whole []byte
		store.each(func(entry []byte) []byte {
			if bytes.Contains(entry, []byte("ghs_")) {
				whole = entry
			}
			return entry
		})
		future := bytes.Replace(whole, []byte(`"minted_at":"20`), []byte(`"minted_at":"29`), 1)
		for n, damage := range [][]byte{{}, []byte("{"), []byte("null"), []byte(`{"token":"x"}`),
			whole[:len(whole)-5], []byte("\x00\xff"), future} {
			store.each(func(entry []byte) []byte {
				if bytes.Contains(entry, []byte("installation\":")) && !bytes.Contains(entry, []byte("token")) {
					return entry // the lookup
				}
				return damage
			})
			token := mustToken(t, w.Open(t, share), site())
			if token.Secret.Reveal() == first.Secret.Reveal() || w.GitHub.Mints() != n+2 {
				t.Errorf("%q: %d mints", damage, w.GitHub.Mints())
			}
		}
	})
}

func TestStoredTokenIsJudgedByGitHubsClock(t *testing.T) {
	for _, ahead := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.SetClockOffset(ahead)
			store := newMemory()
			share := func(c *ghapp.Config) { c.Store = store }
			mustToken(t, w.Open(t, share), site())
			w.GitHub.ResetRequests()
			// A new process has measured nothing, and asks nothing.
			app := w.Open(t, share)
			token := mustToken(t, app, site())
			if len(w.calls()) != 0 || (token.Life()-time.Hour).Abs() > 2*time.Second ||
				(app.Status().ClockOffset-ahead).Abs() > time.Second {
				t.Errorf("%s: requests %v, life %s, offset %s", ahead, w.calls(), token.Life(), app.Status().ClockOffset)
			}
			time.Sleep(58 * time.Minute)
			if token := mustToken(t, w.Open(t, share), site()); token.Life() <= 0 {
				t.Errorf("life %s", token.Life())
			}
			time.Sleep(4 * time.Minute)
			if token := mustToken(t, w.Open(t, share), site()); token.Life() < 54*time.Minute {
				t.Errorf("%s: life %s, an hour and two minutes after the first", ahead, token.Life())
			}
		})
	}
}

func TestEntryStoredByAWrongClockIsNotBelieved(t *testing.T) {
	// GitHub was three hours behind our clock when the token was stored. Since then
	// our clock was set right: by the stored offset the token lies in the future.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		mustToken(t, w.Open(t, share), site())
		store.each(func(entry []byte) []byte {
			return bytes.Replace(entry, []byte(`"clock_offset_ns":0`), fmt.Appendf(nil, `"clock_offset_ns":%d`, -3*time.Hour), 1)
		})
		time.Sleep(70 * time.Minute)
		app := w.Open(t, share)
		if token := mustToken(t, app, site()); token.Life() < 59*time.Minute || w.GitHub.Mints() != 2 ||
			app.Status().ClockOffset != 0 {
			t.Errorf("life %s, %d mints, offset %s", token.Life(), w.GitHub.Mints(), app.Status().ClockOffset)
		}
	})
}
