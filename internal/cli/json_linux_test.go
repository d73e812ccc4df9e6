package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// commandsOf are those below a command that do something themselves, as completion has
// them.
func (m *machine) commandsOf(parents ...string) (names []string) {
	m.t.Helper()
	groups := []string{"app", "keys", "config", "completion"}
	list := m.must(append(append([]string{"__complete"}, parents...), "")...).stdout
	for line := range strings.Lines(list) {
		name, _, described := strings.Cut(strings.TrimSpace(line), "\t")
		if !described || strings.HasPrefix(name, ":") {
			continue
		}
		whole := append(slices.Clone(parents), name)
		if !slices.Contains(groups, name) {
			names = append(names, strings.Join(whole, " "))
		}
		if len(parents) == 0 {
			names = append(names, m.commandsOf(whole...)...)
		}
	}
	return names
}

// Whoever says --json reads standard output with a parser, whichever command it is.
func TestEveryCommandSpeaksJSON(t *testing.T) {
	t.Parallel()
	commands := map[string]func(m *machine) []string{
		"token":                  func(*machine) []string { return []string{"acme/site"} },
		"clone":                  func(*machine) []string { return []string{"acme/site", "cloned"} },
		"jwt":                    nil,
		"installations":          nil,
		"repos":                  nil,
		"version":                nil,
		"doctor":                 func(*machine) []string { return []string{"acme/site"} },
		"git-setup":              nil,
		"git-setup --print":      nil,
		"git-setup --undo":       nil,
		"keys fingerprint":       nil,
		"keys check":             nil,
		"config show":            nil,
		"config path":            nil,
		"config set":             func(*machine) []string { return []string{"b.app", "2"} },
		"config unset":           func(*machine) []string { return []string{"b"} },
		"app update-permissions": nil,
		"sync": func(m *machine) []string {
			return []string{"acme/site", "--to", filepath.Join(m.work, "live")}
		},
		"sync status":   func(m *machine) []string { return []string{filepath.Join(m.work, "live")} },
		"sync rollback": func(m *machine) []string { return []string{filepath.Join(m.work, "live")} },
		"sync resume":   func(m *machine) []string { return []string{filepath.Join(m.work, "live")} },
		"mirror":        func(m *machine) []string { return []string{"--to", filepath.Join(m.work, "all")} },
		"mirror list":   func(m *machine) []string { return []string{filepath.Join(m.work, "all")} },
		"mirror status": func(m *machine) []string { return []string{filepath.Join(m.work, "all")} },
		"mirror verify": func(m *machine) []string { return []string{filepath.Join(m.work, "all")} },
		"mirror bundle": func(m *machine) []string {
			return []string{filepath.Join(m.work, "all"), "--to", filepath.Join(m.work, "cold")}
		},
		"mirror restore": func(m *machine) []string {
			return []string{"acme/site", "--from", filepath.Join(m.work, "all"), "--to", filepath.Join(m.work, "again")}
		},
		"revoke": nil,
	}
	order := []string{
		"sync", "sync status", "sync rollback", "sync resume",
		"mirror", "mirror list", "mirror status", "mirror verify", "mirror bundle", "mirror restore",
		"config set", "config unset", "token", "revoke",
	}
	for name := range commands {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	m := newMachine(t)
	without := map[string]string{
		"help": "text for people", "completion bash": "a shell's script", "completion fish": "a shell's script",
		"completion powershell": "a shell's script", "completion zsh": "a shell's script",
		"demo": "a story, refuses it", "exec": "the command's own output", "agent": "serves",
		"agent status": "TestScripts/agent", "agent stop": "below", "config edit": "TestScripts/config-edit",
		"keys import": "TestScripts/keys-import", "keys rotate": "TestScripts/keys-rotate",
		"setup": "setup_linux_test.go", "setup import": "TestScripts/setup-import",
	}
	all := m.commandsOf()
	if len(all) < 30 {
		t.Fatalf("only %d commands: %q", len(all), all)
	}
	for _, name := range all {
		_, tested := commands[name]
		if _, excused := without[name]; tested == excused {
			t.Errorf("%s: tested %t, excused %t", name, tested, excused)
		}
	}
	testkit.Contains(t, m.must("agent", "stop", "--json").stdout, `"ended": false`)
	site := m.github.Repository("acme/site")
	for _, name := range order {
		args := append(strings.Fields(name), "--json")
		if of := commands[name]; of != nil {
			args = append(args, of(m)...)
		}
		switch name {
		case "config set":
			m.configFile("  a: {app: CLIENT, key: KEY, host: HOST}\n")
		case "sync rollback":
			testkit.Must(site.Commit("main", "Change", map[string]string{"next.txt": "x\n"}))(t)
			m.must("sync", "acme/site", "--to", filepath.Join(m.work, "live"))
		}
		cmd, out := m.command(args...)
		if name == "revoke" {
			cmd.Stdin = strings.NewReader(m.tokens()[0])
		}
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out.stderr.String())
			continue
		}
		var value any
		testkit.OK(t, json.Unmarshal(out.stdout.Bytes(), &value), "%s prints no JSON, %s", name, out.stdout.String())
	}
}

