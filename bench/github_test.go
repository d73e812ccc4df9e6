package bench

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v88/github"
	"golang.org/x/oauth2"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/signer"
)

// gitHub is the stand-in on a loopback port, with an App that is installed on acme,
// and all that the contestants need to be that App.
type gitHub struct {
	*githubtest.GitHub
	app          *githubtest.App
	installation *githubtest.Installation
	url          string
	key          []byte       // PEM
	latency      atomic.Int64 // nanoseconds before each answer
	// transport is shared by everyone who asks from this process, so that no one has
	// the pains of a first connection alone.
	transport *http.Transport
}

func newGitHub(tb testing.TB) *gitHub { return newGitHubIn(tb, "") }

// newGitHubIn has the repositories in a directory; "" is one that goes with it.
func newGitHubIn(tb testing.TB, dir string) *gitHub {
	tb.Helper()
	gh, err := githubtest.New(githubtest.Options{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	g := &gitHub{GitHub: gh, transport: &http.Transport{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(g.latency.Load()))
		gh.ServeHTTP(w, r)
	}))
	tb.Cleanup(func() {
		server.Close()
		if err := gh.Close(); err != nil {
			tb.Error(err)
		}
	})
	gh.SetRateLimit(-1)
	gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	g.app, g.url = gh.AddApp(githubtest.AppOptions{}), server.URL
	g.installation = g.app.Install("acme", githubtest.InstallOptions{All: true})
	key, err := g.app.RotateKey()
	if err != nil {
		tb.Fatal(err)
	}
	g.key = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	tb.Cleanup(g.transport.CloseIdleConnections)
	return g
}

// ghapp is our source of tokens. Like the others it is told the installation.
func (g *gitHub) ghapp(tb testing.TB) func() ghapp.TokenSource {
	tb.Helper()
	newApp := g.newApp(tb)
	return func() ghapp.TokenSource {
		return newApp().TokenSource(ghapp.TokenRequest{
			Repositories: []string{"acme/site"},
			Permissions:  ghapp.Permissions{"contents": "read"},
			Installation: strconv.FormatInt(g.installation.ID, 10),
		})
	}
}

// newApp makes the App anew, with nothing kept.
func (g *gitHub) newApp(tb testing.TB) func() *ghapp.App {
	tb.Helper()
	key, err := signer.Parse(g.key)
	if err != nil {
		tb.Fatal(err)
	}
	return func() *ghapp.App {
		app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: g.url, Transport: g.transport},
			Issuer: g.app.ClientID, Signer: key})
		if err != nil {
			tb.Fatal(err)
		}
		return app
	}
}

// ghinstallation is github.com/bradleyfalzon/ghinstallation, asking for the same.
func (g *gitHub) ghinstallation(tb testing.TB) func() *ghinstallation.Transport {
	tb.Helper()
	apps, err := ghinstallation.NewAppsTransport(g.transport, g.app.ID, g.key)
	if err != nil {
		tb.Fatal(err)
	}
	apps.BaseURL = g.url
	return func() *ghinstallation.Transport {
		transport := ghinstallation.NewFromAppsTransport(apps, g.installation.ID)
		transport.InstallationTokenOptions = &github.InstallationTokenOptions{
			Repositories: []string{"site"},
			Permissions:  &github.InstallationPermissions{Contents: github.Ptr("read")},
		}
		return transport
	}
}

// reuse is golang.org/x/oauth2's cache over a source that mints at each call. That
// package knows no GitHub Apps, so ghinstallation mints for it.
func (g *gitHub) reuse(tb testing.TB) func() oauth2.TokenSource {
	tb.Helper()
	return func() oauth2.TokenSource { return oauth2.ReuseTokenSource(nil, minter{g.ghinstallation(tb)}) }
}

type minter struct {
	transport func() *ghinstallation.Transport
}

func (m minter) Token() (*oauth2.Token, error) {
	transport := m.transport() // holds no token yet
	token, err := transport.Token(context.Background())
	if err != nil {
		return nil, err
	}
	expires, _, err := transport.Expiry()
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: token, TokenType: "token", Expiry: expires}, nil
}
