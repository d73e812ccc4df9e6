package cli_test

import (
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// largeSize is enough for a transfer to be held in the middle.
const largeSize = 96 << 10

// newLargeWorld has acme/large, whose clone takes every step that there is: a pack of
// some size, a file of git-lfs, and a submodule.
func newLargeWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldFor(t)
	noise := make([]byte, largeSize)
	for i, state := 0, uint32(1); i < len(noise); i++ {
		state = state*1664525 + 1013904223 // nothing that zlib could make smaller
		noise[i] = byte(state >> 24)
	}
	web := w.github.Repository("acme/web")
	head := testkit.Must(web.Head("main"))(t)
	repository := w.github.AddRepository("acme/large", githubtest.RepositoryOptions{})
	if _, err := repository.CommitEntries("main", githubtest.CommitOptions{Message: "Begin", Entries: []githubtest.Entry{
		{Path: "noise.bin", Content: string(noise)},
		{Path: ".gitattributes", Content: "*.lfs filter=lfs -text\n"},
		{Path: "film.lfs", Content: repository.AddObject(string(noise))},
		{Path: ".gitmodules", Content: "[submodule \"web\"]\n\tpath = web\n\turl = ../web.git\n"},
		{Path: "web", Mode: githubtest.Submodule, Content: head},
	}}); err != nil {
		t.Fatal(err)
	}
	w.app.Install("acme", githubtest.InstallOptions{Repositories: []string{"acme/large", "acme/web"}})
	return w
}

// cloneLarge are the arguments for it.
func cloneLarge() []string {
	return []string{"clone", "acme/large", "deep/large", "--", "--recurse-submodules"}
}

// complete fails unless the clone of acme/large is whole.
func (m *machine) complete(dir string) {
	m.t.Helper()
	if len(m.read(dir+"/noise.bin")) != largeSize || len(m.read(dir+"/film.lfs")) != largeSize ||
		m.read(dir+"/web/name.txt") != "acme/web\n" {
		m.t.Errorf("%s is not whole", dir)
	}
}

// large is a machine for the clone of acme/large.
func (w *world) large(t *testing.T) *machine {
	t.Helper()
	m := w.machine(t)
	m.installLFS()
	return m
}

// moment is a point in the way of a clone, where it is held.
type moment struct {
	after int // bytes of the answer
	match func(*http.Request) bool
	git   bool // it is git that asks
}

func moments() map[string]moment {
	return map[string]moment{
		"look-up of the installation": {match: isCall("GET", "/installation")},
		"mint":                        {match: isCall("POST", "/access_tokens")},
		"git's first request":         {match: isDiscovery("acme/large"), git: true},
		"git's request with the token": {match: func(r *http.Request) bool {
			return isDiscovery("acme/large")(r) && r.Header.Get("Authorization") != ""
		}, git: true},
		"list of branches":    {match: isUploadPack("acme/large"), git: true},
		"middle of the pack":  {match: isUploadPack("acme/large"), after: largeSize / 2, git: true},
		"list of large files": {match: isCall("POST", "/objects/batch"), git: true},
		"middle of a large file": {match: func(r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/info/lfs/objects/")
		}, after: largeSize / 2, git: true},
		"submodule's first request":      {match: isDiscovery("acme/web"), git: true},
		"submodule's pack":               {match: isUploadPack("acme/web"), git: true},
		"submodule's answer has started": {match: isUploadPack("acme/web"), after: 1, git: true},
	}
}

// started is a clone that has come to a moment.
func (m *machine) started(at moment) *clone {
	m.t.Helper()
	stop := m.traffic.hold(at.after, at.match)
	c := &clone{m: m, ended: make(chan struct{})}
	cmd, out := m.command(cloneLarge()...)
	testkit.OK(m.t, cmd.Start())
	c.pid = cmd.Process.Pid
	go func() {
		defer close(c.ended)
		_ = cmd.Wait()
		c.result = out.result(cmd)
	}()
	stop.wait(m.t)
	return c
}

// clone is a ghapp clone that runs.
type clone struct {
	m     *machine
	pid   int
	ended chan struct{}
	result
}

func (c *clone) signal(pid int, s syscall.Signal) {
	c.m.t.Helper()
	testkit.OK(c.m.t, syscall.Kill(pid, s))
}

// wait waits for its end.
func (c *clone) wait() {
	c.m.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.m.t.Fatal("ghapp does not end")
	}
}

func TestInterruptedCloneLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	for name, at := range moments() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.large(t)
			c := m.started(at)
			begun := time.Now()
			c.signal(c.pid, syscall.SIGINT)
			c.wait()
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("it took %s to end", took) // that long is git's grace, before it is killed
			}
			if c.code != 130 {
				t.Errorf("exit code %d, want 130\n%s", c.code, c.stderr)
			}
			m.allEnded(time.Second)
			m.nothingLeft()
			m.noSecretOnDisk()
			m.noSecretIn("stderr", c.stderr)
		})
	}
}

