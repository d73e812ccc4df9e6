package cli_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"golang.org/x/sys/unix"
)

// The two users of a machine that is shared, neither with any rights over the other.
const (
	owner = 64999
	other = 65534
)

// needsTwoUsers skips a test that cannot play both.
func needsTwoUsers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become each of two users")
	}
}

// as runs something with the rights of another user: on a thread of its own, which
// takes them and ends with it (setresuid(2) changes but the thread that calls it).
func as(t *testing.T, uid int, run func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good
		for _, drop := range [][4]uintptr{
			{syscall.SYS_SETGROUPS},
			{syscall.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)},
			{syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := syscall.RawSyscall(drop[0], drop[1], drop[2], drop[3]); errno != 0 {
				ended <- errno
				return
			}
		}
		run()
		ended <- nil
	}()
	testkit.OK(t, <-ended, "become user %d", uid)
}

// shared makes the machine one that two users share: it belongs to one of them, as
// far as a user's own things do, and the other can enter whatever is not ghapp's to
// close.
func (m *machine) shared() {
	m.t.Helper()
	m.user = func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner, Gid: owner}}
	}
	m.mode(binaries, 0o755)
	m.handOver(m.root)
	for dir, mode := range map[string]fs.FileMode{
		m.root: 0o755, m.home: 0o755, m.cache: 0o755, m.work: 0o755, m.runtime: 0o700, m.temp: fs.ModeSticky | 0o777,
	} {
		m.mode(dir, mode)
	}
	testkit.OK(m.t, os.Chown(m.temp, 0, 0))
	var err error
	as(m.t, owner, func() { _, err = os.Stat(filepath.Join(binaries, "ghapp")) })
	if err != nil {
		m.t.Skipf("needs a directory for temporary files that other users can enter: %v", err)
	}
}

func (m *machine) mode(path string, mode fs.FileMode) {
	m.t.Helper()
	testkit.OK(m.t, os.Chmod(path, mode))
}

// handOver makes what the test has written the user's own.
func (m *machine) handOver(path string) {
	m.t.Helper()
	testkit.OK(m.t, filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, owner, owner)
	}))
}

// attempt is something that the other user tries.
type attempt struct {
	what string
	try  func() error
	// own is what the user itself can do without harm, which shows that the attempt
	// would succeed where nothing guards.
	own bool
}

// keptOut fails unless each attempt is forbidden to the other user. That there is
// nothing, or that it went wrong for another reason, does not count.
func (m *machine) keptOut(attempts []attempt) {
	m.t.Helper()
	as(m.t, owner, func() {
		for _, a := range attempts {
			if !a.own {
				continue
			}
			if err := a.try(); err != nil {
				m.t.Errorf("the user itself cannot %s, so this test sees nothing: %v", a.what, err)
			}
		}
	})
	as(m.t, other, func() {
		for _, a := range attempts {
			testkit.ErrorIs(m.t, a.try(), fs.ErrPermission, "the other user was not forbidden to %s", a.what)
		}
	})
}

func reading(path string) attempt {
	return attempt{"read " + path, func() error {
		file, err := os.Open(path)
		if err == nil {
			file.Close()
		}
		return err
	}, true}
}

func connecting(path string) attempt {
	return attempt{"connect to " + path, func() error {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		return err
	}, true}
}

// againstDir is what can be tried against a directory and the files in it.
func againstDir(dir string, names ...string) []attempt {
	in := func(name string) string { return filepath.Join(dir, name) }
	list := []attempt{
		{"list " + dir, func() error { _, err := os.ReadDir(dir); return err }, true},
		{"make a file in " + dir, func() error { return os.WriteFile(in("x"), nil, 0o600) }, false},
		{"make a socket in " + dir, func() error {
			l, err := net.Listen("unix", in("x"))
			if err == nil {
				l.Close()
			}
			return err
		}, false},
		{"move " + dir, func() error { return os.Rename(dir, dir+"-moved") }, false},
		{"open up " + dir, func() error { return os.Chmod(dir, 0o777) }, false},
	}
	for _, name := range names {
		path := in(name)
		list = append(list,
			attempt{"see " + path, func() error { _, err := os.Lstat(path); return err }, true},
			attempt{"remove " + path, func() error { return os.Remove(path) }, false},
			attempt{"replace " + path, func() error { return os.Rename(path, path+"-moved") }, false},
			attempt{"put a link in the place of " + path, func() error { return os.Symlink("/dev/null", path) }, false},
			attempt{"take " + path + " along",
				func() error { return os.Link(path, filepath.Join(os.TempDir(), "taken-"+filepath.Base(path))) }, false},
			attempt{"open up " + path, func() error { return os.Chmod(path, 0o666) }, false},
			attempt{"write to " + path, func() error { return os.WriteFile(path, []byte("x"), 0o600) }, false},
		)
	}
	return list
}

