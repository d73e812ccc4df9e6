package githubtest_test

import (
	"cmp"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// world is a GitHub with one App, installed on acme with acme/site selected.
type world struct {
	*githubtest.GitHub
	app          *githubtest.App
	installation *githubtest.Installation
}

func newWorld(t *testing.T) world {
	gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	w := world{GitHub: gh, app: gh.AddApp(githubtest.AppOptions{})}
	w.app.AddKey(&testkit.Key(t).PublicKey)
	gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	w.installation = w.app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	return w
}

func (w world) token(t *testing.T) (*ghapp.Token, error) {
	app := testkit.Must(ghapp.New(ghapp.Config{
		Client: ghapp.Client{Transport: w.RoundTripper()},
		Issuer: w.app.ClientID, Signer: signer.FromCryptoSigner(testkit.Key(t)),
	}))(t)
	return app.Token(t.Context(), ghapp.TokenRequest{
		Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"contents": "read"},
	})
}

func fault(f githubtest.Fault) func(world) {
	return func(w world) {
		if err := w.Fault(f); err != nil {
			panic(err)
		}
	}
}

// What is set reaches the GitHub that answers: this is what the library is told then.
func TestMintIsToldWhatIsSet(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(world)
		kind ghapp.Kind
	}{
		"nothing": {set: func(world) {}},
		"a key that is removed": {kind: ghapp.ErrKeyMismatch,
			set: func(w world) { w.app.RemoveKey(&testkit.Key(t).PublicKey) }},
		"suspended":           {kind: ghapp.ErrSuspended, set: func(w world) { w.installation.Suspend() }},
		"no longer suspended": {set: func(w world) { w.installation.Suspend(); w.installation.Unsuspend() }},
		"uninstalled":         {kind: ghapp.ErrNotInstalled, set: func(w world) { w.installation.Uninstall() }},
		"another repository": {kind: ghapp.ErrRepositoryNotSelected,
			set: func(w world) { w.installation.Select("other") }},
		"all repositories":       {set: func(w world) { w.installation.Select(); w.installation.SelectAll() }},
		"permissions taken":      {kind: ghapp.ErrPermission, set: func(w world) { w.installation.SetPermissions(nil) }},
		"a secondary limit":      {kind: ghapp.ErrRateLimited, set: fault(githubtest.SecondaryLimit("", time.Hour))},
		"a fault":                {kind: ghapp.ErrUnreachable, set: fault(githubtest.Fault{Status: 502})},
		"a fault that has ended": {set: func(w world) { fault(githubtest.Fault{Status: 502})(w); w.ClearFaults() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.Close()
				tt.set(w)
				_, err := w.token(t)
				testkit.Equal(t, ghapp.KindOf(err), tt.kind, "%v", err)
			})
		})
	}
}

func TestTokenIsTakenAsSet(t *testing.T) {
	for name, tt := range map[string]struct {
		set    func(world)
		status int
		life   time.Duration
	}{
		"nothing":             {status: 200, set: func(world) {}},
		"revoked":             {status: 401, set: func(w world) { w.RevokeTokens() }},
		"over the limit":      {status: 403, set: func(w world) { w.SetRateLimit(0) }},
		"not yet known":       {status: 401, set: func(w world) { w.SetPropagationDelay(time.Minute) }},
		"an hour later":       {status: 401, set: func(w world) { w.SetClockOffset(time.Hour) }},
		"an hour later, long": {status: 200, life: 2 * time.Hour, set: func(w world) { w.SetClockOffset(time.Hour) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.Close()
			w.SetTokenLife(cmp.Or(tt.life, time.Hour))
			token := testkit.Must(w.token(t))(t)
			w.ResetRequests()
			tt.set(w)
			r := testkit.Must(http.NewRequest("GET", "https://api.github.com/installation/repositories?page=1", nil))(t)
			r.Header.Set("User-Agent", "test")
			r.Header.Set("Authorization", "Bearer "+token.Secret.Reveal())
			answer := testkit.Must(w.RoundTripper().RoundTrip(r))(t)
			answer.Body.Close()
			testkit.Equal(t, answer.StatusCode, tt.status, "%s", name)
			testkit.Diff(t, w.Requests(), []githubtest.Request{{
				Method: "GET", Host: "api.github.com", Path: "/installation/repositories", Query: "page=1",
				Header: r.Header, Status: tt.status,
			}})
		})
	}
}
