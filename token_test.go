package ghapp_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestPermissionsAreComparedByLevel(t *testing.T) {
	for _, test := range []struct {
		have, want ghapp.Permissions
		covers     bool
	}{
		{ghapp.Permissions{"contents": "read"}, ghapp.Permissions{"contents": "read"}, true},
		{ghapp.Permissions{"contents": "write"}, ghapp.Permissions{"contents": "read"}, true},
		{ghapp.Permissions{"contents": "admin"}, ghapp.Permissions{"contents": "write"}, true},
		{ghapp.Permissions{"contents": "read"}, ghapp.Permissions{"contents": "write"}, false},
		{ghapp.Permissions{"contents": "write"}, ghapp.Permissions{"contents": "admin"}, false},
		{ghapp.Permissions{"contents": "read"}, ghapp.Permissions{"issues": "read"}, false},
		{ghapp.Permissions{"contents": "read"}, ghapp.Permissions{"contents": "read", "issues": "read"}, false},
		{nil, ghapp.Permissions{"contents": "read"}, false},
		{ghapp.Permissions{"contents": "read"}, nil, true},
		// A level nobody knows yet is more than any that we know.
		{ghapp.Permissions{"contents": "admin"}, ghapp.Permissions{"contents": "owner"}, false},
		{ghapp.Permissions{"contents": "read"}, ghapp.Permissions{"contents": ""}, false},
	} {
		testkit.Equal(t, test.have.Covers(test.want), test.covers, "%v covers %v", test.have, test.want)
	}
	if text := (ghapp.Permissions{"metadata": "read", "contents": "write"}).String(); text !=
		"contents:write,metadata:read" {
		t.Errorf("String() = %q", text)
	}
}

func TestRequestThatIsWrongInItself(t *testing.T) {
	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprint("acme/r", i)
	}
	for name, test := range map[string]struct {
		request ghapp.TokenRequest
		says    string
		kind    ghapp.Kind
	}{
		"nothing": {ghapp.TokenRequest{}, "no repository is named", ghapp.ErrInvalid},
		"nil list": {ghapp.TokenRequest{Repositories: nil, Installation: "acme"},
			"no repository is named", ghapp.ErrInvalid},
		"empty list": {ghapp.TokenRequest{Repositories: []string{}, Installation: "acme"},
			"no repository is named", ghapp.ErrInvalid},
		"empty name": {ghapp.TokenRequest{Repositories: []string{""}, Installation: "acme"},
			"not owner/name", ghapp.ErrInvalid},
		"all of nobody": {ghapp.TokenRequest{AllRepositories: true},
			"not of which installation", ghapp.ErrInvalid},
		"all and some": {ghapp.TokenRequest{AllRepositories: true, Repositories: []string{"acme/site"}},
			"decide on one", ghapp.ErrInvalid},
		"all rights and some": {ghapp.TokenRequest{Repositories: []string{"acme/site"}, AllPermissions: true,
			Permissions: ghapp.Permissions{"contents": "read"}}, "decide on one", ghapp.ErrInvalid},
		"too many": {ghapp.TokenRequest{Repositories: many},
			"501 repositories are named; GitHub allows 500", ghapp.ErrInvalid},
		"two owners": {ghapp.TokenRequest{Repositories: []string{"acme/site", "globex/site"}},
			"different owners", ghapp.ErrInvalid},
		"owner and installation": {ghapp.TokenRequest{Repositories: []string{"globex/site"}, Installation: "acme"},
			"different owners", ghapp.ErrInvalid},
		"bare name": {ghapp.TokenRequest{Repositories: []string{"site"}},
			"not owner/name", ghapp.ErrInvalid},
		"bare name, by number": {ghapp.TokenRequest{Repositories: []string{"site"}, Installation: "5"},
			"not owner/name", ghapp.ErrInvalid},
		"a repository as installation": {ghapp.TokenRequest{AllRepositories: true, Installation: "acme/site"},
			"names one repository where an installation is meant", ghapp.ErrInvalid},
		"another host": {ghapp.TokenRequest{Repositories: []string{"https://git.acme.example/acme/site"}},
			"on git.acme.example", ghapp.ErrWrongHost},
		"another host's page": {ghapp.TokenRequest{Repositories: []string{"acme/site"},
			Installation: "https://git.acme.example/settings/installations/5"}, "on git.acme.example", ghapp.ErrWrongHost},
		"permission's name": {ghapp.TokenRequest{Repositories: []string{"acme/site"},
			Permissions: ghapp.Permissions{"contents:read": "read"}}, "not the name of a permission", ghapp.ErrInvalid},
		"permission's level": {ghapp.TokenRequest{Repositories: []string{"acme/site"},
			Permissions: ghapp.Permissions{"contents": "owner"}}, "neither read, write nor admin", ghapp.ErrInvalid},
		"level left out": {ghapp.TokenRequest{Repositories: []string{"acme/site"},
			Permissions: ghapp.Permissions{"contents": ""}}, "neither read, write nor admin", ghapp.ErrInvalid},
		"too long a life": {ghapp.TokenRequest{Repositories: []string{"acme/site"}, MinLife: time.Hour},
			"a life of 1h0m0s is asked for", ghapp.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			app := w.Open(t)
			_, err := app.Token(t.Context(), test.request)
			wantKind(t, err, test.kind)
			testkit.ErrorContains(t, err, test.says)
			source := app.TokenSource(test.request)
			if _, err := source.Token(t.Context()); ghapp.KindOf(err) != test.kind {
				t.Errorf("the source says %v", err)
			}
			if err := app.Invalidate(t.Context(), test.request, secret.New("x")); ghapp.KindOf(err) != test.kind {
				t.Errorf("Drop says %v", err)
			}
			testkit.Equal(t, len(w.calls()), 0, "requests")
		})
	}
}

