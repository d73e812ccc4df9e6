// Package clonetest is a machine for tests of ghapp-signer-kms: it has ghapp, git, and
// the test's own program in the place of ghapp-signer-kms, and it reaches a GitHub with
// an App whose private key somebody else holds.
package clonetest

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/signer"
)

// Patience is how long something may take that is expected to happen.
const Patience = 2 * time.Minute

// Machine is a machine with a user. It ends with its test.
type Machine struct {
	Root    string            // below it is all that the machine writes
	Work    string            // the current directory
	Environ map[string]string // what programs are run with
	Key     *rsa.PrivateKey   // the App's; nil: only its public half is known
	GitHub  *githubtest.GitHub

	t       *testing.T
	server  *httptest.Server
	fetched atomic.Pointer[func()] // called when git fetches from GitHub, before it is answered
}

// New is a new machine, for an App with the given key: a public key, or a private one,
// which is then looked for where it must not be.
func New(t *testing.T, key any) *Machine {
	t.Helper()
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("", "ghapp-clone-") // a short name, since those of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	m := &Machine{t: t, Root: root, Work: filepath.Join(root, "work")}
	for _, dir := range []string{"home", "bin", "cache", "run", "work"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(root, "bin", signer.KMSProgram))
	}
	if err != nil {
		t.Fatal(err)
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		m.Key = key.(*rsa.PrivateKey)
		public = &m.Key.PublicKey
	}
	app := m.connect(public)
	m.Environ = map[string]string{
		"PATH": strings.Join([]string{programs, filepath.Join(root, "bin"), os.Getenv("PATH")}, string(os.PathListSeparator)),
		"HOME": filepath.Join(root, "home"), "XDG_CACHE_HOME": filepath.Join(root, "cache"),
		"XDG_RUNTIME_DIR": filepath.Join(root, "run"),
		"LC_ALL":          "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", "GHAPP_HOST": m.server.URL, "GHAPP_APP": app.ClientID,
		"GORACE": "atexit_sleep_ms=0", // of ghapp-signer-kms, which else sleeps for a second at its end
	}
	for _, name := range []string{"TMPDIR", "GOCOVERDIR"} {
		if value := os.Getenv(name); value != "" {
			m.Environ[name] = value
		}
	}
	return m
}

// connect starts a GitHub with the App, installed for acme/site.
func (m *Machine) connect(public *rsa.PublicKey) *githubtest.App {
	m.t.Helper()
	github, err := githubtest.New(githubtest.Options{Dir: filepath.Join(m.t.TempDir(), "github")})
	if err != nil {
		m.t.Fatal(err)
	}
	m.GitHub = github
	app := github.AddApp(githubtest.AppOptions{Name: "Deployer", Owner: "acme",
		Permissions: map[string]string{"contents": "read", "metadata": "read"}})
	app.AddKey(public)
	if _, err := github.AddRepository("acme/site", githubtest.RepositoryOptions{}).Commit("main", "Say hello",
		map[string]string{"index.html": "hello\n"}); err != nil {
		m.t.Fatal(err)
	}
	app.Install("acme", githubtest.InstallOptions{Repositories: []string{"acme/site"}})
	m.server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if fetched := m.fetched.Load(); fetched != nil && strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
			(*fetched)()
		}
		github.ServeHTTP(out, r)
	}))
	m.t.Cleanup(func() {
		m.server.CloseClientConnections()
		m.server.Close()
		_ = github.Close()
	})
	return app
}

// Result is what became of a command.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Ghapp runs a command of ghapp to its end.
func (m *Machine) Ghapp(args ...string) Result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), Patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := m.command(ctx, args)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return m.result(cmd.Run(), &stdout, &stderr)
}

func (m *Machine) command(ctx context.Context, args []string) *exec.Cmd {
	m.t.Helper()
	programs, err := build()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "ghapp"), args...)
	cmd.Dir = m.Work
	for name, value := range m.Environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second // a busy machine lets the end of what was printed wait
	return cmd
}

func (m *Machine) result(err error, stdout, stderr *bytes.Buffer) Result {
	m.t.Helper()
	r := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		r.Code = e.ExitCode()
	} else if err != nil {
		m.t.Fatalf("ghapp: %v\n%s%s", err, stdout, stderr)
	}
	return r
}

// Clone clones acme/site with the key behind a URI, and fails the test unless that
// works and the key is, where this test knows it, nowhere: not in a file of the
// machine's, and not in the memory of ghapp, of git or of what they start. Of
// ghapp-signer-kms the same is wanted unless inside: a PKCS#11
// module may keep its keys in the program that loads it.
func (m *Machine) Clone(uri string, inside bool) {
	m.t.Helper()
	found := m.clone(uri)
	for program, had := range found.had {
		if had && (program != signer.KMSProgram || !inside) {
			m.t.Errorf("the key is in the memory of %s", program)
		}
	}
	for _, program := range []string{"ghapp", "git", signer.KMSProgram} {
		if _, seen := found.had[program]; m.Key != nil && !seen {
			m.t.Errorf("%s was not seen at work", program)
		}
	}
	m.noKeyOnDisk()
}

// clone clones, and searches the memory of everybody who takes part in it.
func (m *Machine) clone(uri string) *search {
	m.t.Helper()
	s := &search{t: m.t, had: map[string]bool{}, stays: m.t.TempDir()}
	if m.Key != nil {
		s.needles = needles(m.Key)
	}
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(m.t.Context(), Patience)
	defer cancel()
	cmd := m.command(ctx, []string{"clone", "acme/site", "site", "--key", uri})
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if m.Key != nil {
		cmd.Env = append(cmd.Env, staysVariable+"="+s.stays)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	// While git waits for its packfile, ghapp has signed, and all are there but the
	// program that has signed, which stays until it was searched.
	var once sync.Once
	fetched := func() { once.Do(func() { s.everybody(cmd.Process.Pid, "") }) }
	m.fetched.Store(&fetched)
	ended, looking := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looking)
		for {
			select {
			case <-ended:
				return
			case <-time.After(2 * time.Millisecond):
				s.everybody(cmd.Process.Pid, signer.KMSProgram)
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-looking
	if r := m.result(err, &stdout, &stderr); r.Code != 0 {
		m.t.Fatalf("clone with %s: exit code %d\n%s%s", uri, r.Code, r.Stdout, r.Stderr)
	}
	if text, err := os.ReadFile(filepath.Join(m.Work, "site", "index.html")); err != nil || string(text) != "hello\n" {
		m.t.Errorf("the clone holds %q (%v)", text, err)
	}
	return s
}

// noKeyOnDisk fails if a file of the machine's has a part of the key in it.
func (m *Machine) noKeyOnDisk() {
	m.t.Helper()
	if m.Key == nil {
		return
	}
	forms, files := needles(m.Key), 0
	err := filepath.WalkDir(m.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if contains(text, forms) {
			m.t.Errorf("a part of the key is in %s", path)
		}
		return nil
	})
	if err != nil || files == 0 {
		m.t.Errorf("%d files were read: %v", files, err)
	}
}

// PEM is the App's private key as GitHub hands it out.
func (m *Machine) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(m.Key)})
}
