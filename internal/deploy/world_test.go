//go:build unix

package deploy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// world is a GitHub with a public repository, and a
// directory that is kept at a branch of it.
type world struct {
	t      *testing.T
	github *githubtest.GitHub
	server *httptest.Server
	site   *githubtest.Repository
	target *Target
	log    *logged
	native bool // git fetch is not needed
}

// logged keeps what is logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, change ...func(*Target)) *world {
	t.Helper()
	return newWorldIn(t, t.TempDir(), change...)
}

// newWorldIn has the directory in dir.
func newWorldIn(t *testing.T, dir string, change ...func(*Target)) *world {
	t.Helper()
	github := testkit.Must(githubtest.New(githubtest.Options{Dir: t.TempDir()}))(t)
	t.Cleanup(func() { _ = github.Close() })
	w := &world{t: t, github: github, log: &logged{}, native: os.Getenv("DEPLOY_TEST_NATIVE") != ""}
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.server.Close)
	w.site = w.repository("acme/site")
	home := t.TempDir()
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
	w.target = &Target{
		Dir:     filepath.Join(dir, "site"),
		Git:     gitcmd.Runner{Environ: environ},
		Scope:   gitcmd.Scope{Origin: w.server.URL, Helper: "!printf 'username=x\\npassword=x\\n'; :"},
		Environ: environ,
		Log:     slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(w.target)
	}
	return w
}

// serve is GitHub without a look at the credential, which newer versions of git insist on
// sending (http.proactiveAuth).
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	r.Header.Del("Authorization")
	w.github.ServeHTTP(rw, r)
}

func (w *world) repository(name string) *githubtest.Repository {
	w.t.Helper()
	return w.github.AddRepository(name, githubtest.RepositoryOptions{Public: true})
}

// commit adds files to the branch deployment.
func (w *world) commit(files map[string]string) string {
	w.t.Helper()
	oid := testkit.Must(w.site.Commit("deployment", "Change", files))(w.t)
	return oid
}

func (w *world) want(commit string) Request {
	q := Request{Repository: "acme/site", URL: w.server.URL + "/acme/site.git",
		Ref: "refs/heads/deployment", Commit: commit}
	if w.native {
		q.Fetch = fetchFrom(w.server.URL)
	}
	return q
}

// fetchFrom fetches the repository acme/site of a server without git.
func fetchFrom(origin string) Fetch {
	service := &gitwire.Service{Origin: origin}
	return func(ctx context.Context, want gitwire.Request, to io.Writer) (int64, error) {
		return service.Fetch(ctx, ghapp.RepositoryName{Owner: "acme", Name: "site"}, want, to)
	}
}

// publish publishes a commit, which must succeed.
func (w *world) publish(commit string) *Outcome {
	w.t.Helper()
	outcome, err := w.target.Publish(w.t.Context(), w.want(commit))
	testkit.OK(w.t, err, "%s", w.log)
	return outcome
}

// refused tries to publish a commit, which must fail.
func (w *world) refused(commit string) error {
	w.t.Helper()
	before, outcome := w.shows(), (*Outcome)(nil)
	outcome, err := w.target.Publish(w.t.Context(), w.want(commit))
	if err == nil {
		w.t.Fatalf("%+v was published", outcome)
	}
	testkit.Equal(w.t, w.shows(), before, "after a failure the directory shows")
	w.clean()
	return err
}

// shows are all files of the directory with their texts.
func (w *world) shows() string {
	w.t.Helper()
	return tree(w.t, w.target.Dir)
}

func tree(t testing.TB, dir string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	var lines []string
	testkit.OK(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(name)
			lines = append(lines, rel+" -> "+to)
			return err
		}
		text, err := os.ReadFile(name)
		lines = append(lines, fmt.Sprintf("%s: %s", rel, strings.TrimSpace(string(text))))
		return err
	}))
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// clean fails the test where anything half made lies about.
func (w *world) clean() {
	w.t.Helper()
	testkit.Equal(w.t, litter(w.target), "", "half made")
}

// litter are the names of what is half made.
func litter(t *Target) string {
	var found []string
	for _, dir := range []string{t.releases(), t.records()} {
		names, err := entries(dir)
		if err != nil {
			return err.Error()
		}
		for _, name := range names {
			if r, err := t.load(name); err != nil || r.PublishedAt.IsZero() || r.Exchange != "" || !exists(t.location(r)) {
				found = append(found, filepath.Join(dir, name))
			}
		}
	}
	_ = filepath.WalkDir(t.base(), func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		switch {
		case path == t.releases():
			return fs.SkipDir
		case strings.HasPrefix(name, linkPrefix), strings.HasSuffix(name, tempSuffix), strings.HasSuffix(name, ".old"),
			strings.HasSuffix(name, ".lock"), strings.HasPrefix(name, "tmp_"), strings.HasPrefix(name, "incoming-"):
			found = append(found, path)
		}
		return err
	})
	return strings.Join(found, ", ")
}

// requests counts those that the server had since it was last asked.
func (w *world) requests() int {
	n := len(w.github.Requests())
	w.github.ResetRequests()
	return n
}

// published is the release that is published.
func (w *world) published() *Release {
	w.t.Helper()
	r := testkit.Must(w.target.Published())(w.t)
	return r
}
