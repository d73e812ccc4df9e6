package cli_test

import (
	"os/exec"
	"strings"
	"testing"
)

// together starts n processes of ghapp at once on one machine and returns how they
// ended.
func (m *machine) together(n int, args func(i int) []string) []result {
	m.t.Helper()
	commands, outs := make([]*exec.Cmd, n), make([]*outputs, n)
	for i := range n {
		commands[i], outs[i] = m.command(args(i)...)
	}
	for _, cmd := range commands {
		if err := cmd.Start(); err != nil {
			m.t.Fatal(err)
		}
	}
	results := make([]result, n)
	for i, cmd := range commands {
		_ = cmd.Wait() // its exit code is in the result
		results[i] = outs[i].result(cmd)
	}
	return results
}

func TestFiftyProcessesOnAColdCacheMintOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	results := m.together(50, func(int) []string { return []string{"token", "acme/site"} })
	if mints := m.github.Mints(); mints != 1 {
		t.Errorf("%d mints", mints)
	}
	for _, r := range results {
		if r.code != 0 || strings.TrimSpace(r.stdout) != m.tokens()[0] {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
	}
}

func TestClonesAtOnceMintOncePerRepository(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	repositories := []string{"acme/site", "acme/web"}
	results := m.together(12, func(i int) []string {
		return []string{"clone", repositories[i%2], string(rune('a' + i))}
	})
	for i, r := range results {
		if r.code != 0 {
			t.Errorf("clone %d: exit code %d\n%s", i, r.code, r.stderr)
		}
	}
	if mints := m.github.Mints(); mints != len(repositories) {
		t.Errorf("%d mints", mints)
	}
	m.onlyOurs(2 * len(results))
}

// Whoever waits for another's mint is not let down when that one is killed.
func TestKilledMinterIsSucceeded(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.traffic.hold(0, isCall("POST", "/access_tokens"))
	first, _ := m.command("token", "acme/site")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	stop.wait(t)
	second, out := m.command("token", "acme/site")
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	m.traffic.release()
	if err := second.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.stderr.String())
	}
}