// An error is all that standard error has for a program, what git says of a failure included.
func TestAFailedCloneIsOneJSONErrorOnStandardError(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.ghapp("clone", "acme/site", "cloned", "--branch", "gone", "--json")
	var told struct {
		Error struct {
			Message  string `json:"message"`
			ExitCode int    `json:"exit_code"`
		} `json:"error"`
	}
	testkit.OK(t, json.Unmarshal([]byte(r.stderr), &told), "%s", r.stderr)
	if told.Error.ExitCode != r.code || !strings.Contains(told.Error.Message, "gone") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	testkit.Equal(t, m.must("clone", "acme/site", "cloned", "--json").stderr, "")
}

// What the command after a rollback prints is in its error, and not before it.
func TestAFailedRollbackIsOneJSONErrorOnStandardError(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	site := filepath.Join(m.work, "site")
	entry := "  site: {repository: acme/site, branch: deployment, to: '" + site + "'"
	m.keeping(entry + "}\n")
	m.must("sync", "site")
	m.pushes("second")
	m.must("sync", "site")
	m.keeping(entry + ", exec: 'echo said; exit 3'}\n")
	r := m.ghapp("sync", "rollback", "site", "--json")
	var told struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(r.stderr), &told); err != nil || r.code != 1 {
		t.Fatalf("exit code %d, %v\n%s", r.code, err, r.stderr)
	}
	testkit.Contains(t, told.Error.Message, "exit status 3\nsaid")
}

// What is warned of stands beside the error, in one JSON text, and is one by itself where there is
// no error; with -v lines for people come as well, as they are asked for.
func TestWarningsArePartOfTheJSONOnStandardError(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	testkit.OK(t, os.Chmod(m.environ["GHAPP_KEY"], 0o644))
	for _, test := range []struct {
		args []string
		kind string
	}{
		{[]string{"token", "acme/site"}, ""},
		{[]string{"token", "acme/hidden"}, "repository-not-selected"},
		{[]string{"sync", "acme/site", "--to", "site"}, ""},
		{[]string{"exec", "acme/site", "--", "false"}, ""},
	} {
		r := m.ghapp(append([]string{"--json"}, test.args...)...)
		var told struct {
			Error struct {
				Kind string `json:"kind"`
			} `json:"error"`
			Warnings []map[string]string `json:"warnings"`
		}
		testkit.OK(t, json.Unmarshal([]byte(r.stderr), &told), "%q: %s", test.args, r.stderr)
		if told.Error.Kind != test.kind || len(told.Warnings) != 1 ||
			!strings.Contains(told.Warnings[0]["message"], "chmod 600") {
			t.Errorf("%q: %s", test.args, r.stderr)
		}
	}
	testkit.Contains(t, m.ghapp("token", "acme/site", "--json", "-v").stderr, "ghapp: warning: ")
}

// What a pass says of its end is what the process says with its exit code.
func TestOutcomesOfAPassAreOfTheirKindInJSON(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	sync := func(args ...string) (*exec.Cmd, *outputs) {
		return m.command(append([]string{"sync", "acme/site", "--branch", "deployment", "--to", "site", "--json"},
			args...)...)
	}
	told := func(out *outputs) (outcome, kind string, code int) {
		t.Helper()
		var list []struct {
			Outcome string `json:"outcome"`
			Error   struct {
				Kind     string `json:"kind"`
				ExitCode int    `json:"exit_code"`
			} `json:"error"`
		}
		testkit.OK(t, json.Unmarshal(out.stdout.Bytes(), &list), "%s%s", &out.stdout, &out.stderr)
		return list[0].Outcome, list[0].Error.Kind, list[0].Error.ExitCode
	}
	begun := filepath.Join(m.work, "begun")
	cmd, out := sync("--check", "touch "+begun+"; sleep 60")
	testkit.OK(t, cmd.Start())
	m.until("begun")
	testkit.OK(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	outcome, kind, code := told(out)
	testkit.Equal(t, fmt.Sprint(outcome, " ", kind, " ", code, " ", cmd.ProcessState.ExitCode()),
		"failed interrupted 130 130")

	m.must("sync", "acme/site", "--branch", "deployment", "--to", "site")
	m.pushes("second")
	m.must("sync", "acme/site", "--branch", "deployment", "--to", "site")
	m.must("sync", "rollback", "./site")
	cmd, out = sync()
	_ = cmd.Run()
	outcome, kind, _ = told(out)
	testkit.Equal(t, outcome+" "+kind, "held held")
	testkit.Lacks(t, m.must("sync", "status", "./site", "--json").stdout, "inode")
}
