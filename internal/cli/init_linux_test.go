package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// first has a program be the first process of a container: PID 1.
func first(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		one := []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = one
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
}

// below are the processes that descend from one, by state, as /proc tells.
func below(t *testing.T, pid int) map[string][]string {
	t.Helper()
	list := testkit.Must(filepath.Glob("/proc/[0-9]*/stat"))(t)
	type process struct{ parent, state, name string }
	all := map[string]process{}
	for _, file := range list {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		line := string(text)
		open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
		fields := strings.Fields(line[end+1:])
		all[strings.TrimSpace(line[:open])] = process{fields[1], fields[0], line[open+1 : end]}
	}
	found := map[string][]string{}
	for id, p := range all {
		for at, steps := p.parent, 0; at != "" && at != "0" && steps < 100; at, steps = all[at].parent, steps+1 {
			if at == strconv.Itoa(pid) {
				found[p.state] = append(found[p.state], id+" "+p.name)
				break
			}
		}
	}
	return found
}

// As the first process of a container, ghapp gets every process whose parent has died,
// and git and the commands after a release leave many. None stays a zombie, and none of
// those that ghapp waits for is taken from it.
func TestFirstProcessOfAContainerLeavesNoZombies(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.user = func(cmd *exec.Cmd) { first(t, cmd) }
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "100ms", "-v",
		"--check", "(sleep 0.1 & sleep 0.2 &) >/dev/null 2>&1; grep -vq refused deployment.txt",
		"--exec", "(sleep 0.1 & sleep 0.3 &) >/dev/null 2>&1; : >../../../ran")
	s.says("up to date")
	for i := range 3 {
		m.pushes(fmt.Sprint(i))
		m.shows("site/deployment.txt", fmt.Sprint(i))
	}
	m.shows("ran", "")
	m.pushes("refused") // the exit code of a check is its own
	testkit.Contains(t, fmt.Sprint(s.says("failed; the directory stays as it was")["error"]), "exit status 1")
	eventually(t, patience, func() string {
		left := below(t, s.cmd.Process.Pid)
		delete(left, "R")
		for _, p := range left["S"] {
			if strings.HasSuffix(p, " sleep") {
				return "something still sleeps: " + p
			}
		}
		if zombies := left["Z"]; len(zombies) > 0 {
			return fmt.Sprintf("zombies stay: %q", zombies)
		}
		return ""
	})
	s.ends() // by SIGTERM, as every container does
}

// What it ends with is what the program has ended with.
func TestFirstProcessOfAContainerEndsAsTheProgramDoes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.user = func(cmd *exec.Cmd) { first(t, cmd) }
	if r := m.ghapp("token", "acme/site"); r.code != 0 || !strings.HasPrefix(r.stdout, "ghs_") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	m.ghapp("nosuch").ends(t, 2)
	m.ghapp("exec", "acme/site", "--", "sh", "-c", "exit 7").ends(t, 7)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, _ := m.command("exec", "acme/site", "--", "sh", "-c",
			"trap 'echo got >got; exit 9' TERM INT; : >begun; while :; do sleep 0.05; done")
		testkit.OK(t, cmd.Start())
		m.until("begun")
		testkit.OK(t, cmd.Process.Signal(s))
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		if code := cmd.ProcessState.ExitCode(); code != 9 && code != 130 || m.read("got") != "got\n" {
			t.Errorf("after %s: exit code %d", s, code)
		}
		for _, name := range []string{"begun", "got"} {
			_ = os.Remove(filepath.Join(m.work, name))
		}
	}
}