func TestFiveHundredRepositoriesInOneToken(t *testing.T) {
	w := newWorld(t)
	w.Installation.SelectAll()
	names := make([]string, 500)
	for i := range names {
		names[i] = fmt.Sprint("acme/r", i)
		w.GitHub.AddRepository(names[i], githubtest.RepositoryOptions{})
	}
	if token := mustToken(t, w.Open(t), ghapp.TokenRequest{Repositories: names}); len(token.Repositories) != 500 {
		t.Errorf("%d repositories", len(token.Repositories))
	}
}

func TestBothTokenFormats(t *testing.T) {
	for format, shape := range map[githubtest.TokenFormat]func(string) bool{
		githubtest.Classic:   func(s string) bool { return len(s) == 40 && !strings.Contains(s, ".") },
		githubtest.Stateless: func(s string) bool { return len(s) > 500 && strings.Count(s, ".") == 2 },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.SetTokenFormat(format)
			store := newMemory()
			share := func(c *ghapp.Config) { c.Store = store }
			app := w.Open(t, share)
			token := mustToken(t, app, site())
			if !shape(token.Secret.Reveal()) || token.Secret.Reveal() != w.GitHub.Tokens()[0].Token {
				t.Errorf("token of %d characters", len(token.Secret.Reveal()))
			}
			if again := mustToken(t, w.Open(t, share), site()); again.Secret.Reveal() != token.Secret.Reveal() {
				t.Error("the store gives another token")
			}
			for repository, err := range app.Repositories(t.Context(), token) {
				if err != nil || repository.FullName != "acme/site" {
					t.Errorf("%v, %v", repository, err)
				}
			}
			testkit.OK(t, app.Revoke(t.Context(), token))
		})
	}
}

func TestTokenTellsWhatItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := mustToken(t, w.Open(t), ghapp.TokenRequest{Repositories: []string{"acme/site", "acme/docs", "ACME/Site"}})
		testkit.Diff(t, token.Repositories, []string{"acme/site", "acme/docs"})
		testkit.Diff(t, token.Permissions, ghapp.Permissions{"contents": "read", "metadata": "read"})
		if token.Installation != w.Installation.ID || token.API != "https://api.github.com" ||
			!token.ExpiresAt.Equal(w.GitHub.Tokens()[0].Expires) {
			t.Errorf("token %+v", token)
		}
		if token.Life() != time.Hour || ageOf(token) != 0 || !token.Propagating() {
			t.Errorf("life %s, age %s", token.Life(), ageOf(token))
		}
		time.Sleep(10 * time.Second)
		if token.Life() != time.Hour-10*time.Second || ageOf(token) != 10*time.Second || token.Propagating() {
			t.Errorf("life %s, age %s after ten seconds", token.Life(), ageOf(token))
		}
		all := mustToken(t, w.Open(t), ghapp.TokenRequest{AllRepositories: true, Installation: "acme"})
		if all.Repositories != nil {
			t.Errorf("a token for all names %v", all.Repositories)
		}
	})
}

func TestTokenOfACallersOwn(t *testing.T) {
	token := &ghapp.Token{Secret: secret.New("x"), ExpiresAt: time.Now().Add(time.Hour)}
	if life := token.Life(); life < 59*time.Minute || token.Propagating() {
		t.Errorf("life %s, young %t", life, token.Propagating())
	}
}

func TestCopyOfATokenIsTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		source := app.TokenSource(site())
		token := testkit.Must(source.Token(t.Context()))(t)
		copied := *token
		testkit.OK(t, app.Revoke(t.Context(), &copied))
		next, err := source.Token(t.Context())
		if err != nil || next.Secret.Reveal() == token.Secret.Reveal() {
			t.Errorf("the source hands out a token that was revoked through a copy (%v)", err)
		}
	})
}

func TestRequestMayBeChangedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := ghapp.TokenRequest{Repositories: []string{"ACME/docs", "acme/Site"},
			Permissions: ghapp.Permissions{"contents": "read"}}
		app := w.Open(t)
		source := app.TokenSource(r)
		if r.Repositories[0] != "ACME/docs" || r.Repositories[1] != "acme/Site" {
			t.Errorf("the caller's list was changed: %v", r.Repositories)
		}
		r.Repositories[0], r.Permissions["contents"], r.Permissions["issues"] = "evil/x", "write", "write"
		token := testkit.Must(source.Token(t.Context()))(t)
		if diff := cmp.Diff(ghapp.Permissions{"contents": "read", "metadata": "read"}, token.Permissions); diff != "" ||
			len(token.Repositories) != 2 {
			t.Errorf("token for %v, permissions (-want +got):\n%s", token.Repositories, diff)
		}
		// Neither does it change which token is dropped.
		time.Sleep(time.Minute)
		w.GitHub.RevokeTokens()
		testkit.OK(t, source.(ghapp.Invalidator).Invalidate(t.Context(), token))
		next, err := source.Token(t.Context())
		if err != nil || next.Secret.Reveal() == token.Secret.Reveal() {
			t.Errorf("the token was not dropped (%v)", err)
		}
	})
}
