package refs_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/refs"
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

var site = ghapp.Repository{Owner: "acme", Name: "site"}

// world is a GitHub behind a real server, with git http-backend in it, and an Asker
// before it.
type world struct {
	github     *githubtest.GitHub
	repository *githubtest.Repository
	app        *ghapp.App
	asker      *refs.Asker
	server     *httptest.Server
}

func newWorld(t testing.TB) *world {
	t.Helper()
	github, err := githubtest.New(githubtest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = github.Close() })
	w := &world{github: github, server: httptest.NewServer(github)}
	t.Cleanup(w.server.Close)
	app := github.AddApp(githubtest.AppOptions{Owner: "acme", Permissions: map[string]string{"contents": "write", "metadata": "read"}})
	app.AddKey(&testKey().PublicKey)
	w.repository = github.AddRepository("acme/site", githubtest.RepositoryOptions{})
	app.Install("acme", githubtest.InstallOptions{All: true})
	w.app, err = ghapp.New(ghapp.Config{Host: w.server.URL, Issuer: app.ClientID, Signer: ghapp.FromCryptoSigner(testKey())})
	if err != nil {
		t.Fatal(err)
	}
	w.asker = w.newAsker(w.server.URL)
	w.asker.Transport = &http.Transport{}
	t.Cleanup(w.asker.Transport.(*http.Transport).CloseIdleConnections)
	return w
}

func (w *world) newAsker(origin string) *refs.Asker {
	return &refs.Asker{
		Origin: origin,
		Token: func(ctx context.Context, r ghapp.Repository) (*ghapp.Token, error) {
			return w.app.Token(ctx, request(r))
		},
		Drop: func(ctx context.Context, r ghapp.Repository, t *ghapp.Token) error {
			return w.app.Drop(ctx, request(r), t.Secret)
		},
	}
}

func request(r ghapp.Repository) ghapp.TokenRequest {
	return ghapp.TokenRequest{Repositories: []string{r.String()}}
}

// commit adds a commit to a branch.
func (w *world) commit(t testing.TB, branch string) string {
	t.Helper()
	oid, err := w.repository.Commit(branch, "change", map[string]string{"file": rand.Text()})
	if err != nil {
		t.Fatal(err)
	}
	return oid
}

func (w *world) ask(t testing.TB, want refs.Want) refs.Found {
	t.Helper()
	found, err := w.asker.Ask(t.Context(), site, want)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
