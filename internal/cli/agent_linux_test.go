package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// daemon is a `ghapp agent` that runs, for Apps of the config file.
type daemon struct {
	m      *machine
	cmd    *exec.Cmd
	out    *outputs
	ended  chan struct{}
	socket string
}

// configured puts the App into the config file.
func (m *machine) configured() {
	m.t.Helper()
	m.write(filepath.Join(m.home, ".config", "ghapp", "config.yaml"), fmt.Sprintf(
		"apps:\n  deploy: {app: %s, key: %s, host: %q, owners: [acme]}\n", m.environ["GHAPP_APP"],
		m.environ["GHAPP_KEY"], m.environ["GHAPP_HOST"]))
}

// plain is ghapp, or the helper by its name, of a user who has no variables of ghapp.
func (m *machine) plain(program string, args ...string) (*exec.Cmd, *outputs) {
	m.t.Helper()
	cmd, out := m.command(args...)
	cmd.Path = filepath.Join(binaries, program)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(entry string) bool { return strings.HasPrefix(entry, "GHAPP_") })
	return cmd, out
}

// helper is git's question for a repository, to be started.
func (m *machine) helper(operation, repository string) (*exec.Cmd, *outputs) {
	m.t.Helper()
	cmd, out := m.plain("git-credential-ghapp", operation)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("protocol=http\nhost=%s\npath=%s.git\n\n", m.host, repository))
	return cmd, out
}

// launch starts an agent.
func (m *machine) launch() *daemon {
	m.t.Helper()
	d := &daemon{m: m, ended: make(chan struct{}), socket: filepath.Join(m.runtime, "ghapp", "agent.sock")}
	d.cmd, d.out = m.plain("ghapp", "agent")
	// It lives as long as the test, which may be longer than a command may take.
	d.cmd.Cancel, d.cmd.WaitDelay = func() error { return os.ErrProcessDone }, 0
	testkit.OK(m.t, d.cmd.Start())
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // its exit code is in the result
	}()
	return d
}

// agent starts one for the App and waits until it listens.
func (m *machine) agent() *daemon {
	m.t.Helper()
	m.configured()
	return m.agentRuns()
}

// agentRuns starts one for what is configured, and waits until it listens.
func (m *machine) agentRuns() *daemon {
	m.t.Helper()
	d := m.launch()
	eventually(m.t, patience, func() string {
		client, err := agent.Dial(d.socket)
		if err != nil {
			return err.Error()
		}
		client.Close()
		return ""
	})
	m.t.Cleanup(func() { d.end(syscall.SIGKILL) })
	return d
}

// end sends a signal, unless it has ended, and waits for its end.
func (d *daemon) end(s syscall.Signal) result {
	d.m.t.Helper()
	_ = d.cmd.Process.Signal(s)
	return d.wait()
}

func (d *daemon) wait() result {
	d.m.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.m.t.Fatal("the agent does not end")
	}
	return d.out.result(d.cmd)
}

// status is what `ghapp agent status --json` tells.
type status struct {
	PID      int
	Tokens   []struct{ Repository string }
	Requests struct{ Answered, Refused, Minted, Erased int }
}

func (m *machine) status() status {
	m.t.Helper()
	cmd, out := m.plain("ghapp", "agent", "status", "--json")
	testkit.OK(m.t, cmd.Run(), "%s", out.stderr.String())
	m.noSecretIn("the status", out.stdout.String())
	var s status
	testkit.OK(m.t, json.Unmarshal(out.stdout.Bytes(), &s))
	return s
}

// answered fails unless the helper ended with a token.
func (m *machine) answered(cmd *exec.Cmd, out *outputs) {
	m.t.Helper()
	r := out.result(cmd)
	_, rest, _ := strings.Cut(r.stdout, "password=")
	token, _, _ := strings.Cut(rest, "\n")
	if r.code != 0 || !slices.Contains(m.tokens(), token) {
		m.t.Errorf("exit code %d, no token of GitHub's on standard output\n%s", r.code, r.stderr)
	}
}

