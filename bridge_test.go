package ghapp_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/bridge"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What Kept promises of a store is what a new process makes of it.
func TestKeptIsWhenAnotherProcessTakesTheTokenFromTheStore(t *testing.T) {
	for _, ahead := range []time.Duration{0, -3 * time.Hour, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.SetClockOffset(ahead)
			store := newMemory()
			share := func(c *ghapp.Config) { c.Store = store }
			minted := mustToken(t, w.Open(t, share), site())
			read := mustToken(t, w.Open(t, share), site())
			stored := bridge.EntryOf(minted, "acme/site")
			key, from, until := stored.Key, stored.From, stored.Until
			if entry, err := store.Get(t.Context(), key); err != nil || !bytes.Contains(entry, []byte(minted.Secret.Reveal())) {
				t.Errorf("%s: the entry under %q is %q, %v", ahead, key, entry, err)
			}
			if e := bridge.EntryOf(read, "acme/site"); e.Key != key || e.From.Sub(from).Abs() > time.Second ||
				e.Until.Sub(until).Abs() > time.Second {
				t.Errorf("%s: who reads it has it from %s until %s under %q, who minted it from %s until %s under %q", ahead,
					e.From, e.Until, e.Key, from, until, key)
			}
			stored = bridge.EntryOf(read, "acme/site")
			from, until = stored.From, stored.Until // what follows is about the entry
			time.Sleep(time.Until(from) - time.Millisecond)
			if !read.Propagating() {
				t.Errorf("%s: it is not young before", ahead)
			}
			time.Sleep(time.Millisecond)
			if read.Propagating() {
				t.Errorf("%s: it is young from then on", ahead)
			}
			for _, step := range []struct {
				at    time.Time
				mints int
			}{{until.Add(-time.Millisecond), 1}, {until, 2}} {
				time.Sleep(time.Until(step.at))
				token := mustToken(t, w.Open(t, share), site())
				if mints := w.GitHub.Mints(); mints != step.mints ||
					(token.Secret.Reveal() == read.Secret.Reveal()) != (mints == 1) {
					t.Errorf("%s: %d mints %s before the end, want %d", ahead, mints, time.Until(until), step.mints)
				}
			}
		})
	}
}

func TestTokenThatNoStoreHasIsNotKept(t *testing.T) {
	for name, change := range map[string]func(*ghapp.Config){
		"no store":          func(*ghapp.Config) {},
		"tokens of its own": func(c *ghapp.Config) { c.Store, c.Unshared = newMemory(), true },
		"one that is not written": func(c *ghapp.Config) {
			c.Store = brokenStore{Store: newMemory(), after: errors.New("full")}
		},
		"one that is never locked": func(c *ghapp.Config) {
			c.Store = brokenStore{Store: newMemory(), before: errors.New("locked")}
		},
	} {
		w := newWorld(t)
		if key := bridge.EntryOf(mustToken(t, w.Open(t, change), site()), "acme/site").Key; key != "" {
			t.Errorf("%s: kept under %q", name, key)
		}
	}
}

// Whoever looks through a store, such as a shell's completion, is told for what its tokens
// are, and nothing of an entry that is something else.
func TestAnEntryOfAStoreTellsWhichRepositoriesItsTokenIsFor(t *testing.T) {
	w := newWorld(t)
	store := newMemory()
	token := mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }), site())
	key := bridge.EntryOf(token, "acme/site").Key
	entry := testkit.Must(store.Get(t.Context(), key))(t)
	if api, names := bridge.RepositoriesOf(entry); api != token.API || !slices.Equal(names, []string{"acme/site"}) {
		t.Errorf("it tells of %q at %q", names, api)
	}
	for _, other := range []string{"", "x", `{"repositories":["acme/site"],"api":"https://x.test"}`, `{"token":1}`} {
		if api, names := bridge.RepositoriesOf([]byte(other)); api != "" || names != nil {
			t.Errorf("%q tells of %q at %q", other, names, api)
		}
	}
}
