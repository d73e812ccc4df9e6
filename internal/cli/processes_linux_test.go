package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// process is one that runs on a machine.
type process struct {
	pid, parent int
	args        []string
	environ     string // NAME=value, each ended by a NUL, as it was when it started
}

func (p process) String() string { return fmt.Sprintf("%d %q", p.pid, p.args) }

// processes are those that run on this machine: of all there are, those with its
// home in their environment, whoever their parent is by now.
func (m *machine) processes() []process {
	m.t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		m.t.Fatalf("there is no /proc: %v", err)
	}
	home := []byte("\x00HOME=" + m.home + "\x00")
	var list []process
	for _, dir := range dirs {
		// Each of them may end at any time; what has ended has no environment.
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if !bytes.Contains(append([]byte{0}, environ...), home) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil || len(args) == 0 {
			continue
		}
		p := process{environ: string(environ), args: strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")}
		p.pid, _ = strconv.Atoi(filepath.Base(dir))
		// The name of the program, in brackets, may have blanks in it (proc_pid_stat(5)).
		if rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(rest) > 1 {
			p.parent, _ = strconv.Atoi(rest[1])
		}
		list = append(list, p)
	}
	return list
}

// child is the first child of a process.
func (m *machine) child(parent int) (process, bool) {
	for _, p := range m.processes() {
		if p.parent == parent {
			return p, true
		}
	}
	return process{}, false
}

// allEnded fails if processes of the machine still run after so long.
func (m *machine) allEnded(within time.Duration) {
	m.t.Helper()
	eventually(m.t, within, func() string {
		if left := m.processes(); len(left) > 0 {
			return fmt.Sprintf("still running: %v", left)
		}
		return ""
	})
}

// eventually fails if a check still complains after so long.
func eventually(t *testing.T, within time.Duration, check func() (complaint string)) {
	t.Helper()
	deadline := time.Now().Add(within)
	for complaint := check(); complaint != ""; complaint = check() {
		if time.Now().After(deadline) {
			t.Errorf("after %s: %s", within, complaint)
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
}
