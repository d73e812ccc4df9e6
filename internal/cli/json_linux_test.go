package cli_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
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
		"revoke":        nil,
	}
	order := []string{
		"sync", "sync status", "sync rollback", "sync resume", "config set", "config unset", "token", "revoke",
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
