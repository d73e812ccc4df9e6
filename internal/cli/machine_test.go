package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// patience is how long a test waits for what should take a moment.
const patience = 30 * time.Second

// machine is a user's machine with ghapp and git on it, and the world it talks to.
type machine struct {
	*world
	t       *testing.T
	server  *httptest.Server
	host    string // of the server, as requests name it
	traffic *traffic
	root    string // holds the five directories
	home    string
	temp    string // $TMPDIR
	runtime string // $XDG_RUNTIME_DIR
	cache   string // $XDG_CACHE_HOME
	work    string // the current directory
	environ map[string]string
	// programs is the directory of ghapp; "": the one where the tests have built it.
	programs string
	user     func(*exec.Cmd) // makes a command the user's; nil: it is that of the tests
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	return newWorldFor(t).machine(t)
}

// newWorldFor is a world that ends with the test.
func newWorldFor(t *testing.T) *world {
	t.Helper()
	testkit.Long(t)
	w := testkit.Must(newWorld(filepath.Join(t.TempDir(), "github"), testkit.Key(t)))(t)
	t.Cleanup(func() { _ = w.github.Close() })
	return w
}

// machine is a new machine in this world, which has an address of its own for each.
func (w *world) machine(t *testing.T) *machine {
	t.Helper()
	testkit.OK(t, build())
	m := &machine{world: w, t: t, traffic: &traffic{next: w.github}}
	m.server = httptest.NewServer(m.traffic)
	m.host = m.server.Listener.Addr().String()
	t.Cleanup(func() {
		m.traffic.release()
		m.server.CloseClientConnections()
		m.server.Close()
	})
	m.setUp()
	return m
}

// secrets are the world's, and whatever came with a request.
func (m *machine) secrets() []string {
	m.traffic.mu.Lock()
	defer m.traffic.mu.Unlock()
	return append(m.world.secrets(), m.traffic.credentials...)
}

// credentialsSent is how many different ones came with requests.
func (m *machine) credentialsSent() int {
	m.traffic.mu.Lock()
	defer m.traffic.mu.Unlock()
	return len(m.traffic.credentials)
}

// requests are those that came from this machine.
func (m *machine) requests() []githubtest.Request {
	return slices.DeleteFunc(m.github.Requests(), func(r githubtest.Request) bool {
		return !strings.HasSuffix(r.Host, m.host)
	})
}

// theirs is a file that is there before ghapp is run.
const theirs = "theirs"

// setUp makes the directories and the environment.
func (m *machine) setUp() {
	m.t.Helper()
	// A short name, since those of sockets are bounded.
	root := testkit.Must(os.MkdirTemp("", "ghapp-machine-"))(m.t)
	m.t.Cleanup(func() { _ = os.RemoveAll(root) })
	m.root = root
	m.environ = map[string]string{
		"PATH":                binaries + string(os.PathListSeparator) + os.Getenv("PATH"),
		"LC_ALL":              "C.UTF-8",
		"GIT_CONFIG_NOSYSTEM": "1",
		"GHAPP_HOST":          m.server.URL,
		"GHAPP_APP":           m.app.ClientID,
		"GHAPP_KEY":           filepath.Join(root, "app.pem"),
	}
	for name, dir := range map[string]*string{"HOME": &m.home, "TMPDIR": &m.temp, "XDG_RUNTIME_DIR": &m.runtime,
		"XDG_CACHE_HOME": &m.cache, "PWD": &m.work} {
		*dir = filepath.Join(root, strings.ToLower(name))
		testkit.OK(m.t, os.Mkdir(*dir, 0o700))
		m.environ[name] = *dir
	}
	m.write(m.environ["GHAPP_KEY"], string(m.keyPEM))
	m.write(filepath.Join(m.work, theirs), "there before\n")
}

// write writes a file that others cannot read.
func (m *machine) write(path, text string) {
	m.t.Helper()
	testkit.OK(m.t, os.MkdirAll(filepath.Dir(path), 0o700))
	testkit.OK(m.t, os.WriteFile(path, []byte(text), 0o600))
}

// read returns the text of a file in the current directory.
func (m *machine) read(name string) string {
	m.t.Helper()
	text := testkit.Must(os.ReadFile(filepath.Join(m.work, name)))(m.t)
	return string(text)
}

// gitConfig adds to what git has configured for the user.
func (m *machine) gitConfig(key, value string) {
	m.configure(filepath.Join(m.home, ".gitconfig"), key, value)
}

func (m *machine) configure(path, key, value string) {
	m.t.Helper()
	section, rest, _ := strings.Cut(key, ".")
	if dot := strings.LastIndexByte(rest, '.'); dot >= 0 {
		section, rest = section+" "+strconv.Quote(rest[:dot]), rest[dot+1:]
	}
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	m.write(path, fmt.Sprintf("%s[%s]\n\t%s = %s\n", before, section, rest, strconv.Quote(value)))
}

// installLFS is what git lfs install does for a user.
func (m *machine) installLFS() {
	m.t.Helper()
	testkit.Program(m.t, "git-lfs")
	m.gitConfig("filter.lfs.process", "git-lfs filter-process")
	m.gitConfig("filter.lfs.smudge", "git-lfs smudge -- %f")
	m.gitConfig("filter.lfs.clean", "git-lfs clean -- %f")
	m.gitConfig("filter.lfs.required", "true")
}

// result is how ghapp ended.
type result struct {
	stdout, stderr string
	code           int // -1 after a signal
}