func TestTwoHundredHelpersOfOneAgentMintOncePerScope(t *testing.T) {
	t.Parallel()
	const many = 200
	m := newMachine(t)
	m.agent()
	repositories := []string{"acme/site", "acme/web"}
	commands, outs := make([]*exec.Cmd, many), make([]*outputs, many)
	for i := range many {
		commands[i], outs[i] = m.helper("get", repositories[i%2])
		testkit.OK(t, commands[i].Start())
	}
	for i, cmd := range commands {
		_ = cmd.Wait() // its exit code is in the result
		m.answered(cmd, outs[i])
	}
	testkit.Equal(t, m.github.Mints(), len(repositories), "mints")
	if s := m.status(); s.Requests.Answered != many || s.Requests.Minted != len(repositories) ||
		len(s.Tokens) != len(repositories) {
		t.Errorf("the agent did not answer all of them: %+v", s)
	}
	m.noSecretOnDisk()
}

func TestOfManyAgentsStartedAtOnceOneRuns(t *testing.T) {
	t.Parallel()
	const many = 8
	m := newMachine(t)
	before := m.agent() // which leaves its socket behind
	before.end(syscall.SIGKILL)
	daemons := make([]*daemon, many)
	for i := range daemons {
		daemons[i] = m.launch()
	}
	eventually(t, patience, func() string {
		running := 0
		for _, d := range daemons {
			select {
			case <-d.ended:
			default:
				running++
			}
		}
		if running != 1 {
			return fmt.Sprintf("%d run", running)
		}
		return ""
	})
	pid := m.status().PID
	for _, d := range daemons {
		if d.cmd.Process.Pid == pid {
			d.end(syscall.SIGTERM).ends(t, 0)
			continue
		}
		d.wait().ends(t, 1, fmt.Sprintf("already: process %d since", pid))
	}
}

// One that is just starting has its lock, and does not listen yet.
func TestAgentSaysWhoHasItsPlace(t *testing.T) {
	t.Parallel()
	const told = `{"pid": 1234, "tokens_held": 7}`
	for name, want := range map[string]string{
		"one that starts":       "already: process 1234 since",
		"one that says nothing": "another process has the agent's socket",
	} {
		m := newMachine(t)
		m.configured()
		socket := filepath.Join(m.runtime, "ghapp", "agent.sock")
		m.write(socket+".lock", "")
		lock := testkit.Must(os.Open(socket + ".lock"))(t)
		defer lock.Close()
		testkit.OK(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
		d := m.launch()
		if name == "one that starts" {
			time.Sleep(200 * time.Millisecond)
			listener := testkit.Must(net.Listen("unix", socket))(t)
			defer listener.Close()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.CopyN(io.Discard, conn, int64(len("ghapp-agent/1 status 0\n"))) // what it asks
				_, _ = fmt.Fprintf(conn, "ghapp-agent/1 ok %d\n%s", len(told), told)
			}()
		}
		if r := d.wait(); r.code != 1 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "ghapp: hint: ") {
			t.Errorf("%s: exit code %d\n%s", name, r.code, r.stderr)
		}
	}
}

func TestKilledAgentIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(*http.Request) bool{
		"look-up of the installation": isCall("GET", "/installation"),
		"mint":                        isCall("POST", "/access_tokens"),
		"question for the new token":  isSettle,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			d := m.agent()
			stop := m.traffic.hold(0, at)
			cmd, out := m.helper("get", "acme/site")
			testkit.OK(t, cmd.Start())
			stop.wait(t)
			d.end(syscall.SIGKILL)
			m.noSecretOnDisk()
			m.traffic.release()
			_ = cmd.Wait() // its exit code is in the result
			m.answered(cmd, out)
			m.noSecretIn("the helper's words", out.stderr.String())
			// And so goes on, without and with another.
			for range 2 {
				cmd, out := m.helper("get", "acme/web")
				_ = cmd.Run()
				m.answered(cmd, out)
				d = m.agent()
			}
			m.noSecretOnDisk()
			m.noSecretIn("the agent's words", d.end(syscall.SIGTERM).stderr)
		})
	}
}

