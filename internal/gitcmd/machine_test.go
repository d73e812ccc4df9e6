package gitcmd

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The secrets that must be seen in one place only, or nowhere. The token is new in
// each run, as all processes of the machine are searched for it.
var token = "ghs_" + rand.Text()

const theirs = "ghp_AmbientFEDCBA9876543210zyxwvutsrqponm"

// request is what an origin saw of one.
type request struct {
	Method, Path, Login string
	Header              http.Header
}

// origin is a server of git repositories under ROOT/OWNER/NAME.git, with or without
// the ending in the address, for those who bring its token.
type origin struct {
	*httptest.Server
	root   string
	public bool
	answer func(http.ResponseWriter, *http.Request) bool // true: it has answered

	mu       sync.Mutex
	requests []request
}

// newOrigin serves the repositories of [shared], unless the test brings its own.
func newOrigin(t *testing.T, change ...func(*origin)) *origin {
	t.Helper()
	o := unstarted(t, change...)
	o.Start()
	return o
}

func unstarted(t *testing.T, change ...func(*origin)) *origin {
	t.Helper()
	o := &origin{root: filepath.Join(shared(), "good")}
	for _, f := range change {
		f(o)
	}
	git := testkit.Must(exec.LookPath("git"))(t)
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		o.mu.Lock()
		o.requests = append(o.requests, request{r.Method, r.URL.Path, strings.Trim(user+":"+password, ":"), r.Header.Clone()})
		o.mu.Unlock()
		if o.answer != nil && o.answer(w, r) {
			return
		}
		if !o.public && password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "Invalid username or token.", http.StatusUnauthorized)
			return
		}
		if at := strings.Index(r.URL.Path, "/info/refs"); !strings.Contains(r.URL.Path, ".git/") {
			if at < 0 {
				at = strings.LastIndex(r.URL.Path, "/")
			}
			r.URL.Path = r.URL.Path[:at] + ".git" + r.URL.Path[at:]
		}
		r.Header.Del("Authorization") // it would stand in the environment of the program
		backend := &cgi.Handler{
			Path: git, Args: []string{"http-backend"}, Dir: o.root, Logger: nil, Stderr: io.Discard,
			Env: []string{"GIT_PROJECT_ROOT=" + o.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
				"HOME=" + o.root, "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol")},
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// seen returns the requests so far.
func (o *origin) seen() []request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

// shared holds repositories that tests read: good/acme/site.git, which has the real
// index.html, and evil/acme/site.git, which has another.
var shared = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "gitcmd-test-")
	if err != nil {
		panic(err)
	}
	for kind, text := range map[string]string{"good": "the real one\n", "evil": "evil\n"} {
		if err := repository(filepath.Join(dir, kind), "acme/site", map[string]string{"index.html": text}); err != nil {
			panic(err)
		}
	}
	return dir
})

func evil(o *origin) { o.public, o.root = true, filepath.Join(shared(), "evil") }

// repository makes root/OWNER/NAME.git with the files, on branches main and
// deployment.
func repository(root, name string, files map[string]string, more ...[]string) error {
	work := filepath.Join(root, "work", name)
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(work, path)), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, path), []byte(text), 0o666); err != nil {
			return err
		}
	}
	commands := append([][]string{{"init", "--quiet", "--initial-branch=main"}}, more...)
	commands = append(commands, [][]string{
		{"add", "--all"},
		{"commit", "--quiet", "--message=first"},
		{"branch", "deployment"},
		{"clone", "--quiet", "--bare", work, filepath.Join(root, name+".git")},
	}...)
	for _, args := range commands {
		if out, err := gitIn(work, args...); err != nil {
			return fmt.Errorf("git %q: %w\n%s", args, err, out)
		}
	}
	return nil
}

// gitIn runs git for the preparation of a test, apart from any configuration but
// that in dir.
func gitIn(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@example.com"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func plainGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := gitIn(dir, args...)
	testkit.OK(t, err, "git %q, %s", args, out)
	return out
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o777))
	// A program that is started meanwhile would have the file open for writing, and
	// a file that is written to cannot be run.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o777))
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text := testkit.Must(os.ReadFile(path))(t)
	return string(text)
}

// machine is a user's machine: a home, an environment, and the helper that knows
// the token.
type machine struct {
	home, dir, helper string
	environ, extra    []string // extra are options of git clone
	stdout, stderr    safeBuffer
}

// safeBuffer is written to by git's two outputs.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{home: t.TempDir(), dir: t.TempDir()}
	private := t.TempDir()
	secret := write(t, filepath.Join(private, "secret"), token)
	m.helper = write(t, filepath.Join(private, "git-credential-ghapp"), fmt.Sprintf(`#!/bin/sh
{ echo "asked: $1"; cat; echo; } >>'%[1]s/asked'
env >>'%[1]s/environ'
test "$1" = get && echo username=x-access-token && printf password= && cat '%[2]s' && echo
exit 0
`, private, secret))
	m.environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.home, "GIT_CONFIG_NOSYSTEM=1",
		"TMPDIR=" + t.TempDir(), "LC_ALL=C.UTF-8"}
	return m
}

// asked is what the helper was asked, and environment what it found.
func (m *machine) asked(t *testing.T) string {
	return read(t, filepath.Join(filepath.Dir(m.helper), "asked"))
}
func (m *machine) environment(t *testing.T) string {
	return read(t, filepath.Join(filepath.Dir(m.helper), "environ"))
}

// config adds to the user's configuration.
func (m *machine) config(t *testing.T, key, value string) {
	t.Helper()
	section, rest, _ := strings.Cut(key, ".")
	dot := strings.LastIndexByte(rest, '.')
	name := "[" + section + "]"
	if dot >= 0 {
		name = "[" + section + " " + strconv.Quote(rest[:dot]) + "]"
	}
	file, err := os.OpenFile(filepath.Join(m.home, ".gitconfig"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	testkit.OK(t, err)
	defer file.Close()
	fmt.Fprintf(file, "%s\n\t%s = %s\n", name, rest[dot+1:], strconv.Quote(value))
}

func (m *machine) set(name, value string) { m.environ = append(m.environ, name+"="+value) }

func (m *machine) runner() *Runner {
	return &Runner{Dir: m.dir, Environ: m.environ, Stdout: &m.stdout, Stderr: &m.stderr}
}

func (m *machine) options(o *origin, name string) CloneOptions {
	return CloneOptions{Scope: Scope{Origin: o.URL, Helper: m.helper}, URL: o.URL + "/" + name + ".git", Extra: m.extra}
}

// forms are the ways in which a secret can be written down.
func forms(secret string) []string {
	list := []string{secret}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(":", shift) + secret))
		list = append(list, text[4:len(text)-4])
	}
	return list
}

// mustNotHold fails if a secret is in the text.
func mustNotHold(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				t.Errorf("%s holds a secret, as %.6s…", where, form)
			}
		}
	}
}

// mustNotBeUnder fails if a secret is in a file under dir, or in its name.
func mustNotBeUnder(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files++
		mustNotHold(t, path, path+read(t, path), secrets...)
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%s: %d files searched: %v", dir, files, err)
	}
}

// quiet is the log of a server that is provoked.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
