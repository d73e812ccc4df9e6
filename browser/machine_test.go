package browser

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// build makes the programs, once for all tests.
var build = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "ghapp-browser-"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/ghapp", "./cmd/git-credential-ghapp")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, output)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := build(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// machine is that of a person who has no App yet, in a world with the private
// repositories acme/site and acme/hidden.
type machine struct {
	t       *testing.T
	github  *githubtest.GitHub
	server  *httptest.Server
	home    string
	environ []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	github, err := githubtest.New(githubtest.Options{Dir: filepath.Join(t.TempDir(), "github")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = github.Close() })
	for _, name := range []string{"acme/site", "acme/hidden", "octocat/notes"} {
		repository := github.AddRepository(name, githubtest.RepositoryOptions{})
		if _, err := repository.Commit("main", "Begin", map[string]string{"README.md": "# " + name + "\n"}); err != nil {
			t.Fatal(err)
		}
	}
	m := &machine{t: t, github: github, server: httptest.NewServer(github), home: t.TempDir()}
	t.Cleanup(m.server.Close)
	bin := filepath.Join(m.home, "bin")
	// The program that opens the browser tells the test where.
	script := "#!/bin/sh\nprintf '%s' \"$1\" >\"$HOME/opened\"\n"
	if err := errors.Join(os.Mkdir(bin, 0o700), os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o700),
		syscall.Mkfifo(filepath.Join(m.home, "opened"), 0o600)); err != nil {
		t.Fatal(err)
	}
	m.environ = []string{
		"HOME=" + m.home, "TMPDIR=" + t.TempDir(), "PATH=" + bin + ":" + programs + ":" + os.Getenv("PATH"), "LC_ALL=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1", "DISPLAY=:0",
	}
	return m
}

// ghapp is the program with its arguments, in the home directory.
func (m *machine) ghapp(args ...string) (*exec.Cmd, *bytes.Buffer) {
	programs, _ := build()
	cmd := exec.CommandContext(m.t.Context(), filepath.Join(programs, "ghapp"), args...)
	cmd.Dir, cmd.Env = m.home, m.environ
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	return cmd, &output
}

// must runs ghapp to a good end.
func (m *machine) must(args ...string) {
	m.t.Helper()
	cmd, output := m.ghapp(args...)
	if err := cmd.Run(); err != nil {
		m.t.Fatalf("ghapp %q: %v\n%s", args, err, output)
	}
}

// setup starts ghapp setup. It returns the address that a browser is opened at, and a
// function that waits for the end.
func (m *machine) setup(args ...string) (address string, end func() string) {
	m.t.Helper()
	cmd, output := m.ghapp(append([]string{"setup", "--host", m.server.URL}, args...)...)
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	opened := make(chan string, 1)
	go func() {
		text, _ := os.ReadFile(filepath.Join(m.home, "opened"))
		opened <- string(text)
	}()
	select {
	case address = <-opened:
	case <-time.After(patience):
		m.t.Fatalf("no browser was opened:\n%s", output)
	}
	if !strings.HasPrefix(address, "http://127.0.0.1:") {
		m.t.Fatalf("the browser was opened at %q", address)
	}
	return address, func() string {
		m.t.Helper()
		if err := cmd.Wait(); err != nil {
			m.t.Fatalf("ghapp setup: %v\n%s", err, output)
		}
		return output.String()
	}
}

// clones proves that nothing else is needed.
func (m *machine) clones(repository, into string) {
	m.t.Helper()
	m.must("clone", repository, into)
	text, err := os.ReadFile(filepath.Join(m.home, into, "README.md"))
	if err != nil || string(text) != "# "+repository+"\n" {
		m.t.Errorf("the clone has %q, %v", text, err)
	}
}
