package refs_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

var site = ghapp.RepositoryName{Owner: "acme", Name: "site"}

// world is a GitHub behind a real server, with git http-backend in it, and an Asker
// before it.
type world struct {
	dir        string
	github     *githubtest.GitHub
	repository *githubtest.Repository
	app        *ghapp.App
	issuer     string
	asker      *refs.Asker
	server     *httptest.Server
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	github, err := githubtest.New(githubtest.Options{Dir: dir})
	testkit.OK(t, err)
	t.Cleanup(func() { _ = github.Close() })
	w := &world{dir: dir, github: github, server: httptest.NewServer(github)}
	t.Cleanup(w.server.Close)
	app := github.AddApp(githubtest.AppOptions{Owner: "acme",
		Permissions: map[string]string{"contents": "write", "metadata": "read"}})
	app.AddKey(&testkit.Key(t).PublicKey)
	w.issuer = app.ClientID
	w.repository = github.AddRepository("acme/site", githubtest.RepositoryOptions{})
	app.Install("acme", githubtest.InstallOptions{All: true})
	w.app, err = ghapp.New(ghapp.Config{Client: ghapp.Client{Host: w.server.URL}, Issuer: app.ClientID,
		Signer: signer.FromCryptoSigner(testkit.Key(t))})
	testkit.OK(t, err)
	w.asker = w.newAsker(w.server.URL)
	w.asker.Transport = &http.Transport{}
	t.Cleanup(w.asker.Transport.(*http.Transport).CloseIdleConnections)
	return w
}

func (w *world) newAsker(origin string) *refs.Asker {
	return &refs.Asker{
		Origin: origin,
		Token: func(ctx context.Context, r ghapp.RepositoryName) (*ghapp.Token, error) {
			return w.app.Token(ctx, request(r))
		},
		Drop: func(ctx context.Context, r ghapp.RepositoryName, t *ghapp.Token) error {
			return w.app.Invalidate(ctx, request(r), t.Secret)
		},
	}
}

func request(r ghapp.RepositoryName) ghapp.TokenRequest {
	return ghapp.TokenRequest{Repositories: []string{r.String()}}
}

// commit adds a commit to a branch.
func (w *world) commit(t testing.TB, branch string) string {
	t.Helper()
	oid := testkit.Must(w.repository.Commit(branch, "change", map[string]string{"file": rand.Text()}))(t)
	return oid
}

func (w *world) ask(t testing.TB, want refs.Revision) refs.Found {
	t.Helper()
	found := testkit.Must(w.asker.Ask(t.Context(), site, want))(t)
	return found
}

// git runs git in the repository on GitHub's disk.
func (w *world) git(t testing.TB, args ...string) string {
	t.Helper()
	return git(t, filepath.Join(w.dir, strconv.FormatInt(w.repository.ID, 10)+".git"), args...)
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	testkit.OK(t, err, "git %v, %s", args, out)
	return strings.TrimSpace(string(out))
}

// counted counts the requests that a handler gets.
type counted struct {
	http.Handler
	requests atomic.Int64
}

// ServeHTTP implements [http.Handler].
func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.requests.Add(1)
	c.Handler.ServeHTTP(w, r)
}

// serve starts a server and returns an Asker of it that has no token.
func serve(t testing.TB, h http.Handler) (*refs.Asker, *counted) {
	t.Helper()
	c := &counted{Handler: h}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &refs.Asker{Origin: server.URL, API: "https://api.github.com", Transport: transport}, c
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is one of a git service, in a process.
func answer(status int, text string, headers ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/x-git-upload-pack-result"}}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text)), Header: h}
}

// lines are pkt-lines, and the flush packet at their end.
func lines(text ...string) string {
	var b strings.Builder
	for _, line := range text {
		fmt.Fprintf(&b, "%04x%s\n", len(line)+5, line)
	}
	return b.String() + "0000"
}

// tokenOf is a token of an age.
func tokenOf(text string, age time.Duration) *ghapp.Token {
	return &ghapp.Token{Secret: secret.New(text), MintedAt: time.Now().Add(-age),
		ExpiresAt: time.Now().Add(time.Hour - age), API: "https://api.github.com"}
}

// source gives one token.
type source struct{ token *ghapp.Token }

// Token implements [ghapp.TokenSource].
func (s source) Token(context.Context) (*ghapp.Token, error) { return s.token, nil }

// detail is the one of its type that an error has, or the zero value.
func detail[T any, E interface {
	*T
	error
}](e error) T {
	if found, ok := errors.AsType[E](e); ok {
		return *found
	}
	var none T
	return none
}