// ends fails the test if the exit code is another, or one of the parts is not in what was written to standard error.
func (r result) ends(t testing.TB, code int, parts ...string) {
	missing := slices.DeleteFunc(parts, func(part string) bool { return strings.Contains(r.stderr, part) })
	if r.code != code || len(missing) > 0 {
		t.Helper()
		t.Errorf("exit code %d, want %d and on standard error %q\n%s%s", r.code, code, missing, r.stdout, r.stderr)
	}
}

// command is ghapp with its arguments, ready to start. The result is complete when
// the command has been waited for.
func (m *machine) command(args ...string) (*exec.Cmd, *outputs) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	m.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(cmp.Or(m.programs, binaries), "ghapp"), args...)
	cmd.Dir = m.work
	for _, name := range slices.Sorted(maps.Keys(m.environ)) {
		cmd.Env = append(cmd.Env, name+"="+m.environ[name])
	}
	if m.user != nil {
		m.user(cmd)
	}
	out := &outputs{}
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	cmd.WaitDelay = patience
	return cmd, out
}

type outputs struct{ stdout, stderr bytes.Buffer }

func (o *outputs) result(cmd *exec.Cmd) result {
	return result{o.stdout.String(), o.stderr.String(), cmd.ProcessState.ExitCode()}
}

// ghapp runs ghapp to its end.
func (m *machine) ghapp(args ...string) result {
	m.t.Helper()
	cmd, out := m.command(args...)
	err := cmd.Run()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		m.t.Fatalf("ghapp %q: %v", args, err)
	}
	return out.result(cmd)
}

// must is ghapp where it has to end well.
func (m *machine) must(args ...string) result {
	m.t.Helper()
	r := m.ghapp(args...)
	if r.code != 0 {
		m.t.Fatalf("ghapp %q: exit code %d\n%s", args, r.code, r.stderr)
	}
	return r
}

// noSecretIn fails if a text holds a secret.
func (m *machine) noSecretIn(where, text string) {
	m.t.Helper()
	testkit.Equal(m.t, search([]byte(text), m.secrets()), "", "a secret is in %s", where)
}

// noSecretOnDisk fails if a file of the machine holds a secret, but for the key and
// the cache's own files, which must be nobody else's.
func (m *machine) noSecretOnDisk() {
	m.t.Helper()
	secrets, files := needlesOf(m.secrets()), 0
	err := filepath.WalkDir(m.root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a process that is ending removes what is its own
		}
		if err != nil || !entry.Type().IsRegular() || path == m.environ["GHAPP_KEY"] {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if filepath.Dir(path) == filepath.Join(m.cache, "ghapp") {
			testkit.Equal(m.t, info.Mode().Perm(), 0o600, "%s has the mode", path)
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		testkit.Equal(m.t, secrets.in(append(text, path...)), "", "a secret is in %s", path)
		return err
	})
	testkit.OK(m.t, err)
}

// onlyOurs fails unless each request of git's that came with a credential came with
// a token that was minted, at least so many did, and nothing of another identity
// came with any request.
func (m *machine) onlyOurs(atLeast int, others ...string) {
	m.t.Helper()
	ours := 0
	for _, r := range m.requests() {
		what := r.Method + " " + r.Path + " by " + r.UserAgent
		for name, values := range r.Header {
			if found := search([]byte(strings.Join(values, "\n")), others); found != "" {
				m.t.Errorf("%s: %s holds what is another's: %s", what, name, found)
			}
		}
		if r.Credential.Kind == githubtest.NoCredential || strings.HasPrefix(r.Path, "/api/") {
			continue
		}
		if r.Credential.Username == "" && r.Credential.Token == "" {
			continue // an empty login, which is what keeps libcurl from ~/.netrc
		}
		if !slices.Contains(m.tokens(), r.Credential.Token) || r.Credential.Username != "x-access-token" {
			m.t.Errorf("%s came with another credential", what)
		}
		ours++
	}
	if ours < atLeast {
		m.t.Errorf("%d requests came with our token, want %d or more", ours, atLeast)
	}
}

// nothingLeft fails if a command left something in a directory of the user's.
func (m *machine) nothingLeft() {
	m.t.Helper()
	for dir, want := range map[string]string{m.work: theirs, m.temp: "", m.runtime: ""} {
		entries := testkit.Must(os.ReadDir(dir))(m.t)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		testkit.Equal(m.t, strings.Join(names, " "), want, "in %s there", dir)
	}
}

// traceVariables are those with which git, git-lfs and libcurl tell what they do.
func traceVariables() []string {
	return []string{"GIT_TRACE", "GIT_TRACE_CURL", "GIT_TRACE_PACKET", "GIT_TRACE_SETUP", "GIT_TRACE_PERFORMANCE",
		"GIT_TRACE2", "GIT_TRACE2_EVENT", "GIT_TRACE2_PERF", "GIT_TRANSFER_TRACE", "LFS_DEBUG_HTTP"}
}

// trace asks for all that they can tell, unredacted.
func (m *machine) trace(to string) {
	for _, name := range traceVariables() {
		m.environ[name] = to
		if filepath.IsAbs(to) {
			m.environ[name] = filepath.Join(to, strings.ToLower(name))
		}
	}
	m.environ["GIT_TRACE_REDACT"] = "0"
	if to == "1" {
		m.environ["GIT_CURL_VERBOSE"] = "1" // goes before GIT_TRACE_CURL
	}
	m.environ["GIT_TRACE_CURL_NO_DATA"] = "0"
	m.environ["GIT_TRACE2_ENV_VARS"] = "GHAPP_PRIVATE_KEY,GHAPP_KEY,GHAPP_AGENT_SOCK,GIT_ASKPASS"
	m.environ["GIT_TRACE2_CONFIG_PARAMS"] = "*"
}
