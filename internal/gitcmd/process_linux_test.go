package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// inGroup returns the processes of a group.
func inGroup(t *testing.T, group int) []int {
	t.Helper()
	entries := testkit.Must(os.ReadDir("/proc"))(t)
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// until waits for something outside of this process.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// stall is an origin that answers nothing to a fetch until the client goes, or the
// test lets it go on.
type stall struct {
	reached, release chan struct{}
	once             sync.Once
}

func stalled(t *testing.T) (*stall, *origin) {
	s := &stall{reached: make(chan struct{}), release: make(chan struct{})}
	o := newOrigin(t, func(o *origin) {
		o.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			s.once.Do(func() { close(s.reached) })
			select {
			case <-r.Context().Done():
			case <-s.release:
			}
			return true
		}
	})
	// Before the server is closed, which waits for its requests.
	t.Cleanup(func() {
		select {
		case <-s.release:
		default:
			close(s.release)
		}
	})
	return s, o
}

func TestStoppedCloneLeavesNoProcessAndNoFile(t *testing.T) {
	t.Parallel()
	s, o := stalled(t)
	m := newMachine(t)
	r := m.runner()
	r.Git = write(t, filepath.Join(t.TempDir(), "git"),
		"#!/bin/sh\ntest \"$2\" = clone && echo $$ >'"+m.home+"/pid'\nexec git \"$@\"\n")
	r.Grace = time.Hour // the signal alone must do
	options := m.options(o, "acme/site")
	options.Dir = "a/b"
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() { ended <- r.Clone(ctx, options) }()
	<-s.reached
	group, err := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(m.home, "pid"))))
	testkit.OK(t, err)
	if pids := inGroup(t, group); len(pids) < 2 {
		t.Errorf("git's group has the processes %d", pids)
	}
	cause := errors.New("Ctrl-C")
	cancel(cause)
	until(t, "the clone ends", func() bool { return len(ended) == 1 })
	err = <-ended
	if e := asError(t, err); e.Reason != Stopped || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	until(t, "the processes end", func() bool { return len(inGroup(t, group)) == 0 })
	mustBeEmpty(t, m.dir)
}

func TestStubbornGitIsKilledWithAllItStarted(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.runner()
	r.Grace = 100 * time.Millisecond
	r.Git = write(t, filepath.Join(t.TempDir(), "git"), "#!/bin/sh\ntrap '' TERM INT\nsleep 60 &\necho $$ >'"+m.home+
		"/part'\nmv '"+m.home+"/part' '"+m.home+"/pid'\nsleep 60\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- r.Run(ctx, Scope{}, "fetch") }()
	until(t, "git has started", func() bool { return exists(filepath.Join(m.home, "pid")) })
	group := testkit.Must(strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(m.home, "pid")))))(t)
	cancel()
	testkit.ErrorIs(t, <-ended, context.Canceled)
	until(t, "the processes end", func() bool { return len(inGroup(t, group)) == 0 })
}

// What git leaves in the background does not hold its caller up, and lives on.
func TestBackgroundProcessDoesNotHoldGitUp(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.runner()
	r.Grace = 50 * time.Millisecond
	r.Git = write(t, filepath.Join(t.TempDir(), "git"), "#!/bin/sh\necho $$ >'"+m.home+"/pid'\nsleep 60 &\nexit 0\n")
	testkit.OK(t, r.Run(t.Context(), Scope{}, "fetch"))
	group := testkit.Must(strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(m.home, "pid")))))(t)
	left := inGroup(t, group)
	if len(left) != 1 {
		t.Fatalf("left: %d", left)
	}
	_ = syscall.Kill(left[0], syscall.SIGKILL)
}

// A signal to git's group comes to all it started and to nobody else. Where ssh may
// be started there is no terminal: it would ask a question and wait for ever.
func TestGitHasAGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.runner()
	r.Git = write(t, filepath.Join(t.TempDir(), "git"),
		"#!/bin/sh\nread pid comm state ppid group session tty rest </proc/$$/stat\necho $$ $group $session $tty\n")
	for _, ssh := range []bool{false, true} {
		scope := Scope{Origin: "https://github.com", Helper: "h"}
		if ssh {
			scope = Scope{}
		}
		out := testkit.Must(r.Output(t.Context(), scope, "x"))(t)
		fields := strings.Fields(string(out))
		if len(fields) != 4 || fields[1] != fields[0] || ssh != (fields[2] == fields[0]) || ssh && fields[3] != "0" {
			t.Errorf("ssh %v: process, group, session, terminal: %q", ssh, fields)
		}
	}
}

// ghapp itself is killed: git is told, removes what it made, and ends.
func TestGitEndsWhenItsParentIsKilled(t *testing.T) {
	t.Parallel()
	s, o := stalled(t)
	m := newMachine(t)
	bin := t.TempDir()
	git := testkit.Must(exec.LookPath("git"))(t)
	write(t, filepath.Join(bin, "git"), "#!/bin/sh\ntest \"$2\" = clone && echo $$ >'"+m.home+
		"/pid'\nexec '"+git+"' \"$@\"\n")
	parent := exec.Command(os.Args[0], o.URL, m.helper)
	parent.Dir = m.dir
	parent.Env = append(m.environ, role+"=clone", "PATH="+bin+":"+os.Getenv("PATH"))
	testkit.OK(t, parent.Start())
	<-s.reached
	group := testkit.Must(strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(m.home, "pid")))))(t)
	testkit.OK(t, parent.Process.Kill())
	_ = parent.Wait()
	until(t, "git ends", func() bool { return !slices.Contains(inGroup(t, group), group) })
	// Its git-remote-https notices when it has something to write.
	close(s.release)
	until(t, "the processes end", func() bool { return len(inGroup(t, group)) == 0 })
	if left := tree(t, m.dir); len(left) != 1 || left[0] != "site" {
		t.Errorf("left behind: %q", left)
	}
}

// argv can be read by everybody on the machine, the environment by the same user.
func TestNoTokenInArgvOrEnvironment(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	searched, found := 0, []string(nil)
	o := newOrigin(t, func(o *origin) {
		o.answer = func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, name := range names {
				dir := filepath.Dir(name)
				argv, _ := os.ReadFile(name)
				environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
				if strings.Contains(string(argv), "/acme/site.git") {
					searched++
				}
				for _, form := range forms(token) {
					if bytes.Contains(argv, []byte(form)) || bytes.Contains(environ, []byte(form)) {
						found = append(found, fmt.Sprintf("%s: %.60q", dir, argv))
					}
				}
			}
			return false
		}
	})
	m := newMachine(t)
	testkit.OK(t, m.runner().Clone(t.Context(), m.options(o, "acme/site")), "%s", m.stderr.String())
	if searched == 0 || found != nil {
		t.Errorf("searched %d processes of git, found %q", searched, found)
	}
}

func TestDestinationInADirectoryThatIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} { // both are the test's
		testkit.OK(t, os.Chmod(path, 0o755))
	}
	cmd := exec.Command(os.Args[0], filepath.Join(dir, "made", "site"))
	cmd.Env = append(os.Environ(), role+"=destination")
	if os.Getuid() == 0 {
		// The superuser may write everywhere, so somebody else asks.
		program := filepath.Join(dir, "program")
		write(t, program, read(t, os.Args[0]))
		cmd.Path = program
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	out := testkit.Must(cmd.CombinedOutput())(t)
	testkit.Contains(t, string(out), string(DestinationClosed), "permission denied")
}