// againstProcess is what can be tried against a process.
func againstProcess(pid int) []attempt {
	in := func(name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }
	return []attempt{
		reading(in("environ")), reading(in("maps")), reading(in("auxv")),
		{"open " + in("mem"), func() error { return reading(in("mem")).try() }, false}, // nor may the user, on some systems
		{"list " + in("fd"), func() error { _, err := os.ReadDir(in("fd")); return err }, true},
		{"follow " + in("exe"), func() error { _, err := os.Readlink(in("exe")); return err }, true},
		{"read the memory of " + strconv.Itoa(pid), func() error {
			local := make([]byte, 1)
			_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &local[0], Len: 1}}, []unix.RemoteIovec{{Base: 0, Len: 1}}, 0)
			return err
		}, false},
		{"trace " + strconv.Itoa(pid), func() error { return syscall.PtraceAttach(pid) }, false},
		{"signal " + strconv.Itoa(pid), func() error { return syscall.Kill(pid, syscall.SIGSTOP) }, false},
	}
}

// againstAll is what can be tried against a directory of sockets or secrets, what is in
// it at present, and all processes of the user. It fails unless there are such.
func (m *machine) againstAll(dirs ...string) []attempt {
	m.t.Helper()
	var list []attempt
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			m.t.Errorf("in %s there is nothing to attack: %v", dir, err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
			path := filepath.Join(dir, entry.Name())
			switch entry.Type() {
			case fs.ModeSocket:
				list = append(list, connecting(path))
			case 0:
				list = append(list, reading(path))
			}
		}
		list = append(list, againstDir(dir, names...)...)
	}
	processes := m.processes()
	if len(processes) == 0 {
		m.t.Error("no process runs")
	}
	for _, p := range processes {
		list = append(list, againstProcess(p.pid)...)
		m.noSecretIn("the arguments of "+p.String(), strings.Join(p.args, "\n"))
	}
	return append(list, reading(m.environ["GHAPP_KEY"]))
}

// inTheCache leaves the user without a directory for sockets, so that the agent's is
// beside the cache.
func (m *machine) inTheCache() string {
	m.t.Helper()
	if _, err := os.Lstat("/run/user/" + strconv.Itoa(owner)); err == nil {
		m.t.Skipf("user %d has a directory below /run/user", owner)
	}
	delete(m.environ, "XDG_RUNTIME_DIR")
	return filepath.Join(m.cache, "ghapp")
}

// agentAt starts an agent that is to listen on a socket.
func (m *machine) agentAt(socket string) *daemon {
	m.t.Helper()
	d := m.launch()
	m.t.Cleanup(func() { d.end(syscall.SIGKILL) })
	d.socket = socket
	m.listensAt(socket)
	return d
}

// listensAt waits until somebody listens on a socket.
func (m *machine) listensAt(socket string) {
	m.t.Helper()
	eventually(m.t, patience, func() string {
		if err := connecting(socket).try(); err != nil {
			return err.Error()
		}
		return ""
	})
}

func TestOtherUserReachesNeitherAgentNorHelper(t *testing.T) {
	needsTwoUsers(t)
	t.Parallel()
	for name, place := range map[string]func(*machine) string{
		"in the runtime directory": func(m *machine) string { return filepath.Join(m.runtime, "ghapp") },
		"in the cache":             (*machine).inTheCache,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			dir := place(m)
			m.configured()
			m.shared()
			d := m.agentAt(filepath.Join(dir, "agent.sock"))
			cmd, out := m.helper("get", "acme/web")
			testkit.OK(t, cmd.Run(), "%s", out.stderr.String())
			// With tokens in the agent, in the cache, and one on its way to a helper.
			stop := m.traffic.hold(0, isSettle)
			cmd, out = m.helper("get", "acme/site")
			testkit.OK(t, cmd.Start())
			stop.wait(t)
			dirs := []string{dir}
			if cache := filepath.Join(m.cache, "ghapp"); cache != dir {
				dirs = append(dirs, cache)
			}
			m.keptOut(m.againstAll(dirs...))
			m.traffic.release()
			_ = cmd.Wait() // its exit code is in the result
			m.answered(cmd, out)
			m.noSecretOnDisk()
			d.end(syscall.SIGTERM).ends(t, 0)
		})
	}
}

