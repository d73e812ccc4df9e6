package githubtest_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func newGitHub(t testing.TB) *githubtest.GitHub {
	t.Helper()
	gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	t.Cleanup(func() {
		testkit.OK(t, gh.Close())
	})
	return gh
}

// newApp is an App with the first key.
func newApp(t testing.TB, gh *githubtest.GitHub, o githubtest.AppOptions) *githubtest.App {
	t.Helper()
	app := gh.AddApp(o)
	app.AddKey(&testkit.Key(t).PublicKey)
	return app
}

func claims(app *githubtest.App) map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": app.ClientID, "iat": now - 60, "exp": now + 300}
}

func with(m map[string]any, name string, value any) map[string]any {
	m = maps.Clone(m)
	if value == nil {
		delete(m, name)
	} else {
		m[name] = value
	}
	return m
}

func sign(t testing.TB, key *rsa.PrivateKey, alg string, claims map[string]any) string {
	t.Helper()
	header := testkit.Must(json.Marshal(map[string]string{"alg": alg, "typ": "JWT"}))(t)
	payload := testkit.Must(json.Marshal(claims))(t)
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(text))
	signature := testkit.Must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]))(t)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func bearer(t testing.TB, app *githubtest.App) string {
	t.Helper()
	return "Bearer " + sign(t, testkit.Key(t), "RS256", claims(app))
}

// reply is an answer of the REST API.
type reply struct {
	status int
	header http.Header
	text   string
	json   any
}

func (r reply) field(name string) any {
	m, _ := r.json.(map[string]any)
	return m[name]
}

func (r reply) message() string {
	text, _ := r.field("message").(string)
	return text
}

// ask sends a request in process. Headers are given as pairs.
func ask(t testing.TB, gh *githubtest.GitHub, method, url, authorization, body string, headers ...string) reply {
	t.Helper()
	if strings.HasPrefix(url, "/") {
		url = "https://github.test" + url
	}
	req := testkit.Must(http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body)))(t)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := testkit.Must(gh.RoundTripper().RoundTrip(req))(t)
	return read(t, res)
}

func read(t testing.TB, res *http.Response) reply {
	t.Helper()
	defer res.Body.Close()
	text := testkit.Must(io.ReadAll(res.Body))(t)
	r := reply{status: res.StatusCode, header: res.Header, text: string(text)}
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		testkit.OK(t, json.Unmarshal(text, &r.json), "%s is no JSON", text)
	}
	return r
}

// mint mints a token that must be given.
func mint(t testing.TB, gh *githubtest.GitHub, app *githubtest.App, inst *githubtest.Installation, body string) string {
	t.Helper()
	r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), body)
	if r.status != http.StatusCreated {
		t.Fatalf("mint: %d %s", r.status, r.text)
	}
	return r.field("token").(string)
}

func mintPath(inst *githubtest.Installation) string {
	return fmt.Sprintf("/app/installations/%d/access_tokens", inst.ID)
}

// git runs git with no configuration but what is given, in a directory of the test.
func git(t testing.TB, dir string, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "nowhere"), "GIT_CONFIG_NOSYSTEM=1",
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=T", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=T", "GIT_COMMITTER_EMAIL=t@example.com",
		"GIT_CONFIG_COUNT=3",
		"GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always",
		"GIT_CONFIG_KEY_1=gc.auto", "GIT_CONFIG_VALUE_1=0",
		"GIT_CONFIG_KEY_2=core.fsync", "GIT_CONFIG_VALUE_2=none",
	}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func mustGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := git(t, dir, args...)
	testkit.OK(t, err, "git %s, %s", strings.Join(args, " "), out)
	return strings.TrimSpace(out)
}

// remote is the URL of a repository with a token in it.
func remote(server *httptest.Server, token, path string) string {
	_, host, _ := strings.Cut(server.URL, "://")
	return "http://x-access-token:" + token + "@" + host + path
}

func TestStandardLibraryOnly(t *testing.T) {
	files := testkit.Must(filepath.Glob("*.go"))(t)
	checked := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f := testkit.Must(parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly))(t)
		for _, spec := range f.Imports {
			if first, _, _ := strings.Cut(spec.Path.Value, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", file, spec.Path.Value)
			}
			checked++
		}
	}
	if checked == 0 {
		t.Error("no imports found to check")
	}
}

func TestDirIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repositories")
	gh := testkit.Must(githubtest.New(githubtest.Options{Dir: dir}))(t)
	testkit.Must(gh.AddRepository("acme/site", githubtest.RepositoryOptions{}).Commit("main", "first", nil))(t)
	testkit.OK(t, gh.Close())
	if found, _ := filepath.Glob(filepath.Join(dir, "*.git")); len(found) != 1 {
		t.Errorf("after Close the given directory holds %v, want one repository", found)
	}
	if _, err := githubtest.New(githubtest.Options{Dir: dir}); err == nil {
		t.Error("a directory that is not empty was taken")
	}
}

func TestTemporaryDirIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	count := func() int {
		found, _ := os.ReadDir(os.TempDir())
		return len(found)
	}
	testkit.Equal(t, count(), 0, "a directory was made before a repository needed it")
	repo := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	testkit.Must(repo.Commit("main", "first", nil))(t)
	testkit.Equal(t, count(), 1, "the first commit did not make the directory where it was looked for")
	testkit.OK(t, gh.Close())
	testkit.Equal(t, count(), 0, "Close left the directory behind")
	testkit.Fails(t, testkit.ErrorOf(repo.Commit("main", "second", nil)), "a commit after Close was made")
	testkit.Equal(t, ask(t, gh, "GET", "/meta", "", "").status, http.StatusServiceUnavailable, "after Close the answer")
}

func TestNoGit(t *testing.T) {
	gh := testkit.Must(githubtest.New(githubtest.Options{Git: "no-such-git"}))(t)
	defer gh.Close()
	if _, err := gh.AddRepository("acme/site", githubtest.RepositoryOptions{}).Commit("main", "first", nil); err == nil {
		t.Error("a commit without git was made")
	}
	testkit.Equal(t, ask(t, gh, "GET", "/meta", "", "").status, http.StatusOK, "the REST half answers")
}

// Everything at once; the race detector is the judge.
func TestConcurrentUse(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	repo := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), "")
			secret, _ := r.field("token").(string)
			ask(t, gh, "GET", "/installation/repositories", "Bearer "+secret, "")
			gh.AddRepository(fmt.Sprintf("acme/r%d", i), githubtest.RepositoryOptions{})
			gh.Rename(fmt.Sprintf("acme/r%d", i), fmt.Sprintf("s%d", i))
			gh.Fault(githubtest.Fault{Match: fmt.Sprintf("GET /never/%d", i), Status: 500})
			if _, err := repo.Commit("main", "change", map[string]string{"n": fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
			inst.SetPermissions(map[string]string{"contents": "write"})
			gh.Requests()
			gh.Tokens()
			gh.ClearFaults()
		})
	}
	wg.Wait()
	testkit.Equal(t, gh.Mints(), 8, "mints")
}

// basicAuth is the credential git sends for a token.
func basicAuth(secret string) string {
	return base64.StdEncoding.EncodeToString([]byte("x-access-token:" + secret))
}
