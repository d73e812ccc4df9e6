package cli_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// gitSetUp makes plain git ask ghapp, for the App of the config file.
func (m *machine) gitSetUp() {
	m.t.Helper()
	m.configured()
	cmd, out := m.plain("ghapp", "git-setup")
	testkit.OK(m.t, cmd.Run(), "%s", out.stderr.String())
}

// userGit is plain git of a user who has no variables of ghapp, ready to start.
func (m *machine) userGit(dir string, args ...string) (*exec.Cmd, *outputs) {
	m.t.Helper()
	path := testkit.Must(exec.LookPath("git"))(m.t)
	cmd, out := m.plain("git", args...)
	cmd.Path, cmd.Args[0], cmd.Dir = path, "git", filepath.Join(m.work, dir)
	return cmd, out
}

// fetching makes an empty repository with a remote origin.
func (m *machine) fetching(dir, repository string) {
	m.t.Helper()
	cmd, out := m.userGit(".", "init", "--quiet", dir)
	testkit.OK(m.t, cmd.Run(), "%s", out.stderr.String())
	config := filepath.Join(m.work, dir, ".git", "config")
	m.configure(config, "remote.origin.url", m.server.URL+"/"+repository)
	m.configure(config, "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
	m.configure(config, "maintenance.auto", "false")
}

// More than two processors bear are not run at once, but many more than one.
func TestTwoHundredFetchesOfOneAgentMintOncePerRepository(t *testing.T) {
	t.Parallel()
	const many, atOnce = 200, 20
	w := newWorldFor(t)
	w.app.Install("acme", githubtest.InstallOptions{All: true})
	m := w.machine(t)
	m.gitSetUp()
	repositories := []string{"acme/site", "acme/web", "acme/hidden", "acme/fourth"}
	w.commit(t, "acme/fourth", githubtest.Entry{Path: "name.txt", Content: "acme/fourth\n"})
	for i := range atOnce {
		m.fetching(fmt.Sprint("r", i), repositories[i%len(repositories)])
	}
	dir, unseen := filepath.Join(m.runtime, "ghapp"), func() {}
	if os.Geteuid() == 0 {
		m.shared()
		dir = m.inTheCache() // which others can enter, up to there
		unseen = m.watched()
	}
	d := m.agentAt(filepath.Join(dir, "agent.sock"))

	var working sync.WaitGroup
	for i := range atOnce {
		working.Go(func() {
			for range many / atOnce {
				cmd, out := m.userGit(fmt.Sprint("r", i), "fetch")
				if err := cmd.Run(); err != nil {
					t.Errorf("%s: %v\n%s", repositories[i%len(repositories)], err, out.stderr.String())
					return
				}
			}
		})
	}
	working.Wait()
	unseen()
	testkit.Equal(t, m.github.Mints(), len(repositories), "mints")
	for i := range atOnce {
		if head := m.read(fmt.Sprint("r", i, "/.git/refs/remotes/origin/main")); len(head) != 41 {
			t.Errorf("repository %d has fetched %q", i, head)
		}
	}
	s := m.status()
	if s.Requests.Answered != many || s.Requests.Refused != 0 || s.Requests.Minted != len(repositories) ||
		len(s.Tokens) != len(repositories) {
		t.Errorf("the agent did not answer all of them: %+v", s)
	}
	m.noSecretOnDisk()
	m.noSecretIn("the agent's words", d.end(syscall.SIGTERM).stderr)
}

// watched has the other user look, over and over, at all that there is to see of the
// user: processes, files, sockets. It ends with the function that is returned, which
// fails if a secret was seen.
func (m *machine) watched() (unseen func()) {
	m.t.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	seen, looks, reached := map[string]string{}, 0, ""
	go func() {
		defer close(ended)
		as(m.t, other, func() {
			for {
				looks++
				for _, p := range m.processes() { // of other users it sees none
					reached = p.String()
				}
				see := func(path string, entry fs.DirEntry, err error) error {
					switch {
					case err != nil || entry.IsDir():
						return nil // what is closed, or gone, is not looked into
					case entry.Type() == fs.ModeSocket:
						if conn, err := net.Dial("unix", path); err == nil {
							conn.Close()
							reached = path
						}
					case entry.Type().IsRegular():
						if text, err := os.ReadFile(path); err == nil {
							seen[path] = string(text)
						}
					}
					return nil
				}
				_ = filepath.WalkDir(m.root, see)
				arguments, _ := filepath.Glob("/proc/[0-9]*/cmdline")
				for _, path := range arguments {
					if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "git") {
						seen[string(text)] = string(text)
					}
				}
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}()
	return func() {
		m.t.Helper()
		close(stop)
		<-ended
		for where, text := range seen {
			m.noSecretIn(where, text)
		}
		testkit.Equal(m.t, reached, "", "the other user reached")
		if looks < 2 || len(seen) < 2 {
			m.t.Errorf("the other user looked %d times, and saw %d files and command lines", looks, len(seen))
		}
	}
}
