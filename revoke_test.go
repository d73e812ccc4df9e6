package ghapp_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// drops tells the App that a token was refused.
func drops(t *testing.T, app *ghapp.App, r ghapp.TokenRequest, token *ghapp.Token) {
	t.Helper()
	testkit.OK(t, app.Invalidate(t.Context(), r, token.Secret))
}

func TestRefusedTokenIsDroppedEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		app, other := w.Open(t, share), w.Open(t, share)
		first := mustToken(t, app, site())
		time.Sleep(time.Minute)
		w.GitHub.RevokeTokens()
		drops(t, app, site(), first)
		if token := mustToken(t, w.Open(t, share), site()); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("the store still gives the refused token to the next process")
		}
		second := mustToken(t, app, site())
		if second.Secret.Reveal() == first.Secret.Reveal() ||
			mustToken(t, other, site()).Secret.Reveal() != second.Secret.Reveal() || w.GitHub.Mints() != 2 {
			t.Errorf("%d mints", w.GitHub.Mints())
		}
		// Dropping the old one again, as a second refused request does, changes nothing.
		time.Sleep(time.Minute)
		drops(t, app, site(), first)
		drops(t, other, site(), first)
		if token := mustToken(t, app, site()); token != second || w.GitHub.Mints() != 2 {
			t.Error("the new token was dropped for the old one")
		}
	})
}

// A token that was minted while the clock was wrong seems to be new, until GitHub has
// told the time.
func TestTokenOfAWrongClockIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		w.GitHub.SetClockOffset(-20 * time.Minute)
		first := mustToken(t, w.Open(t, share), site())
		w.GitHub.RevokeTokens()
		w.GitHub.SetClockOffset(0)
		app := w.Open(t, share)
		testkit.Must(app.Info(t.Context()))(t)
		drops(t, app, site(), first)
		if token := mustToken(t, w.Open(t, share), site()); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("it was not dropped")
		}
	})
}

func TestTokenOfARepositoryThatMovedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		testkit.OK(t, w.GitHub.Rename("acme/site", "shop"))
		app := w.Open(t)
		first := mustToken(t, app, site())
		time.Sleep(time.Minute)
		drops(t, app, site(), first)
		if token := mustToken(t, app, site()); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("it was not dropped")
		}
	})
}

func TestRevokeEndsATokenEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		app := w.Open(t, share)
		source := app.TokenSource(site())
		first := testkit.Must(source.Token(t.Context()))(t)
		testkit.OK(t, app.Revoke(t.Context(), first))
		if !w.GitHub.Tokens()[0].Revoked {
			t.Error("GitHub was not told")
		}
		revoke := w.GitHub.Requests()[len(w.GitHub.Requests())-1]
		if revoke.Method != "DELETE" || revoke.Path != "/installation/token" ||
			revoke.Credential.Token != first.Secret.Reveal() {
			t.Errorf("%s %s", revoke.Method, revoke.Path)
		}
		for name, token := range map[string]func() (*ghapp.Token, error){
			"the source": func() (*ghapp.Token, error) { return source.Token(t.Context()) },
			"the App":    func() (*ghapp.Token, error) { return app.Token(t.Context(), site()) },
			"the store":  func() (*ghapp.Token, error) { return w.Open(t, share).Token(t.Context(), site()) },
		} {
			next, err := token()
			if err != nil || next.Secret.Reveal() == first.Secret.Reveal() {
				t.Errorf("%s hands out a revoked token (%v)", name, err)
			}
		}
		// A second time GitHub says no, and so do we: nothing succeeds that did not.
		time.Sleep(time.Minute)
		start := time.Now()
		wantKind(t, app.Revoke(t.Context(), first), ghapp.ErrTokenRefused)
		wantKind(t, app.Revoke(t.Context(), &ghapp.Token{Secret: secret.New("ghs_nobody")}), ghapp.ErrTokenRefused)
		testkit.Equal(t, time.Since(start), 0, "waited")
		// A caller that has only the text of a token ends it as well.
		second := testkit.Must(source.Token(t.Context()))(t)
		testkit.OK(t, app.Revoke(t.Context(), &ghapp.Token{Secret: second.Secret}))
		if third, err := source.Token(t.Context()); err != nil || third.Secret.Reveal() == second.Secret.Reveal() {
			t.Errorf("a token that was revoked by its text is handed out (%v)", err)
		}
	})
}

