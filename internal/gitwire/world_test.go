package gitwire_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

var site = ghapp.RepositoryName{Owner: "acme", Name: "site"}

const (
	oid1 = "1111111111111111111111111111111111111111"
	oid2 = "2222222222222222222222222222222222222222"
)

// origin is a repository acme/site.git behind git's own server.
type origin struct {
	dir  string // of the repository
	root string
}

func newOrigin(t testing.TB, options ...string) *origin {
	t.Helper()
	root := t.TempDir()
	o := &origin{dir: filepath.Join(root, "acme", "site.git"), root: root}
	testkit.OK(t, os.MkdirAll(o.dir, 0o700))
	o.git(t, "", append([]string{"init", "--quiet", "--bare", "--initial-branch=main"}, options...)...)
	return o
}

// git runs git in the repository, with something on its standard input.
func (o *origin) git(t testing.TB, input string, args ...string) string {
	t.Helper()
	return git(t, o.dir, strings.NewReader(input), args...)
}

func git(t testing.TB, dir string, input io.Reader, args ...string) string {
	t.Helper()
	out, err := gitCommand(t, dir, input, args...).CombinedOutput()
	testkit.OK(t, err, "git %v, %s", args, out)
	return strings.TrimSpace(string(out))
}

func gitCommand(t testing.TB, dir string, input io.Reader, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, input
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000")
	return cmd
}

// commit adds a commit with a file of that text, upon parents where there are any, has a ref
// point to it, and returns it.
func (o *origin) commit(t testing.TB, ref, text string, parents ...string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "commit %s\nmark :1\ncommitter A <a@example.com> 1700000000 +0000\ndata 1\nx\n", ref)
	for i, parent := range parents {
		fmt.Fprintf(&b, "%s %s\n", map[bool]string{true: "from", false: "merge"}[i == 0], parent)
	}
	fmt.Fprintf(&b, "M 100644 inline file\ndata %d\n%s\n\nget-mark :1\n", len(text), text)
	return o.git(t, b.String(), "fast-import", "--quiet", "--force")
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

// serve starts a server and returns its Service, which has no token.
func serve(t testing.TB, h http.Handler) (*gitwire.Service, *counted) {
	t.Helper()
	c := &counted{Handler: h}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &gitwire.Service{Origin: server.URL, API: apiRoot, Transport: transport}, c
}

func (o *origin) service(t testing.TB) (*gitwire.Service, *counted) {
	return serve(t, testkit.GitBackend(t, o.root))
}

// answer is one of a git service, in a process.
func answer(status int, text string, headers ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/x-git-upload-pack-result"}}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text)), Header: h}
}

// answering is a Service that has the same answer to everything.
func answering(text string) *gitwire.Service {
	return &gitwire.Service{Origin: "https://github.com",
		Transport: testkit.RoundTrip(func(*http.Request) (*http.Response, error) { return answer(200, text), nil })}
}

// lines are pkt-lines, and the flush packet at their end.
func lines(text ...string) string {
	var b strings.Builder
	for _, line := range text {
		b.WriteString(line1(line + "\n"))
	}
	return b.String() + "0000"
}

// line1 is a pkt-line of just these bytes.
func line1(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// band is a pkt-line of a sideband.
func band(n byte, text string) string { return line1(string(rune(n)) + text) }

// packAnswer is an answer with a section of the pack.
func packAnswer(parts ...string) string {
	return line1("packfile\n") + strings.Join(parts, "") + "0000"
}

// apiRoot is that of the host whose git service is asked here.
const apiRoot = "https://api.github.com"

// tokenOf is a token of an age.
func tokenOf(text string, age time.Duration) *ghapp.Token {
	return &ghapp.Token{Secret: secret.New(text), MintedAt: time.Now().Add(-age),
		ExpiresAt: time.Now().Add(time.Hour - age), API: apiRoot}
}

// tokens is a source of tokens for a [gitwire.Service].
func tokens(list ...*ghapp.Token) (
	token func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error),
	drop func(context.Context, ghapp.RepositoryName, *ghapp.Token) error,
) {
	n := 0
	return func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) {
			return list[min(n, len(list)-1)], nil
		},
		func(context.Context, ghapp.RepositoryName, *ghapp.Token) error { n++; return nil }
}
