package cli_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestDoctorHasColoursOnATerminalAlone(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	for name, test := range map[string]struct {
		variable, value string
		colours         bool
	}{
		"terminal":            {"TERM", "xterm", true},
		"NO_COLOR":            {"NO_COLOR", "1", false},
		"NO_COLOR without it": {"NO_COLOR", "", true},
		"dumb terminal":       {"TERM", "dumb", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			m.environ[test.variable] = test.value
			shown, code := m.terminal("doctor", "acme/hidden").wait()
			if code != 4 || !strings.Contains(shown, "acme/hidden is not among those selected") {
				t.Fatalf("exit code %d\n%s", code, shown)
			}
			testkit.Equal(t, strings.Contains(shown, "\x1b[1;31mbroken \x1b[0m"), test.colours, "colours, %q", shown)
			if !test.colours && strings.Contains(shown, "\x1b") {
				t.Errorf("an escape sequence is shown:\n%q", shown)
			}
			for _, word := range []string{"ok ", "broken ", "skipped"} {
				testkit.Contains(t, shown, word)
			}
		})
	}
}

func TestDoctorAsksTheAgent(t *testing.T) {
	t.Parallel()
	find := func(m *machine, d diagnosis, code int, state string) (text string) {
		m.t.Helper()
		testkit.Equal(m.t, d.ExitCode, code, "exit code")
		for _, f := range d.Findings {
			switch {
			case f.Link == "agent" && f.State == state:
				text = f.Text + "\n" + f.Kind + "\n" + f.Cause + "\n" + f.Hint
			case f.State != "ok" && f.State != "note":
				m.t.Errorf("blamed: %+v", f)
			}
		}
		if text == "" {
			m.t.Errorf("the agent is not %s: %+v", state, d)
		}
		return text
	}
	t.Run("that runs", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		d := m.agent()
		text := find(m, m.diagnosis(m.ghapp("doctor", "--json", "acme/site")), 0, "ok")
		testkit.Contains(t, text, d.socket, "requests answered")
	})
	t.Run("with another key", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		m.agent()
		m.environ["GHAPP_KEY"] = m.keyOf(m.app)
		text := find(m, m.diagnosis(m.ghapp("doctor", "--json", "acme/site")), 0, warned)
		testkit.Contains(t, text, "agent-key")
		testkit.Equal(t, strings.Count(text, "SHA256:"), 2)
	})
	t.Run("that does not answer", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		socket := filepath.Join(m.runtime, "ghapp", "agent.sock")
		testkit.OK(t, os.Mkdir(filepath.Dir(socket), 0o700))
		listener := testkit.Must(net.Listen("unix", socket))(t)
		defer listener.Close()
		text := find(m, m.diagnosis(m.ghapp("doctor", "--json", "acme/site")), 1, broken)
		testkit.Contains(t, text, "did not answer within 2s", "ghapp agent stop")
	})
}