// Who has but the text of a token, which another process was given, has it dropped from the
// store all the same, and no other token with it.
func TestForgottenTokenIsFoundInTheStoreByItsText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		gone := mustToken(t, w.Open(t, share), site())
		other := site()
		other.Permissions = ghapp.Permissions{"metadata": "read"}
		app := w.Open(t, share)
		stays := mustToken(t, app, other)
		testkit.OK(t, app.Forget(t.Context(), secret.New(gone.Secret.Reveal())))
		if token := mustToken(t, w.Open(t, share), site()); token.Secret.Reveal() == gone.Secret.Reveal() {
			t.Error("the token is still in the store")
		}
		for _, app := range []*ghapp.App{app, w.Open(t, share)} {
			if token := mustToken(t, app, other); token.Secret.Reveal() != stays.Secret.Reveal() {
				t.Error("another token is gone with it")
			}
		}
	})
}

func TestRevokeLeavesTheTokenOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		app := w.Open(t, share)
		first := mustToken(t, app, site())
		time.Sleep(20 * time.Minute)
		long := site()
		long.MinLife = 50 * time.Minute
		second := mustToken(t, w.Open(t, share), long)
		testkit.OK(t, app.Revoke(t.Context(), first))
		if token := mustToken(t, w.Open(t, share), site()); token.Secret.Reveal() != second.Secret.Reveal() {
			t.Error("the newer token in the store was thrown away with the old one")
		}
	})
}

func TestRevokeSucceedsOnlyWhereGitHubSaysSo(t *testing.T) {
	for name, f := range map[string]githubtest.Fault{
		"a page of a hotel": {Status: 200, Body: "<html>Welcome"}, "502": {Status: 502}, "reset": {Reset: true},
		"redirect": {RedirectTo: "https://evil.example"},
	} {
		w := newWorld(t)
		app := w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 })
		token := mustToken(t, app, site())
		f.Match = "DELETE /installation/token"
		w.fault(t, f)
		if err := app.Revoke(t.Context(), token); ghapp.KindOf(err) == "" {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestRevokeTokenNeedsNoApp(t *testing.T) {
	w := newWorld(t)
	token := mustToken(t, w.Open(t), site())
	c := ghapp.Config{Client: ghapp.Client{Transport: w.GitHub.RoundTripper()}}
	if err := c.Client.Revoke(t.Context(), token.Secret); err != nil || !w.GitHub.Tokens()[0].Revoked {
		t.Errorf("error %v", err)
	}
	wantKind(t, c.Client.Revoke(t.Context(), token.Secret), ghapp.ErrTokenRefused)
	c.Host = "http://github.com"
	wantKind(t, c.Client.Revoke(t.Context(), token.Secret), ghapp.ErrInvalid)
}

// While GitHub is being told, another process must not be given what is about to end.
func TestRevokedTokenIsInNoStoreWhenGitHubIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		told := 0
		app := w.Open(t, func(c *ghapp.Config) {
			c.Store = store
			next := c.Transport
			c.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodDelete {
					told++
					secret := strings.TrimPrefix(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "token ")
					store.each(func(entry []byte) []byte {
						testkit.Lacks(t, string(entry), secret)
						return entry
					})
				}
				return next.RoundTrip(r)
			})
		})
		token := mustToken(t, app, site())
		kept := false
		store.each(func(entry []byte) []byte {
			kept = kept || strings.Contains(string(entry), token.Secret.Reveal())
			return entry
		})
		testkit.Equal(t, kept, true, "the token is in the store before")
		testkit.OK(t, app.Revoke(t.Context(), token))
		testkit.Equal(t, told, 1, "times that GitHub is told")
	})
}