func TestAgentFinishesWhatItDoesBeforeItEnds(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		m := newMachine(t)
		d := m.agent()
		stop := m.traffic.hold(0, isCall("POST", "/access_tokens"))
		cmd, out := m.helper("get", "acme/site")
		testkit.OK(t, cmd.Start())
		stop.wait(t)
		testkit.OK(t, d.cmd.Process.Signal(signal))
		// Its place is free at once.
		eventually(t, patience, func() string {
			if _, err := os.Lstat(d.socket); err == nil {
				return "the socket is there"
			}
			return ""
		})
		m.traffic.release()
		if r := d.wait(); r.code != 0 {
			t.Errorf("%v: exit code %d\n%s", signal, r.code, r.stderr)
		}
		_ = cmd.Wait() // its exit code is in the result
		m.answered(cmd, out)
		testkit.Equal(t, m.github.Mints(), 1, "%v", signal)
	}
}

// A mint that takes longer than a service manager waits is left to ghapp itself.
func TestAgentDoesNotWaitForeverToEnd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	d := m.agent()
	stop := m.traffic.hold(0, isCall("POST", "/access_tokens"))
	cmd, out := m.helper("get", "acme/site")
	testkit.OK(t, cmd.Start())
	stop.wait(t)
	d.end(syscall.SIGTERM).ends(t, 0)
	m.traffic.release()
	_ = cmd.Wait() // its exit code is in the result
	m.answered(cmd, out)
}

// GitHub hangs, and more wait than are worked for.
func TestStatusAndStopAnswerWhileGitHubHangs(t *testing.T) {
	t.Parallel()
	const many = 100
	m := newMachine(t)
	d := m.agent()
	stop := m.traffic.hold(0, isCall("POST", "/access_tokens"))
	commands, outs := make([]*exec.Cmd, many), make([]*outputs, many)
	for i := range many {
		commands[i], outs[i] = m.helper("get", "acme/site")
		testkit.OK(t, commands[i].Start())
	}
	stop.wait(t)
	// Each of them is connected when it has nothing to do but to wait.
	eventually(t, patience, func() string {
		if n := m.connections(d); n <= many {
			return fmt.Sprintf("%d of %d are connected", n, many)
		}
		return ""
	})
	testkit.Equal(t, m.status().PID, d.cmd.Process.Pid, "status")
	if cmd, out := m.plain("ghapp", "agent", "stop"); cmd.Run() != nil {
		t.Errorf("stop: %s", out.stderr.String())
	}
	m.traffic.release()
	for i, cmd := range commands {
		_ = cmd.Wait() // its exit code is in the result
		m.answered(cmd, outs[i])
	}
	d.wait().ends(t, 0)
	testkit.Equal(t, m.github.Mints(), 1, "mints")
}

