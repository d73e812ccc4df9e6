package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"golang.org/x/sys/unix"
)

// terminal is a pseudoterminal with ghapp in the foreground (pty(7)).
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	shown  *outputBuffer
	closed chan struct{} // by the last program that had it open
}

// outputBuffer is what is on the terminal so far.
type outputBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (b *outputBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *outputBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// terminal starts ghapp on a terminal of its own.
func (m *machine) terminal(args ...string) *terminal {
	m.t.Helper()
	master := testkit.Must(os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0))(m.t)
	m.t.Cleanup(func() { _ = master.Close() })
	testkit.OK(m.t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number := testkit.Must(unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN))(m.t)
	slave := testkit.Must(os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0))(m.t)
	defer slave.Close()
	cmd, _ := m.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	testkit.OK(m.t, cmd.Start())
	term := &terminal{m.t, master, cmd, &outputBuffer{}, make(chan struct{})}
	go func() {
		_, _ = io.Copy(term.shown, master) // it ends with EIO when the last program has closed it
		close(term.closed)
	}()
	return term
}

// until waits until a text is shown.
func (term *terminal) until(text string) {
	term.t.Helper()
	for late := time.Now().Add(patience); !strings.Contains(term.shown.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			term.t.Fatalf("%q is not shown:\n%s", text, term.shown)
		}
	}
}

// types presses keys.
func (term *terminal) types(keys string) {
	term.t.Helper()
	testkit.Must(io.WriteString(term.master, keys))(term.t)
}

// wait waits for the end of ghapp and returns what it has shown and its exit code.
func (term *terminal) wait() (shown string, code int) {
	term.t.Helper()
	_ = term.cmd.Wait() // the exit code tells
	select {
	case <-term.closed:
	case <-time.After(patience):
		term.t.Fatal("somebody keeps the terminal")
	}
	return term.shown.String(), term.cmd.ProcessState.ExitCode()
}

func TestProgressOfGitIsShownOnATerminal(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	m := w.large(t)
	shown, code := m.terminal(cloneLarge()...).wait()
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, shown)
	}
	for _, want := range []string{"Cloning into 'deep/large'...", "Receiving objects:  50%",
		"Receiving objects: 100%", "done.\r\n"} {
		testkit.Contains(t, shown, want)
	}
	m.noSecretIn("the terminal", shown)

	quiet, code := m.terminal("clone", "acme/web", "-q").wait()
	testkit.Equal(t, code, 0)
	testkit.Equal(t, quiet, "")
	testkit.Lacks(t, m.must("clone", "acme/web", "no-terminal").stderr, "objects")
}

func TestCtrlCEndsACloneOnATerminal(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	m := w.large(t)
	stop := m.traffic.hold(largeSize/2, isUploadPack("acme/large"))
	term := m.terminal(cloneLarge()...)
	stop.wait(t)
	testkit.Must(term.master.Write([]byte{3}))(t)
	if shown, code := term.wait(); code != 130 {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	m.allEnded(time.Second)
	m.nothingLeft()
	m.noSecretOnDisk()
}

// Where there is no credential git would ask the person, who has none either, and
// wait.
func TestNobodyIsAskedForAPasswordOnATerminal(t *testing.T) {
	t.Parallel()
	w, e := newOpenWorld(t), newEvil(t)
	e.AskPassword()
	w.commit(t, "acme/site", submodule("sub", e.url+"/acme/site", strings.Repeat("1", 40))...)
	m := w.machine(t)
	shown, code := m.terminal("clone", "acme/site", "--", "--recurse-submodules").wait()
	testkit.Equal(t, code, 4)
	testkit.Lacks(t, shown, "\nUsername for ")
	e.sentNothing(m)
	m.nothingLeft()
}

// Whoever presses Ctrl-C at a question has answered it: nothing is done any more, also
// where Enter alone would mean yes, and no second key is needed.
func TestCtrlCEndsEveryQuestion(t *testing.T) {
	t.Parallel()
	for name, question := range map[string]struct {
		prepare func(t *testing.T) *machine
		args    func(m *machine) []string
		shown   string
	}{
		"config edit": {
			func(t *testing.T) *machine {
				m, _ := editing(t, "echo '    colour: x' >>\"$1\"\n")
				return m
			},
			func(*machine) []string { return []string{"config", "edit"} },
			"Edit it again? [Y/n]",
		},
		"setup import": {
			func(t *testing.T) *machine {
				m := newNewcomer(t)
				m.write(filepath.Join(m.work, "open.pem"), string(m.keyPEM))
				m.mode(filepath.Join(m.work, "open.pem"), 0o644)
				return m
			},
			func(m *machine) []string {
				return []string{"setup", "import", "--app", "1234", "--key", filepath.Join(m.work, "open.pem")}
			},
			"where only you can read it? [Y/n]",
		},
		"keys import": {
			func(t *testing.T) *machine { m := newMachine(t); m.emptySigner(); return m },
			func(m *machine) []string { return []string{"keys", "import", "--to", signerURI(m.t)} },
			"[y/N]",
		},
		"keys rotate": {
			func(t *testing.T) *machine {
				m := newMachine(t)
				m.configFile("  deploy: {app: 1234, key: " + m.environ["GHAPP_KEY"] + ", host: '" + m.environ["GHAPP_HOST"] + "'}")
				delete(m.environ, "GHAPP_APP")
				delete(m.environ, "GHAPP_KEY")
				delete(m.environ, "GHAPP_HOST")
				return m
			},
			func(*machine) []string { return []string{"keys", "rotate"} },
			"Path of the file",
		},
		"revoke":     {newMachine, func(*machine) []string { return []string{"revoke"} }, "press Ctrl-D"},
		"credential": {newMachine, func(*machine) []string { return []string{"credential", "get"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := question.prepare(t)
			before := m.files()
			term := m.terminal(question.args(m)...)
			term.until(question.shown)
			if question.shown == "" {
				term.reads()
			}
			term.types("\x03")
			shown, code := term.wait()
			testkit.Equal(t, code, 130, "exit code, %s", shown)
			for path, text := range before {
				if now := m.files(); now[path] != text {
					t.Errorf("%s is another or gone\n%s", path, shown)
				}
			}
			m.noSecretIn("the terminal", shown)
		})
	}
}

// files are the keys and the configuration of the machine, with what is in them.
func (m *machine) files() map[string]string {
	m.t.Helper()
	files := map[string]string{}
	for _, pattern := range []string{"*.pem", "*/*.pem", "home/.config/ghapp/config.yaml"} {
		paths := testkit.Must(filepath.Glob(filepath.Join(m.root, pattern)))(m.t)
		for _, path := range paths {
			text := testkit.Must(os.ReadFile(path))(m.t)
			files[path] = string(text)
		}
	}
	if len(files) == 0 {
		m.t.Fatal("there is nothing that could change")
	}
	return files
}

// reads waits until ghapp reads from the terminal.
func (term *terminal) reads() {
	term.t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		stacks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", term.cmd.Process.Pid))
		for _, stack := range stacks {
			// read(2) is call 0 on amd64 and 63 on arm64; its first argument is the file (proc_pid_syscall(5)).
			text, _ := os.ReadFile(stack)
			if call, rest, _ := strings.Cut(string(text), " "); (call == "0" || call == "63") &&
				strings.HasPrefix(rest, "0x0 ") {
				return
			}
		}
		if time.Now().After(late) {
			term.t.Fatalf("nothing is read:\n%s", term.shown)
		}
	}
}
