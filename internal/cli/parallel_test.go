package cli_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
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
		testkit.OK(m.t, cmd.Start())
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
	testkit.Equal(t, m.github.Mints(), 1, "mints")
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
		testkit.Equal(t, r.code, 0, "clone %d: exit code, %s", i, r.stderr)
	}
	testkit.Equal(t, m.github.Mints(), len(repositories), "mints")
	m.onlyOurs(2 * len(results))
}

// Whoever waits for another's mint is not let down when that one is killed.
func TestKilledMinterIsSucceeded(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.traffic.hold(0, isCall("POST", "/access_tokens"))
	first, _ := m.command("token", "acme/site")
	testkit.OK(t, first.Start())
	stop.wait(t)
	second, out := m.command("token", "acme/site")
	testkit.OK(t, second.Start())
	testkit.OK(t, first.Process.Kill())
	_ = first.Wait()
	m.traffic.release()
	testkit.OK(t, second.Wait(), "%s", out.stderr.String())
}