// connections are the sockets that an agent has open.
func (m *machine) connections(d *daemon) int {
	m.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", d.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		m.t.Fatalf("the agent has no file open: %v", err)
	}
	n := 0
	for _, file := range files {
		if to, _ := os.Readlink(file); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func TestHangUpsWithoutEnd(t *testing.T) {
	t.Parallel()
	const hangUps, many = 200, 40
	m := newMachine(t)
	d := m.agent()
	before := m.connections(d)
	commands, outs := make([]*exec.Cmd, many), make([]*outputs, many)
	for i := range hangUps {
		testkit.OK(t, d.cmd.Process.Signal(syscall.SIGHUP))
		if i%(hangUps/many) == 0 {
			n := i / (hangUps / many)
			commands[n], outs[n] = m.helper("get", []string{"acme/site", "acme/web"}[n%2])
			testkit.OK(t, commands[n].Start())
		}
	}
	for i, cmd := range commands {
		_ = cmd.Wait() // its exit code is in the result
		m.answered(cmd, outs[i])
	}
	// What was asked of it before a hang-up and after it, is one and the same.
	testkit.Equal(t, m.github.Mints(), 2, "mints")
	if s := m.status(); s.Requests.Answered != many || s.Requests.Refused != 0 {
		t.Errorf("the agent did not answer all of them: %+v", s)
	}
	// A configuration that is not used any more has no connections.
	testkit.OK(t, d.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, patience, func() string {
		if now := m.connections(d); now > before {
			return fmt.Sprintf("%d sockets are open, %d before", now, before)
		}
		return ""
	})
	if r := d.end(syscall.SIGTERM); r.code != 0 || strings.Contains(r.stderr, "error") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

func TestAgentReplacesATokenThatGitSaysIsRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("token", "acme/site")
	m.agedCache() // for one in its first seconds is kept
	m.agent()
	ask := func(operation, password string) string {
		t.Helper()
		cmd, out := m.helper(operation, "acme/site")
		cmd.Stdin = strings.NewReader(fmt.Sprintf("protocol=http\nhost=%s\npath=acme/site.git\nusername=x-access-token\n"+
			"password=%s\n\n", m.host, password))
		testkit.OK(t, cmd.Run(), "%s", out.stderr.String())
		return out.stdout.String()
	}
	first := ask("get", "")
	ask("erase", "ghs_another")
	testkit.Equal(t, ask("get", ""), first, "the end of another's token took it along")
	ask("erase", m.tokens()[0])
	if s := m.status(); len(s.Tokens) != 0 || s.Requests.Erased != 2 {
		t.Errorf("it is held on: %+v", s)
	}
	for i := 1; i <= 3; i++ {
		// It is new, but GitHub's git service has taken it once: a refusal does not come too early.
		if answer := ask("get", ""); len(m.tokens()) <= i || !strings.Contains(answer, m.tokens()[i]) {
			t.Fatalf("after %d refusals there is no new token", i)
		}
		ask("erase", m.tokens()[i])
	}
	testkit.Equal(t, m.github.Mints(), 4, "mints")
}

// listening is a socket as a service manager makes it.
func (m *machine) listening(path string) *os.File {
	m.t.Helper()
	testkit.OK(m.t, os.MkdirAll(filepath.Dir(path), 0o700))
	listener := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path}))(m.t)
	m.t.Cleanup(func() { listener.Close() })
	file := testkit.Must(listener.File())(m.t)
	m.t.Cleanup(func() { file.Close() })
	return file
}

// As systemd starts it when git first asks (sd_listen_fds(3), sd_notify(3)).
func TestAgentThatAServiceManagerStarts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.configured()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(m.root, "notify")})
	testkit.OK(t, err)
	defer manager.Close()
	told := func(want string) {
		t.Helper()
		text := make([]byte, 100)
		_ = manager.SetReadDeadline(time.Now().Add(patience)) // of a socket that is open
		if n, err := manager.Read(text); err != nil || string(text[:n]) != want {
			t.Errorf("the service manager was told %q, %v, want %q", text[:n], err, want)
		}
	}
	socket := filepath.Join(m.runtime, "ghapp", "agent.sock")
	inherited := m.listening(socket)
	// git asks before there is an agent, and waits for it.
	helper, answer := m.helper("get", "acme/site")
	testkit.OK(t, helper.Start())
	cmd, out := m.plain("ghapp")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec ghapp agent`}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+manager.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{inherited}
	testkit.OK(t, cmd.Start())
	told("READY=1")
	_ = helper.Wait() // its exit code is in the result
	m.answered(helper, answer)
	testkit.OK(t, cmd.Process.Signal(syscall.SIGHUP))
	told("RELOADING=1")
	told("READY=1")
	// Another one, started by hand, does not take the place.
	second := m.launch()
	second.wait().ends(t, 1, fmt.Sprintf("already: process %d since", cmd.Process.Pid))
	if stop, out := m.plain("ghapp", "agent", "stop"); stop.Run() != nil {
		t.Errorf("stop: %s", out.stderr.String())
	}
	told("STOPPING=1")
	testkit.OK(t, cmd.Wait(), "%s", out.stderr.String())
	testkit.OK(t, testkit.ErrorOf(os.Lstat(socket)), "the service manager's socket is gone")
}

// activated starts an agent on a service manager's socket.
func (m *machine) activated(socket *os.File) (*exec.Cmd, *outputs) {
	m.t.Helper()
	cmd, out := m.plain("ghapp")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec ghapp agent`}
	cmd.ExtraFiles = []*os.File{socket}
	testkit.OK(m.t, cmd.Start())
	return cmd, out
}

