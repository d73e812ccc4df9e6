package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// signals sends a signal to a ghapp sync --watch.
func (s *syncer) signals(signal syscall.Signal) {
	s.m.t.Helper()
	testkit.OK(s.m.t, s.cmd.Process.Signal(signal))
}

// SIGHUP has the configuration read anew, all or nothing, and a pass that is under way ends
// as it would have.
func TestHangUpHasSyncReadTheConfigurationAnewWithoutLosingAPass(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	file := filepath.Join(m.root, "sync.yaml")
	secret := filepath.Join(m.root, "webhook")
	m.write(secret, webhookSecret+"\n")
	m.environ["GHAPP_CONFIG"] = file
	// The check waits until it is let go on, so that a pass is under way.
	gate := filepath.Join(m.root, "gate")
	testkit.OK(t, syscall.Mkfifo(gate, 0o600))
	first := fmt.Sprintf("sync:\n  site: {repository: acme/site, branch: deployment, to: %s, period: 1h, check: "+
		"'cat %s; true'}\n  old: {repository: acme/site, branch: main, to: %s, period: 1h}\n",
		filepath.Join(m.work, "site"), gate, filepath.Join(m.work, "old"))
	m.write(file, first)
	s := m.syncs("--all", "--webhook", "127.0.0.1:0", "--webhook-secret-file", secret, "--status", "127.0.0.1:0")
	watching := s.says("watching")
	webhook, status := fmt.Sprint(watching["webhook"]), fmt.Sprint(watching["status"])
	m.shows("old/main.txt", "main")
	// The check has begun once somebody reads there.
	letGo := testkit.Must(os.OpenFile(gate, os.O_WRONLY, 0))(t)

	// What cannot be used changes nothing.
	for _, wrong := range []string{"sync: [", "sync: {}\n",
		strings.Replace(first, "acme/site", "other-host.example:8/a/b", 1)} {
		m.write(file, wrong)
		s.signals(syscall.SIGHUP)
		if line := s.saysNext("the configuration cannot be used, and is used on as it was"); line["error"] == "" {
			t.Errorf("%v", line)
		}
	}
	if _, text := m.get(status, "/metrics"); !strings.Contains(text, "ghapp_config_last_reload_successful 0\n") {
		t.Error(text)
	}

	// One directory goes, one comes, one is changed, and the secret of the webhook is another.
	m.write(file, fmt.Sprintf("sync_defaults: {period: 1h}\nsync:\n  site: {repository: acme/site, branch: deployment, "+
		"to: %s}\n  new: {repository: acme/web, branch: main, to: %s}\n",
		filepath.Join(m.work, "site"), filepath.Join(m.work, "new")))
	m.write(secret, "canary-another-secret-0123456789\n")
	s.signals(syscall.SIGHUP)
	s.says("the configuration was read anew")
	m.shows("new/name.txt", "acme/web")
	if _, err := os.Stat(filepath.Join(m.work, "site")); err == nil {
		t.Error("the pass that was under way was broken off, or overtaken")
	}
	letGo.Close()
	m.shows("site/deployment.txt", "deployment")
	m.measures(status, `ghapp_sync_passes_total{name="site",outcome="published"} 1`)
	testkit.Lacks(t, m.measures(status, "ghapp_config_last_reload_successful 1"), `name="old"`)

	one := m.pushes("pushed")
	if status, text := m.hooked(webhook, webhookSecret, "0b989ba4-242f-11e5-81e1-c7b6966d2517",
		"refs/heads/deployment", one); status != 401 {
		t.Errorf("with the secret before: %d %s", status, text)
	}
	if status, text := m.hooked(webhook, "canary-another-secret-0123456789", "0b989ba4-242f-11e5-81e1-c7b6966d2516",
		"refs/heads/deployment", one); status != 202 {
		t.Errorf("with the secret that is there by now: %d %s", status, text)
	}
	m.shows("site/deployment.txt", "pushed")
	text := m.measures(status, `commit="`+one)
	areMetrics(t, text)
	for _, line := range []string{
		`ghapp_sync_webhook_requests_total{path="/webhook",outcome="taken"} 1`,
		`ghapp_sync_webhook_requests_total{path="/webhook",outcome="refused"} 1`,
		`ghapp_sync_release_info{name="site",repository="acme/site",ref="refs/heads/deployment",commit="` +
			one + `",release="`,
	} {
		testkit.Contains(t, text, line)
	}

	// SIGUSR1 asks now.
	m.pushes("asked for")
	s.signals(syscall.SIGUSR1)
	m.shows("site/deployment.txt", "asked for")
	s.ends()
}

// measures waits until a line is among the metrics, and returns them.
func (m *machine) measures(address, line string) string {
	m.t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, text := m.get(address, "/metrics")
		if strings.Contains(text, line) {
			return text
		}
		if time.Now().After(late) {
			m.t.Fatalf("without %s:\n%s", line, text)
		}
	}
}

// saysNext waits for a line of the log that is not there yet when it is called. Lines that
// were there are passed over.
func (s *syncer) saysNext(message string) map[string]any {
	s.m.t.Helper()
	s.mu.Lock()
	seen := s.told[message]
	s.mu.Unlock()
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		count := 0
		s.mu.Lock()
		for _, line := range s.lines {
			if line["msg"] != message {
				continue
			}
			if count++; count > seen {
				if s.told == nil {
					s.told = map[string]int{}
				}
				s.told[message] = count
				s.mu.Unlock()
				return line
			}
		}
		s.mu.Unlock()
	}
	s.m.t.Fatalf("it did not say %q again:\n%s", message, s.log())
	return nil
}
