package cli_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
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
		m.t.Errorf("there is no /proc: %v", err)
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

// observer notes what others can read of the processes of a machine: arguments, every
// user of it (proc_pid_cmdline(5)), and the environment, those of one's own
// (proc_pid_environ(5)).
type observer struct {
	mu        sync.Mutex
	arguments map[string]process
	environ   map[string]process // NAME=value
}

// look notes the processes that run now.
func (o *observer) look(m *machine) {
	processes := m.processes()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.arguments == nil {
		o.arguments, o.environ = map[string]process{}, map[string]process{}
	}
	for _, p := range processes {
		o.arguments[strings.Join(p.args, "\x00")] = p
		for entry := range strings.SplitSeq(p.environ, "\x00") {
			o.environ[entry] = p
		}
	}
}

// before looks before a request of a kind is answered.
func (o *observer) before(m *machine, match func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if match(r) {
			o.look(m)
		}
		next.ServeHTTP(w, r)
	})
}

// sawNoSecret fails if a secret was there to be seen, but in these variables; and if
// not even these programs and variables were.
func (o *observer) sawNoSecret(m *machine, programs []string, variables ...string) {
	m.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range programs {
		if !slices.ContainsFunc(slices.Collect(maps.Values(o.arguments)),
			func(p process) bool { return filepath.Base(p.args[0]) == name }) {
			m.t.Errorf("%s was not seen, so this test sees nothing", name)
		}
	}
	secrets, seen := needlesOf(m.secrets()), map[string]bool{}
	for text, p := range o.arguments {
		testkit.Equal(m.t, secrets.in([]byte(text)), "", "a secret is in the arguments of %v", p)
	}
	for entry, p := range o.environ {
		name, _, _ := strings.Cut(entry, "=")
		switch found := secrets.in([]byte(entry)); {
		case found == "":
		case slices.Contains(variables, name):
			seen[name] = true
		default:
			m.t.Errorf("a secret is in %s in the environment of %v: %s", name, p, found)
		}
	}
	for _, name := range variables {
		if !seen[name] {
			m.t.Errorf("%s was not seen, so this test sees nothing", name)
		}
	}
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
