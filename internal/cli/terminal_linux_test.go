package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudoterminal with ghapp in the foreground (pty(7)).
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	shown  chan string // what was on it, when it is closed
}

// terminal starts ghapp on a terminal of its own.
func (m *machine) terminal(args ...string) *terminal {
	m.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		m.t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		m.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer slave.Close()
	cmd, _ := m.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	term := &terminal{m.t, master, cmd, make(chan string, 1)}
	go func() {
		text, _ := io.ReadAll(master) // it ends with EIO when the last program has closed it
		term.shown <- string(text)
	}()
	return term
}

// wait waits for the end of ghapp and returns what it has shown and its exit code.
func (term *terminal) wait() (shown string, code int) {
	term.t.Helper()
	_ = term.cmd.Wait() // the exit code tells
	select {
	case shown = <-term.shown:
	case <-time.After(patience):
		term.t.Fatal("somebody keeps the terminal")
	}
	return shown, term.cmd.ProcessState.ExitCode()
}

func TestProgressOfGitIsShownOnATerminal(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	m := w.large(t)
	shown, code := m.terminal(cloneLarge()...).wait()
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, shown)
	}
	for _, want := range []string{"Cloning into 'deep/large'...", "Receiving objects:  50%", "Receiving objects: 100%", "done.\r\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown:\n%q", want, shown)
		}
	}
	m.noSecretIn("the terminal", shown)

	quiet, code := m.terminal("clone", "acme/web", "-q").wait()
	if code != 0 || quiet != "" {
		t.Errorf("with -q: exit code %d, shown %q", code, quiet)
	}
	if r := m.must("clone", "acme/web", "no-terminal"); strings.Contains(r.stderr, "objects") {
		t.Errorf("without a terminal:\n%s", r.stderr)
	}
}

func TestCtrlCEndsACloneOnATerminal(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	m := w.large(t)
	stop := m.traffic.hold(largeSize/2, isUploadPack("acme/large"))
	term := m.terminal(cloneLarge()...)
	stop.wait(t)
	if _, err := term.master.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
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
	if code != 4 || strings.Contains(shown, "\nUsername for ") {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	e.sentNothing(m)
	m.nothingLeft()
}
