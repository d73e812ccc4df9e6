package gitsession

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

func appOn(t *testing.T, host string) *ghapp.App { return appOver(t, host, nil) }

func appOver(t *testing.T, host string, transport http.RoundTripper) *ghapp.App {
	t.Helper()
	key := testkit.Key(t)
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: host, Transport: transport}, Issuer: "1",
		Signer: signer.FromCryptoSigner(key)})
	testkit.OK(t, err)
	return app
}

// https://cli.github.com/manual/gh_help_environment
func TestTokenIsInTheVariablesOfItsHost(t *testing.T) {
	token := &ghapp.Token{Secret: secret.New("ghs_x")}
	dotcom := []string{"GH_TOKEN=ghs_x", "GITHUB_TOKEN=ghs_x"}
	server := []string{"GH_ENTERPRISE_TOKEN=ghs_x", "GITHUB_ENTERPRISE_TOKEN=ghs_x"}
	for host, want := range map[string][]string{
		"github.com":       dotcom,
		"octo.ghe.com":     dotcom,
		"ghe.com.example":  server,
		"ghe.example.com":  server,
		"notghe.com":       server,
		"ghe.example:8443": server,
	} {
		got := TokenVariables(appOn(t, host), token)
		if diff := cmp.Diff(append([]string{"GH_HOST=" + host}, want...), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
}

func TestGitMayWhatTheFlagOrElseTheConfigurationSays(t *testing.T) {
	write, config := ghapp.Permissions{"contents": "write"}, ghapp.Permissions{"contents": "read", "workflows": "write"}
	configured := func(ghapp.RepositoryName) ghapp.Permissions { return config }
	granted := ghapp.Permissions{"contents": "write", "issues": "read"}
	one := &ghapp.Token{Repositories: []string{"Acme/Site"}, Permissions: granted}
	for _, test := range []struct {
		name    string
		request ghapp.TokenRequest
		token   *ghapp.Token
		asked   ghapp.RepositoryName
		want    ghapp.Permissions
	}{
		{"named", ghapp.TokenRequest{Permissions: write}, one, ghapp.RepositoryName{Owner: "acme", Name: "site"}, write},
		{"not named", ghapp.TokenRequest{Permissions: write}, one, ghapp.RepositoryName{Owner: "acme", Name: "web"}, config},
		{"another owner's", ghapp.TokenRequest{Permissions: write}, one,
			ghapp.RepositoryName{Owner: "octo", Name: "site"}, config},
		{"no flag", ghapp.TokenRequest{Permissions: ghapp.Permissions{}}, one,
			ghapp.RepositoryName{Owner: "acme", Name: "site"}, config},
		{"no contents", ghapp.TokenRequest{Permissions: ghapp.Permissions{"issues": "write"}}, one,
			ghapp.RepositoryName{Owner: "acme", Name: "site"}, config},
		{"all permissions", ghapp.TokenRequest{AllPermissions: true}, one,
			ghapp.RepositoryName{Owner: "acme", Name: "site"}, granted},
		{"all repositories", ghapp.TokenRequest{AllRepositories: true, Permissions: write}, &ghapp.Token{},
			ghapp.RepositoryName{Owner: "ACME", Name: "any"}, write},
		{"all repositories, another owner's", ghapp.TokenRequest{AllRepositories: true, Permissions: write}, &ghapp.Token{},
			ghapp.RepositoryName{Owner: "octo", Name: "any"}, config},
	} {
		got := gitMay(configured, "acme", test.request, test.token)(test.asked)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// answering answers all requests with a status.
type answering struct {
	status   int
	requests int
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.requests++
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	if a.status >= 400 {
		_, _ = w.WriteString(`{"message": "as GitHub says it", "documentation_url": "https://docs.github.com/rest"}`)
	}
	response := w.Result()
	response.Request = r
	return response, nil
}

func TestEndOfTokens(t *testing.T) {
	for name, test := range map[string]struct {
		status, requests int
		left             time.Duration
		warning          string
	}{
		"revoked":                    {204, 1, 30 * time.Minute, ""},
		"revoked by the command":     {401, 1, 30 * time.Minute, ""},
		"refused":                    {403, 1, 30 * time.Minute, "could not be revoked; it lives on until "},
		"expired, which is not told": {403, 0, -time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server, stderr := &answering{status: test.status}, &bytes.Buffer{}
			app := appOver(t, "github.com", server)
			minted := time.Now().Add(-30 * time.Minute)
			token := &ghapp.Token{Secret: secret.New("ghs_canary"), MintedAt: minted, ExpiresAt: time.Now().Add(test.left)}
			tokens := &issuedTokens{}
			tokens.add(app, token)
			tokens.add(app, token) // given to git twice
			tokens.revoke(slog.New(slog.NewTextHandler(stderr, nil)))
			testkit.Equal(t, server.requests, test.requests, "requests")
			if got := stderr.String(); !strings.Contains(got, test.warning) || test.warning == "" && got != "" ||
				strings.Contains(got, "canary") {
				t.Errorf("told: %q", got)
			}
		})
	}
}

// A command that runs for a month gets a token each hour.
func TestTokensThatHaveRunOutAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, tokens := appOn(t, "github.com"), &issuedTokens{}
		for hour := range 24 * 30 {
			token := &ghapp.Token{Secret: secret.New(fmt.Sprint("ghs_", hour)), MintedAt: time.Now(),
				ExpiresAt: time.Now().Add(time.Hour)}
			for range 3 { // git asks more often
				tokens.add(app, token)
			}
			time.Sleep(55 * time.Minute)
			if n := len(tokens.list); n > 2 {
				t.Fatalf("hour %d: %d are kept", hour, n)
			}
		}
	})
}
