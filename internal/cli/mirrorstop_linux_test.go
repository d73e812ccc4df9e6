package cli_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// wholeMirrors fails unless every mirror is whole and every ref in it resolves.
func (m *machine) wholeMirrors(dir string) {
	m.t.Helper()
	for _, mirror := range testkit.Must(filepath.Glob(filepath.Join(m.work, dir, "*", "*.git")))(m.t) {
		out, err := gitIn(mirror, "fsck", "--connectivity-only")
		testkit.OK(m.t, err, "%s: %s", mirror, out)
	}
}

// Whenever a git of a run is killed, the run tells of it or goes on, every mirror is whole, and the next run goes on.
func TestMirrorWhoseGitsAreKilled(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app.Install("acme", githubtest.InstallOptions{All: true})
	var list []*githubtest.Repository
	for n := range 8 {
		r := m.github.AddRepository(fmt.Sprintf("acme/r%d", n), githubtest.RepositoryOptions{})
		testkit.Must(r.Commit("main", "Begin", map[string]string{"a": "1"}))(t)
		list = append(list, r)
	}
	killed := 0
	for round := range 8 {
		for _, r := range list[:4] {
			testkit.Must(r.CommitEntries("main", githubtest.CommitOptions{
				Message: "Change", Orphan: round%3 == 2, Entries: []githubtest.Entry{{Path: "a", Content: fmt.Sprint(round)}},
			}))(t)
		}
		dir := map[bool]string{true: "m", false: fmt.Sprint("first", round)}[round%2 == 0] // updates, and first mirrors
		cmd, out := m.command("mirror", "--to", dir, "--full")
		testkit.OK(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for running := true; running; {
			select {
			case <-ended:
				running = false
			case <-time.After(time.Duration(rand.IntN(8)) * time.Millisecond):
				for _, p := range m.processes() {
					if filepath.Base(p.args[0]) == "git" && p.parent == cmd.Process.Pid && killed < 6*(round+1) {
						if syscall.Kill(p.pid, syscall.SIGKILL) == nil {
							killed++
						}
					}
				}
			}
		}
		r := out.result(cmd)
		if r.code != 0 && (r.code != 1 || !strings.Contains(r.stderr, "failed")) {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
		m.wholeMirrors(dir)
		m.must("mirror", "--to", dir)
		m.wholeMirrors(dir)
	}
	t.Logf("%d gits were killed", killed)
	if killed == 0 {
		t.Error("no git was killed, so this test sees nothing")
	}
	m.must("mirror", "--to", "m")
	for _, r := range list {
		out := testkit.Must(gitIn(filepath.Join(m.work, "m", r.FullName()+".git"), "rev-parse", "main"))(t)
		testkit.Equal(t, strings.TrimSpace(string(out)), testkit.Must(r.Head("main"))(t), "%s", r.FullName())
	}
}

// A run that is told to stop ends soon, says so by its exit code, and keeps what is done.
func TestMirrorIsStopped(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			held := m.traffic.hold(0, func(r *http.Request) bool {
				return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/web.git/git-upload-pack")
			})
			cmd, out := m.command("mirror", "--to", "m")
			testkit.OK(t, cmd.Start())
			held.wait(t)
			m.mirrored("m/acme/site.git", "refs/heads/main", testkit.Must(m.github.Repository("acme/site").Head("main"))(t))
			began := time.Now()
			testkit.OK(t, cmd.Process.Signal(signal))
			_ = cmd.Wait() // its exit code is in the result
			took := time.Since(began)
			m.traffic.release()
			r := out.result(cmd)
			if r.code != 130 || took > 5*time.Second {
				t.Errorf("exit code %d after %s\n%s", r.code, took, r.stderr)
			}
			m.allEnded(5 * time.Second)
			left, _ := os.ReadDir(filepath.Join(m.work, "m/.ghapp/incoming"))
			testkit.Equal(t, len(left), 0, "%v is left", left)
			if next := m.mirrors(); next.Made != 1 || next.Fresh != next.Mirrors {
				t.Errorf("the next run: %+v", next)
			}
		})
	}
}