// The service manager goes on listening when the agent is killed, and starts another
// one when git asks.
func TestAgentOfAServiceManagerIsStartedAnew(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.configured()
	inherited := m.listening(filepath.Join(m.runtime, "ghapp", "agent.sock"))
	agent, _ := m.activated(inherited)
	stop := m.traffic.hold(0, isCall("POST", "/access_tokens"))
	asked, out := m.helper("get", "acme/site")
	testkit.OK(t, asked.Start())
	stop.wait(t)
	testkit.OK(t, agent.Process.Kill())
	_ = agent.Wait()
	m.noSecretOnDisk()
	m.traffic.release()
	_ = asked.Wait() // its exit code is in the result
	m.answered(asked, out)

	asked, out = m.helper("get", "acme/web")
	testkit.OK(t, asked.Start())
	agent, told := m.activated(inherited)
	_ = asked.Wait() // its exit code is in the result
	m.answered(asked, out)
	if s := m.status(); s.PID != agent.Process.Pid || s.Requests.Answered != 1 {
		t.Errorf("status: %+v", s)
	}
	testkit.OK(t, agent.Process.Signal(syscall.SIGTERM))
	testkit.OK(t, agent.Wait(), "%s", told.stderr.String())
	m.noSecretOnDisk()
}

// The unit files say what the helper looks for.
func TestUnitFilesNameTheSocketOfTheHelper(t *testing.T) {
	text := testkit.Must(os.ReadFile("../../docs/ghapp-agent.socket"))(t)
	dir := t.TempDir()
	path := agent.SocketPath(func(name string) (string, bool) { return dir, name == "XDG_RUNTIME_DIR" })
	for _, line := range []string{"ListenStream=" + strings.Replace(path, dir, "%t", 1),
		"DirectoryMode=0700", "SocketMode=0600"} {
		if !slices.Contains(strings.Split(string(text), "\n"), line) {
			t.Errorf("there is no line %s", line)
		}
	}
}

// And systemd finds nothing in them that it does not know, or that it would not do.
func TestUnitFilesAreTakenBySystemd(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	m := newMachine(t)
	cmd, out := m.plain("ghapp", "verify", "--user", "--man=no")
	cmd.Path = analyze
	for _, name := range []string{"ghapp-agent.socket", "ghapp-agent.service"} {
		text := testkit.Must(os.ReadFile("../../docs/" + name))(t)
		path := filepath.Join(m.home, ".config", "systemd", "user", name)
		m.write(path, strings.ReplaceAll(string(text), "/usr/local/bin", binaries))
		m.mode(path, 0o644)
		cmd.Args = append(cmd.Args, path)
	}
	if err := cmd.Run(); err != nil || out.stdout.Len()+out.stderr.Len() > 0 {
		t.Errorf("%v\n%s%s", err, out.stdout.String(), out.stderr.String())
	}
}