// A shell that has no job control starts what is to run in the background so that
// Ctrl-C, which is not for it, does not end it.
func TestCloneInTheBackgroundIsNotInterrupted(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	for name, at := range moments() {
		if strings.Contains(name, "large file") || strings.Contains(name, "submodule") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			stop := m.traffic.hold(at.after, at.match)
			cmd, out := m.command("clone", "acme/large")
			cmd.Args = []string{"sh", "-c", `trap "" INT; exec "$@"`, "sh", cmd.Path, "clone", "acme/large"}
			cmd.Path = "/bin/sh"
			testkit.OK(t, cmd.Start())
			stop.wait(t)
			// To git, which stands in a group of its own, the terminal does not send it.
			testkit.OK(t, cmd.Process.Signal(syscall.SIGINT))
			m.traffic.release()
			testkit.OK(t, cmd.Wait(), "%s", out.stderr.String())
			testkit.Equal(t, len(m.read("large/noise.bin")), largeSize, "the clone is not whole")
		})
	}
}

// git ends with ghapp, which the kernel tells it, and what git has started when its
// connection brings something; what remains are directories with nothing secret in
// them.
func TestKilledCloneLeavesNoSecretAndNoGit(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	for name, at := range moments() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.large(t)
			c := m.started(at)
			git, running := m.child(c.pid)
			if running != at.git {
				t.Fatalf("git runs: %t", running)
			}
			c.signal(c.pid, syscall.SIGKILL)
			c.wait()
			eventually(t, 3*time.Second, func() string {
				if running && slices.ContainsFunc(m.processes(), func(p process) bool { return p.pid == git.pid }) {
					return "git goes on"
				}
				return ""
			})
			m.noSecretOnDisk()
			m.traffic.release()
			m.allEnded(patience)
			m.noSecretOnDisk()
			m.environ["GIT_LFS_SKIP_SMUDGE"] = "1"
			m.must("clone", "acme/large", "again")
		})
	}
}

func TestKilledGitIsToldAndLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	// Not every moment: ghapp waits for seconds for what git has left behind.
	for _, name := range []string{"git's request with the token", "list of branches", "middle of the pack",
		"middle of a large file", "submodule's pack"} {
		at := moments()[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.large(t)
			c := m.started(at)
			git, running := m.child(c.pid)
			if !running {
				t.Fatal("git does not run")
			}
			c.signal(git.pid, syscall.SIGKILL)
			c.wait()
			testkit.Equal(t, c.code, 6)
			testkit.Contains(t, c.stderr, "killed by a signal")
			m.allEnded(time.Second)
			m.traffic.release()
			m.nothingLeft()
			m.noSecretOnDisk()
		})
	}
}

// No moment is safe by being short: the same at points spread over the whole time
// that a clone takes.
func TestCloneKilledAtAnyTimeLeavesNoSecret(t *testing.T) {
	t.Parallel()
	const points = 8
	w := newLargeWorld(t)
	start := func() (*machine, *exec.Cmd, *outputs) {
		m := w.large(t)
		m.environ["GIT_LFS_SKIP_SMUDGE"] = "1"
		cmd, out := m.command("clone", "acme/large", "deep/large")
		testkit.OK(t, cmd.Start())
		return m, cmd, out
	}
	begun := time.Now()
	_, cmd, out := start()
	testkit.OK(t, cmd.Wait(), "%s", out.stderr.String())
	whole := time.Since(begun)
	unfinished := 0
	for point := range points {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			begun := time.Now()
			m, cmd, out := start()
			time.Sleep(whole * time.Duration(point) / points)
			_ = cmd.Process.Signal(signal)
			_ = cmd.Wait()
			if cmd.ProcessState.Success() {
				whole = min(whole, time.Since(begun)) // the machine is less busy by now
			}
			r := out.result(cmd)
			m.allEnded(patience)
			m.noSecretOnDisk()
			m.noSecretIn("stderr", r.stderr)
			if r.code == 0 {
				continue
			}
			unfinished++
			if signal == syscall.SIGKILL {
				m.must("clone", "acme/large", "again")
				continue
			}
			// A signal that is quicker than the program's start ends it at once.
			if r.code != 130 && !(r.code == -1 && len(m.requests()) == 0) {
				t.Errorf("%s after %d/%d: exit code %d\n%s", signal, point, points, r.code, r.stderr)
			}
			m.nothingLeft()
		}
	}
	if unfinished < points/2 {
		t.Errorf("%d of %d clones were stopped on their way", unfinished, 2*points)
	}
}
