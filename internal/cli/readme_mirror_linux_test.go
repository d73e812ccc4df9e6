package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// onPaper has a config file that a text shows, of which only addresses are this machine's, and the
// key beside it.
func (m *machine) onPaper(config string) (key string) {
	m.t.Helper()
	config = strings.NewReplacer("Iv23liABCDEFGHIJKLMN", m.environ["GHAPP_APP"]+"\n    host: "+m.server.URL,
		"/srv/", filepath.Join(m.work, "srv")+"/").Replace(config)
	m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"), config)
	key = filepath.Join(m.home, ".config/ghapp/app.pem")
	testkit.OK(m.t, os.Rename(m.environ["GHAPP_KEY"], key))
	for _, name := range []string{"GHAPP_KEY", "GHAPP_APP", "GHAPP_HOST"} {
		delete(m.environ, name)
	}
	return key
}

// What the README says of keeping an organization, word for word: its commands one after the
// other, and then its config file.
func TestReadmeKeepsAnOrganization(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.installLFS()
	text := section(t, "Keep an organization")
	key := m.onPaper(blocks(t, text, "yaml")[0])
	watching, script := "", "set -eux\n"
	for _, block := range blocks(t, text, "console") {
		for line := range strings.Lines(block) {
			line, is := strings.CutPrefix(line, "$ ")
			switch {
			case is && strings.Contains(line, "--watch"):
				watching = strings.TrimSpace(strings.TrimPrefix(line, "ghapp "))
			case is:
				script += line
			}
		}
	}
	inline := regexp.MustCompile("`(git -C [^`]+)`").FindStringSubmatch(text)
	if watching == "" || inline == nil {
		t.Fatal("the section has another form")
	}
	m.write(filepath.Join(m.root, "script"), script+inline[1]+"\n")
	m.client(".", "bash", filepath.Join(m.root, "script"))
	for _, name := range []string{"copy/README.md", "again/README.md"} {
		if m.read(name) == "" {
			t.Errorf("%s is empty", name)
		}
	}

	m.write(filepath.Join(m.work, "webhook-secret"), webhookSecret)
	args := strings.Fields(strings.ReplaceAll(watching, "127.0.0.1:8788", "127.0.0.1:0"))
	s := m.watches(args...)
	status := fmt.Sprint(s.says("watching")["status"])
	m.ready(status)
	for _, path := range []string{"/", "/metrics"} {
		if code, answer := m.get(status, path); code != 200 {
			t.Errorf("%s: %d %s", path, code, answer)
		}
	}
	testkit.Must(os.Stat(filepath.Join(m.work, "srv/mirrors/acme/site.git/HEAD")))(t)
	m.environ["GHAPP_KEY"] = key // the one place on disk where it may be
	s.ends()
	m.noSecretOnDisk()
}

// What docs/mirror.md has people type works, one after the other.
func TestMirrorDocsAreFollowed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	text := string(testkit.Must(os.ReadFile("../../docs/mirror.md"))(t))
	key := m.onPaper("apps:\n  deploy:\n    app: Iv23liABCDEFGHIJKLMN\n    key: app.pem\n" + blocks(t, text, "yaml")[0])
	script := "set -eux\nghapp mirror --all\n"
	for _, block := range blocks(t, text, "console") {
		for line := range strings.Lines(block) {
			if line, is := strings.CutPrefix(line, "$ "); is {
				script += line
			}
		}
	}
	script = strings.NewReplacer("/srv/", filepath.Join(m.work, "srv")+"/", "/mnt/",
		filepath.Join(m.work, "mnt")+"/").Replace(script)
	testkit.OK(t, os.MkdirAll(filepath.Join(m.work, "mnt"), 0o755))
	m.write(filepath.Join(m.root, "script"), script)
	m.client(".", "bash", filepath.Join(m.root, "script"))
	testkit.OK(t, os.RemoveAll(filepath.Join(m.home, ".cache/ghapp"))) // where cron's environment has the cache
	m.environ["GHAPP_KEY"] = key                                       // the one place on disk where it may be
	m.noSecretOnDisk()
}

// systemd finds nothing in the units of mirrors that it does not know or would not do.
func TestMirrorUnitsAreTakenBySystemd(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	m := newMachine(t) // which builds what the units start
	help := m.must("mirror", "--help").stdout
	dir := t.TempDir()
	names := []string{"ghapp-mirror.service", "ghapp-mirror-once.service", "ghapp-mirror-once.timer"}
	for _, name := range names {
		text := string(testkit.Must(os.ReadFile("../../docs/" + name))(t))
		installed := strings.ReplaceAll(text, "/usr/local/bin", binaries)
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), []byte(installed), 0o644))
		start := regexp.MustCompile("(?m)^ExecStart=.*").FindString(text)
		for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(start, -1) {
			testkit.Contains(t, help, flag+" ")
		}
	}
	for _, name := range names {
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
		}
		if strings.HasSuffix(name, ".timer") {
			continue
		}
		out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--threshold=20",
			filepath.Join(dir, name)).CombinedOutput()
		testkit.OK(t, err, "%s", out)
	}
}

// Mirrors are kept by the first process of a container whose root cannot be written to, by a user
// without a name and a home, on a volume to whose top everybody may write.
func TestMirrorRunsInAContainer(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	content := m.pod()
	m.environ = map[string]string{
		"PATH": "/opt/ghapp:/usr/bin:/bin", "GHAPP_HOST": m.server.URL, "GHAPP_APP": m.environ["GHAPP_APP"],
		"GHAPP_KEY": "/etc/ghapp/app.pem", "GHAPP_MIRROR_TO": "/content/mirrors",
	}
	m.must("mirror")
	oid := m.pushes("pushed")
	r := m.must("mirror")
	for _, wrong := range []string{"ead-only file system", "ermission denied", "unknown user", "chmod", "chown"} {
		testkit.Lacks(t, r.stderr, wrong)
	}
	head := filepath.Join(content, "mirrors/acme/site.git/refs/heads/deployment")
	testkit.Equal(t, strings.TrimSpace(string(testkit.Must(os.ReadFile(head))(t))), oid)
	m.must("mirror", "status", "/content/mirrors")
}
