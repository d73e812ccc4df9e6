package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What the README says of deploying a branch, word for word: its commands one after the
// other, and then its config file, of which only the addresses and the one command that
// needs a web server are this machine's.
func TestReadmeDeploysABranch(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	text := section(t, "Deploy a branch")
	config := blocks(t, text, "yaml")[0]
	config = strings.NewReplacer("Iv23liABCDEFGHIJKLMN", m.environ["GHAPP_APP"]+"\n    host: "+m.server.URL,
		"/srv/www/site", filepath.Join(m.work, "srv/www/site"),
		"systemctl reload nginx.service", "touch "+filepath.Join(m.root, "reloaded")).Replace(config)
	m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"), config)
	key := filepath.Join(m.home, ".config/ghapp/app.pem")
	testkit.OK(t, os.Rename(m.environ["GHAPP_KEY"], key))
	for _, name := range []string{"GHAPP_KEY", "GHAPP_APP", "GHAPP_HOST"} {
		delete(m.environ, name)
	}
	consoles := blocks(t, text, "console")
	watching, ran := "", false
	// Nobody pushes while they are typed.
	for _, block := range consoles {
		script := ""
		for line := range strings.Lines(block) {
			line, is := strings.CutPrefix(line, "$ ")
			switch {
			case is && strings.Contains(line, "--watch"):
				watching = strings.TrimSpace(strings.TrimPrefix(line, "ghapp "))
			case is:
				script += line
			}
		}
		if script != "" {
			m.write(filepath.Join(m.root, "script"), "set -eux\n"+script)
			r := m.client(".", "bash", filepath.Join(m.root, "script"))
			ran = ran || regexp.MustCompile(`(?m)^at [0-9a-f]{40}$`).MatchString(r.stderr)
		}
	}
	if !ran {
		t.Error("the command after the release has not run")
	}
	if m.read("www/site/deployment.txt") == "" {
		t.Error("the branch is not there")
	}
	m.pushes("second")
	// What the unit reads is what the README puts there.
	unit := testkit.Must(os.ReadFile("../../docs/ghapp-sync.service"))(t)
	for line := range strings.Lines(string(unit)) {
		_, path, is := strings.Cut(strings.TrimSpace(line), ":")
		if is && strings.HasPrefix(line, "LoadCredential=") && !strings.Contains(text, " "+filepath.Base(path)+" ") {
			t.Errorf("the unit reads %s, of which the README says nothing", path)
		}
	}
	if watching == "" {
		t.Fatal("there is no command that watches")
	}

	m.write(filepath.Join(m.work, "webhook-secret"), webhookSecret)
	args := strings.Fields(strings.ReplaceAll(watching, "127.0.0.1:8787", "127.0.0.1:0"))
	if args[0] != "sync" {
		t.Fatalf("%q", args)
	}
	s := m.syncs(args[1:]...)
	m.shows("srv/www/site/deployment.txt", "second")
	address, _ := s.says("watching")["webhook"].(string)
	one := m.pushes("pushed")
	if status, answer := m.hooked(address, webhookSecret, "0b989ba4-242f-11e5-81e1-c7b6966d2516",
		"refs/heads/deployment", one); status != 202 {
		t.Errorf("%d %s", status, answer)
	}
	m.shows("srv/www/site/deployment.txt", "pushed")
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, answer := m.get(address, path); status != 200 {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	m.environ["GHAPP_KEY"] = key // the one place on disk where it may be
	s.ends()
	testkit.Must(os.Stat(filepath.Join(m.root, "reloaded")))(t)
	m.noSecretOnDisk()
}
