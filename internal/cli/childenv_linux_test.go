package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// executed runs ghapp and returns what strace(1) shows of each execve of its children: a
// program, its arguments and its whole environment.
func (m *machine) executed(args ...string) (calls []string, r result) {
	m.t.Helper()
	cmd, out := m.command(args...)
	record := filepath.Join(m.t.TempDir(), "execve")
	strace := testkit.Program(m.t, "strace")
	cmd.Args = append([]string{strace, "--seccomp-bpf", "-f", "-v", "-s", "1000000", "-e", "trace=execve",
		"-o", record, cmd.Path}, args...)
	cmd.Path = strace
	if err := cmd.Run(); cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	text := testkit.Must(os.ReadFile(record))(m.t)
	for line := range strings.Lines(string(text)) {
		// A program that was not there on one of PATH's directories was not started.
		if strings.Contains(line, " execve(") && !strings.Contains(line, "ENOENT") {
			calls = append(calls, line)
		}
	}
	return calls[1:], out.result(cmd)
}

// Whatever a command starts, and whatever that starts in turn, gets none of the secrets
// that ghapp has been given in variables.
func TestNoProcessThatAnyCommandStartsGetsASecret(t *testing.T) {
	t.Parallel()
	const canaryURL = "https://hooks.example/canary-notify-0123456789"
	w := newOpenWorld(t)
	const key = "TEAM_DEPLOY_KEY"
	for how, give := range map[string]func(m *machine){
		"GHAPP_PRIVATE_KEY": func(m *machine) { m.environ["GHAPP_PRIVATE_KEY"] = string(m.keyPEM) },
		"GHAPP_KEY":         func(m *machine) { m.environ["GHAPP_KEY"], m.environ[key] = "env:"+key, string(m.keyPEM) },
		"the file": func(m *machine) {
			m.environ[key] = strings.ReplaceAll(string(m.keyPEM), "\n", `\n`)
			m.write(filepath.Join(m.home, ".config", "ghapp", "config.yaml"),
				"apps:\n  deployer:\n    app: "+m.app.ClientID+"\n    host: "+m.server.URL+
					"\n    key: env:"+key+"\n    owners: [acme]\n")
			delete(m.environ, "GHAPP_APP")
		},
		"a broken file": func(m *machine) {
			m.environ[key] = string(m.keyPEM)
			m.write(filepath.Join(m.home, ".config", "ghapp", "config.yaml"), "apps:\n  - key: env:"+key+"\n")
		},
	} {
		broken := how == "a broken file"
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			delete(m.environ, "GHAPP_KEY")
			give(m)
			m.environ["GHAPP_WEBHOOK_SECRET"], m.environ["GHAPP_SYNC_SECRET"] = webhookSecret, wishSecret
			m.environ["GHAPP_SYNC_NOTIFY_URL"] = canaryURL
			m.environ["COPY"] = wishSecret
			m.environ["EDITOR"], m.environ["GIT_EDITOR"] = "true", "true"
			m.environ["INHERITED"] = "seen-by-children"
			m.write(filepath.Join(m.home, "hooks", "post-checkout"), "#!/bin/sh\nexec env >/dev/null\n")
			_ = os.Chmod(filepath.Join(m.home, "hooks", "post-checkout"), 0o700)
			m.gitConfig("core.hooksPath", filepath.Join(m.home, "hooks"))
			site := filepath.Join(m.work, "site")
			secrets := needlesOf(append(m.secrets(), webhookSecret, wishSecret, canaryURL))
			for _, args := range [][]string{
				{"clone", "acme/site", "clone"},
				{"clone", "--json", "acme/site", "again"},
				{"exec", "acme/site", "--", "git", "ls-remote", m.server.URL + "/acme/site"},
				{"sync", "acme/site", "--to", site, "--check", "env >/dev/null", "--exec", "env >/dev/null"},
				{"sync", "acme/site", "--to", site, "--branch", "deployment", "--check", "env >/dev/null"},
				{"sync", "rollback", site},
				{"sync", "status", site},
				{"doctor", "-v", "acme/site"},
				{"git-setup", "-v"},
				{"git-setup", "--undo"},
				{"token", "acme/site"},
				{"config", "edit"},
				{"installations"},
			} {
				calls, r := m.executed(args...)
				for _, call := range calls {
					if found := secrets.in([]byte(strings.ReplaceAll(call, `\n`, "\n"))); found != "" {
						t.Errorf("ghapp %v started a program with a secret, %q: %.300s", args, found, call)
					}
				}
				starts := slices.Contains([]string{"clone", "exec", "doctor"}, args[0]) || slices.Contains(args, "--check")
				if broken {
					starts = args[0] == "doctor"
				}
				if starts && !strings.Contains(strings.Join(calls, ""), "INHERITED=seen-by-children") {
					t.Errorf("ghapp %v (exit code %d) started nothing that was seen:\n%s", args, r.code, r.stderr)
				}
				if r.code != 0 && !broken && !slices.Contains([]string{"doctor", "config"}, args[0]) {
					t.Errorf("ghapp %v: exit code %d\n%s", args, r.code, r.stderr)
				}
			}
		})
	}
}