// Sockets of a clone and of exec, with a directory for temporary files that all users
// have in common.
func TestOtherUserReachesNoSocketInASharedDirectory(t *testing.T) {
	needsTwoUsers(t)
	t.Parallel()
	for name, args := range map[string][]string{
		"clone": {"clone", "acme/site"},
		"exec":  {"exec", "acme/site", "--", "git", "clone", "-q", "ORIGIN/acme/site"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.inTheCache()
			m.shared()
			stop := m.traffic.hold(0, isUploadPack("acme/site"))
			cmd, out := m.command(strings.Split(strings.ReplaceAll(strings.Join(args, " "), "ORIGIN", m.server.URL), " ")...)
			testkit.OK(t, cmd.Start())
			stop.wait(t)
			m.keptOut(m.againstAll(m.sessionDir(), filepath.Join(m.cache, "ghapp")))
			m.traffic.release()
			testkit.OK(t, cmd.Wait(), "%s", out.stderr.String())
			m.noSecretOnDisk()
		})
	}
}

// sessionDir is the directory with the socket of the one command that runs.
func (m *machine) sessionDir() string {
	m.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(m.temp, "ghapp-*"))
	if err != nil || len(dirs) != 1 {
		m.t.Fatalf("below %s there are %q, %v", m.temp, dirs, err)
	}
	return dirs[0]
}

// trap is a socket of the other user's, which takes what it is sent and answers with a
// credential of its own.
type trap struct {
	t        *testing.T
	listener *net.UnixListener
	ended    sync.WaitGroup

	mu    sync.Mutex
	heard bytes.Buffer
}

const trapped = "ghs_of_the_other_user"

func (m *machine) trap(path string) *trap {
	m.t.Helper()
	p := &trap{t: m.t}
	as(m.t, other, func() {
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			p.listener, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		}
		if err == nil {
			err = os.Chmod(path, 0o777)
		}
		if err != nil {
			m.t.Errorf("the other user cannot listen on %s, so this test sees nothing: %v", path, err)
		}
	})
	if p.listener == nil {
		m.t.FailNow()
	}
	p.ended.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.ended.Go(func() { p.answer(conn) })
		}
	})
	m.t.Cleanup(p.close)
	return p
}

func (p *trap) answer(conn net.Conn) {
	defer conn.Close()
	text := make([]byte, 1<<10)
	_ = conn.SetReadDeadline(time.Now().Add(patience)) // of a connection that is open
	n, _ := conn.Read(text)
	p.mu.Lock()
	p.heard.Write(text[:n])
	p.mu.Unlock()
	answer := "username=x-access-token\npassword=" + trapped + "\n"
	_, _ = fmt.Fprintf(conn, "ghapp-agent/1 ok %d\n%s", len(answer), answer) // to whom may be gone
}

func (p *trap) close() {
	p.listener.Close()
	p.ended.Wait()
}

// unheard fails if anybody asked, and took what was answered.
func (p *trap) unheard(taken string) {
	p.t.Helper()
	p.close()
	if p.heard.Len() > 0 {
		p.t.Errorf("the other user was asked %q", p.heard.String())
	}
	testkit.Lacks(p.t, taken, trapped)
}

// Wherever helper or agent look, the other user was there before.
func TestSocketOfTheOtherUserIsNotAsked(t *testing.T) {
	needsTwoUsers(t)
	t.Parallel()
	belongs := fmt.Sprintf("belongs to user %d, not %d", other, owner)
	for name, test := range map[string]struct {
		// prepare returns where the trap is to be.
		prepare func(m *machine) string
		helper  string // what the helper says; it goes on without an agent, unless final
		final   bool
		agent   string // what the agent says; empty: it listens elsewhere
	}{
		"the cache directory is common to all": {prepare: func(m *machine) string {
			m.inTheCache()
			m.mode(m.cache, 0o777)
			return filepath.Join(m.cache, "ghapp", "agent.sock")
		}, helper: belongs, agent: belongs},
		"it is a link to theirs": {prepare: func(m *machine) string {
			m.inTheCache()
			m.mode(m.cache, 0o777)
			theirs := filepath.Join(m.temp, "theirs")
			as(m.t, other, func() {
				if err := os.Symlink(theirs, filepath.Join(m.cache, "ghapp")); err != nil {
					m.t.Error(err)
				}
			})
			return filepath.Join(theirs, "agent.sock")
		}, helper: belongs, agent: "is a symbolic link"},
		"the runtime directory is open to all": {prepare: func(m *machine) string {
			m.mode(m.runtime, 0o777)
			return filepath.Join(m.runtime, "ghapp", "agent.sock")
		}, helper: belongs, agent: belongs},
		"a directory of the user's own is open to all": {prepare: func(m *machine) string {
			m.mode(m.runtime, 0o755)
			dir := filepath.Join(m.runtime, "ghapp")
			m.write(filepath.Join(dir, "x"), "")
			m.handOver(dir)
			m.mode(dir, 0o777)
			return filepath.Join(dir, "agent.sock")
		}, helper: belongs, agent: "lets other users in (mode 0777)"},
		"the runtime directory is theirs, as after sudo": {prepare: func(m *machine) string {
			m.inTheCache()
			theirs := filepath.Join(m.temp, "theirs")
			m.environ["XDG_RUNTIME_DIR"] = theirs
			return filepath.Join(theirs, "ghapp", "agent.sock")
		}},
		"it is named": {prepare: func(m *machine) string {
			path := filepath.Join(m.temp, "theirs", "agent.sock")
			m.environ["GHAPP_AGENT_SOCK"] = path
			return path
		}, helper: belongs, final: true, agent: belongs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.configured()
			m.shared()
			trap := m.trap(test.prepare(m))
			named := "GHAPP_AGENT_SOCK=" + m.environ["GHAPP_AGENT_SOCK"]

			helper, out := m.helper("get", "acme/site")
			helper.Env = append(helper.Env, named)
			_ = helper.Run() // its exit code is in the result
			r := out.result(helper)
			testkit.Contains(t, r.stderr, test.helper)
			if test.final {
				testkit.Equal(t, r.code, 0)
				testkit.Equal(t, r.stdout, "quit=1\n")
			} else {
				m.answered(helper, out)
			}

			agent, told := m.plain("ghapp", "agent")
			agent.Env = append(agent.Env, named)
			testkit.OK(t, agent.Start())
			if test.agent == "" {
				m.listensAt(filepath.Join(m.cache, "ghapp", "agent.sock"))
				_ = agent.Process.Signal(syscall.SIGTERM)
			}
			_ = agent.Wait() // its exit code is in the result
			a := told.result(agent)
			if want := map[bool]int{true: 0, false: 3}[test.agent == ""]; a.code != want ||
				!strings.Contains(a.stderr, test.agent) {
				t.Errorf("the agent: exit code %d, want %d\n%s", a.code, want, a.stderr)
			}
			trap.unheard(r.stdout + r.stderr + a.stderr)
			m.noSecretOnDisk()
		})
	}
}

// Where the directory for temporary files is one in which anybody can move what is
// another's, a socket can be exchanged while its command runs.
func TestSocketThatWasExchangedIsNotAsked(t *testing.T) {
	needsTwoUsers(t)
	t.Parallel()
	for name, args := range map[string][]string{
		"clone": {"clone", "acme/web"},
		"exec":  {"exec", "acme/site", "--", "git", "clone", "-q", "ORIGIN/acme/web"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.inTheCache()
			m.shared()
			m.mode(m.temp, 0o777)
			at := isDiscovery("acme/web") // before git asks for a credential
			if name == "clone" {
				at = isCall("POST", "/access_tokens")
			}
			stop := m.traffic.hold(0, at)
			cmd, out := m.command(strings.Split(strings.ReplaceAll(strings.Join(args, " "), "ORIGIN", m.server.URL), " ")...)
			testkit.OK(t, cmd.Start())
			stop.wait(t)
			dir := m.sessionDir()
			as(t, other, func() {
				if err := os.Rename(dir, dir+"-moved"); err != nil {
					t.Errorf("the other user cannot exchange it, so this test sees nothing: %v", err)
				}
			})
			trap := m.trap(filepath.Join(dir, "agent"))
			m.traffic.release()
			_ = cmd.Wait() // its exit code is in the result
			r := out.result(cmd)
			if r.code == 0 || !strings.Contains(r.stderr, fmt.Sprintf("belongs to user %d, not %d", other, owner)) {
				t.Errorf("exit code %d\n%s", r.code, r.stderr)
			}
			trap.unheard(r.stdout + r.stderr)
			m.noSecretIn("the output", r.stdout+r.stderr)
			m.noSecretOnDisk()
		})
	}
}
