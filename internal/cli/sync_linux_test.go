package cli_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// syncer is a ghapp sync --watch, or a ghapp mirror --watch.
type syncer struct {
	m   *machine
	cmd *exec.Cmd
	out *outputs

	mu    sync.Mutex
	lines []map[string]any // of its log
	more  chan struct{}    // closed and replaced when there are more
	all   strings.Builder
	told  map[string]int // by what saysNext has seen
}

// The secrets of a webhook and of POST /sync, canaries both.
const (
	webhookSecret = "canary-webhook-secret-0123456789"
	wishSecret    = "canary-sync-secret-0123456789"
)

// syncs starts a ghapp sync --watch that logs JSON.
func (m *machine) syncs(args ...string) *syncer {
	m.t.Helper()
	return m.watches(append([]string{"sync"}, args...)...)
}

// watches starts a command with --watch that logs JSON.
func (m *machine) watches(args ...string) *syncer {
	m.t.Helper()
	cmd, out := m.command(append(args, "--watch", "--log-format", "json")...)
	s := &syncer{m: m, cmd: cmd, out: out, more: make(chan struct{})}
	read, write := testkit.Must2(os.Pipe())(m.t)
	cmd.Stderr = write
	testkit.OK(m.t, cmd.Start())
	write.Close()
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	go func() {
		defer read.Close()
		for lines := bufio.NewScanner(read); lines.Scan(); {
			var line map[string]any
			_ = json.Unmarshal(lines.Bytes(), &line)
			s.mu.Lock()
			s.all.WriteString(lines.Text() + "\n")
			s.lines = append(s.lines, line)
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
		}
	}()
	return s
}

// says waits for a line of the log.
func (s *syncer) says(message string) map[string]any {
	s.m.t.Helper()
	late := time.After(patience)
	for seen := 0; ; {
		s.mu.Lock()
		lines, more := s.lines[seen:], s.more
		seen = len(s.lines)
		s.mu.Unlock()
		for _, line := range lines {
			if line["msg"] == message {
				return line
			}
		}
		select {
		case <-more:
		case <-late:
			s.m.t.Fatalf("it did not say %q:\n%s", message, s.log())
		}
	}
}

func (s *syncer) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// ends ends it as systemd does, which is no failure.
func (s *syncer) ends() {
	s.m.t.Helper()
	testkit.OK(s.m.t, s.cmd.Process.Signal(syscall.SIGTERM))
	testkit.OK(s.m.t, s.cmd.Wait(), "%s", s.log())
	s.m.noSecretIn("the log", s.log())
	for _, secret := range []string{webhookSecret, wishSecret} {
		testkit.Lacks(s.m.t, s.log(), secret)
	}
}

// shows waits until a file of a directory has a text.
func (m *machine) shows(path, text string) {
	m.t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		have, _ := os.ReadFile(filepath.Join(m.work, path))
		if strings.TrimSpace(string(have)) == text {
			return
		}
		if time.Now().After(late) {
			m.t.Fatalf("%s has %q, want %q", path, have, text)
		}
	}
}

// pushes commits to acme/site's branch deployment.
func (m *machine) pushes(text string) string {
	m.t.Helper()
	oid, err := m.github.Repository("acme/site").Commit("deployment", "Change", map[string]string{"deployment.txt": text})
	testkit.OK(m.t, err)
	return oid
}

// hooked delivers a push as GitHub does, and returns what was answered.
func (m *machine) hooked(address, secret, delivery, ref, after string) (int, string) {
	m.t.Helper()
	body := fmt.Sprintf(
		`{"ref":%q,"before":%q,"after":%q,"created":false,"deleted":false,"forced":false,"repository":{"id":1,"full_name":"acme/site","html_url":"http://%s/acme/site","clone_url":"http://%s/acme/site.git"}}`,
		ref, strings.Repeat("1", 40), after, m.host, m.host)
	r := testkit.Must(http.NewRequest(http.MethodPost, "http://"+address+"/webhook", strings.NewReader(body)))(m.t)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", delivery)
	r.Header.Set("X-Hub-Signature-256", signed(secret, []byte(body)))
	return m.answer(r)
}

// signed is the signature of a delivery.
func signed(secret string, body []byte) string {
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write(body)
	return "sha256=" + hex.EncodeToString(sum.Sum(nil))
}

func (m *machine) answer(r *http.Request) (int, string) {
	m.t.Helper()
	answer := testkit.Must(http.DefaultClient.Do(r))(m.t)
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

func (m *machine) get(address, path string) (int, string) {
	m.t.Helper()
	r := testkit.Must(http.NewRequest(http.MethodGet, "http://"+address+path, nil))(m.t)
	return m.answer(r)
}

func TestPushIsPublishedWhenGitHubTellsOfIt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write(filepath.Join(m.root, "webhook"), webhookSecret+"\n")
	m.write(filepath.Join(m.root, "wish"), wishSecret+"\n")
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "1h",
		"--webhook", "127.0.0.1:0", "--webhook-secret-file", filepath.Join(m.root, "webhook"), "--sync-secret-file",
		filepath.Join(m.root, "wish"),
		"--status", "127.0.0.1:0", "--exec", "env > \"$GHAPP_DIR\"/../environ; cp deployment.txt \"$GHAPP_DIR\"/../told")
	address, _ := s.says("watching")["webhook"].(string)
	m.shows("site/deployment.txt", "deployment")
	before := m.credentialsSent()

	one := m.pushes("pushed")
	const guid = "0b989ba4-242f-11e5-81e1-c7b6966d2516"
	if status, text := m.hooked(address, "another secret", guid, "refs/heads/deployment",
		one); status != http.StatusUnauthorized {
		t.Errorf("a push signed by another: %d %s", status, text)
	}
	if status, text := m.hooked(address, webhookSecret, guid, "refs/heads/main", one); status != http.StatusOK {
		t.Errorf("a push of another branch: %d %s", status, text)
	}
	time.Sleep(100 * time.Millisecond)
	if n := m.credentialsSent(); n != before {
		t.Errorf("%d requests for pushes that are none of ours", n-before)
	}
	if status, text := m.hooked(address, webhookSecret, guid, "refs/heads/deployment",
		one); status != http.StatusAccepted {
		t.Errorf("%d %s", status, text)
	}
	m.shows("site/deployment.txt", "pushed")
	m.shows(".site.ghapp/releases/told", "pushed")

	// The stand-in delivers as GitHub does, and once more when it is asked to.
	m.app.SetWebhook(githubtest.Webhook{URL: "http://" + address + "/webhook", Secret: webhookSecret,
		Origin: m.server.URL}, "push")
	m.pushes("delivered")
	m.shows("site/deployment.txt", "delivered")
	m.shows(".site.ghapp/releases/told", "delivered")
	deliveries := m.app.Deliveries()
	if len(deliveries) != 1 || deliveries[0].Status != http.StatusAccepted {
		t.Errorf("%+v", deliveries)
	}
	again, err := m.app.Redeliver(deliveries[0].GUID)
	if err != nil || !again.OK() || !strings.Contains(again.Answer, "already") {
		t.Errorf("%+v %v", again, err)
	}
	m.app.SetWebhook(githubtest.Webhook{})

	// A trigger of another kind, waited for.
	m.pushes("wished")
	r, _ := http.NewRequest(http.MethodPost, "http://"+address+"/sync",
		strings.NewReader(`{"targets":["site"],"wait":true}`))
	r.Header.Set("Authorization", "Bearer "+wishSecret)
	r.Header.Set("Content-Type", "application/json")
	if status, text := m.answer(r); status != http.StatusOK || !strings.Contains(text, "done") {
		t.Errorf("%d %s", status, text)
	}
	m.shows("site/deployment.txt", "wished")
	s.ends()
	environ := m.read(".site.ghapp/releases/environ")
	m.noSecretIn("the environment of the command", environ)
	testkit.Lacks(t, environ, "canary", "GHAPP_KEY")
	m.noSecretOnDisk()
}

func TestPollingStaysBehindTheWebhook(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "200ms")
	m.shows("site/deployment.txt", "deployment")
	m.pushes("polled")
	m.shows("site/deployment.txt", "polled")
	s.ends()
}

// Who asks hears of it too: what has failed, and when it is tried again.
func TestSyncStatusTellsOfWhatFailedAndWaits(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("sync", "acme/site", "--branch", "deployment", "--to", "site")
	m.must("sync", "status", "./site")
	status := func(wants ...string) {
		t.Helper()
		r := m.ghapp("sync", "status", "./site")
		for _, want := range wants {
			if r.code != 1 || !strings.Contains(r.stdout, want) {
				t.Errorf("exit code %d, want 1 and %q\n%s%s", r.code, want, r.stdout, r.stderr)
			}
		}
	}
	m.ghapp("sync", "acme/site", "--branch", "gone", "--to", "site")
	status("published; the last pass (", "ago) failed: acme/site has no branch gone")
	s := m.syncs("acme/site", "--branch", "gone", "--to", "site", "--period", "1h")
	failed := s.says("failed; the directory stays as it was")
	again, _ := time.Parse(time.RFC3339, fmt.Sprint(failed["again"]))
	status("acme/site has no branch gone", "tried again at "+again.UTC().Format("2006-01-02T15:"), "(in ")
	s.ends()
	m.must("sync", "acme/site", "--branch", "deployment", "--to", "site")
	m.must("sync", "status", "./site")
}

func TestStatusIsServedForThoseWhoWatch(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.syncs("acme/site", "--branch", "gone", "--to", "site", "--period", "1h", "--status", "127.0.0.1:0",
		"--status-host", "sync.monitoring.svc,metrics")
	address, _ := s.says("watching")["status"].(string)
	failed := s.says("failed; the directory stays as it was")
	if !strings.Contains(fmt.Sprint(failed["error"]), "acme/site has no branch gone") || failed["again"] == "" {
		t.Errorf("%v", failed)
	}
	if status, text := m.get(address, "/healthz"); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics"} {
		// A page of evil.example that has its name lead here, and Prometheus by a name that was given.
		for host, refused := range map[string]bool{"evil.example": true, "sync.monitoring.svc:80": false} {
			r := testkit.Must(http.NewRequest(http.MethodGet, "http://"+address+path, nil))(t)
			r.Host = host
			if status, text := m.answer(r); (status == http.StatusMisdirectedRequest) != refused ||
				refused && strings.Contains(text, "site") {
				t.Errorf("%s for %s: %d %s", path, host, status, text)
			}
		}
	}
	if status, text := m.get(address, "/readyz"); status != http.StatusServiceUnavailable ||
		!strings.Contains(text, "site") {
		t.Errorf("%d %s", status, text)
	}
	page := func(parts ...string) {
		t.Helper()
		status, text := m.get(address, "/")
		testkit.Equal(t, status, http.StatusOK)
		testkit.Contains(t, text, parts...)
	}
	page("<h1>", "The directory is failing", "acme/site", "branch gone", "acme/site has no branch gone", "tried again",
		"failed ", fmt.Sprint(failed["kind"]))
	if status, text := m.get(address, "/nowhere"); status != http.StatusNotFound {
		t.Errorf("%d %s", status, text)
	}
	testkit.Must(m.github.Repository("acme/site").Commit("gone", "Here it is", map[string]string{"a": "1"}))(t)
	status, text := m.get(address, "/metrics")
	for _, line := range []string{
		`ghapp_sync_passes_total{name="site",outcome="failed"} 1`,
		`ghapp_sync_published{name="site",repository="acme/site"} 0`, `ghapp_sync_failures_total{name="site",kind=`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%d, without %s:\n%s", status, line, text)
		}
	}
	areMetrics(t, text)
	retry := regexp.MustCompile(
		`ghapp_sync_retry_timestamp_seconds\{name="site",repository="acme/site"\} ([0-9.e+]+)\n`).FindStringSubmatch(text)
	if retry == nil {
		t.Fatalf("what waits is not told:\n%s", text)
	}
	told, _ := time.Parse(time.RFC3339, fmt.Sprint(failed["again"]))
	at, _ := strconv.ParseFloat(retry[1], 64)
	if wait := time.Until(told); wait < 50*time.Minute || wait > 70*time.Minute || math.Abs(at-float64(told.Unix())) > 2 {
		t.Errorf("tried again %s by the log, and at %v by the metric", told, at)
	}
	if seconds, _ := failed["again_in_seconds"].(float64); seconds < 3000 || seconds > 4200 {
		t.Errorf("%v", failed)
	}
	s.ends()

	s = m.syncs("acme/site", "--branch", "gone", "--to", "site", "--period", "1h", "--status", "127.0.0.1:0")
	address, _ = s.says("watching")["status"].(string)
	m.shows("site/a", "1")
	s.says("up to date")
	if status, text := m.get(address, "/readyz"); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	// Somebody has taken away where the link leads to.
	releases := filepath.Join(m.work, ".site.ghapp", "releases")
	testkit.OK(t, os.Rename(releases, releases+".away"))
	if status, text := m.get(address, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, text)
	}
	if _, text := m.get(address, "/metrics"); !strings.Contains(text,
		`ghapp_sync_published{name="site",repository="acme/site"} 0`) {
		t.Errorf("what is not there is published:\n%s", text)
	}
	testkit.OK(t, os.Rename(releases+".away", releases))
	s.ends()
}

// areMetrics checks Prometheus' text format: every family has its HELP and TYPE before its
// samples, once, and all of them together
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
func areMetrics(t *testing.T, text string) {
	t.Helper()
	family, seen := "", map[string]bool{}
	help := regexp.MustCompile(`^# HELP ([a-z_]+) [^ ].*\.$`)
	kind := regexp.MustCompile(`^# TYPE ([a-z_]+) (counter|gauge|histogram)$`)
	sample := regexp.MustCompile(`^([a-z_]+)(?:\{(?:[a-z]+="(?:[^"\\\n]|\\[\\n"])*",?)*\})? [-+0-9.e]+(?:Inf)?$`)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := help.FindStringSubmatch(line); m != nil {
			if family = m[1]; seen[family] {
				t.Errorf("%s is there twice", family)
			}
			seen[family] = true
			continue
		}
		if m := kind.FindStringSubmatch(line); m != nil {
			if m[1] != family || strings.HasSuffix(family, "_total") != (m[2] == "counter") {
				t.Errorf("%q after the HELP of %s", line, family)
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil ||
			m[1] != family && !slices.Contains([]string{family + "_bucket", family + "_sum", family + "_count"}, m[1]) {
			t.Errorf("%q, after the HELP of %q", line, family)
		}
	}
	if len(seen) < 15 {
		t.Errorf("%d families:\n%s", len(seen), text)
	}
}

func TestServiceManagerIsToldWhenAllIsThereAndThatItLives(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(m.root, "notify"), Net: "unixgram"})
	testkit.OK(t, err)
	defer socket.Close()
	m.environ["NOTIFY_SOCKET"] = filepath.Join(m.root, "notify")
	m.environ["WATCHDOG_USEC"] = "200000"
	s := m.syncs("acme/site", "--branch", "later", "--to", "site", "--period", "300ms")
	var told []string
	untilLine := func(wanted *regexp.Regexp) {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		for buffer := make([]byte, 1024); !slices.ContainsFunc(told, wanted.MatchString); {
			n, err := socket.Read(buffer)
			if err != nil {
				t.Fatalf("%v; it was told %q\n%s", err, told, s.log())
			}
			told = append(told, string(buffer[:n]))
		}
	}
	until := func(wanted string) {
		t.Helper()
		untilLine(regexp.MustCompile("^" + regexp.QuoteMeta(wanted) + "$"))
	}
	s.says("failed; the directory stays as it was")
	until("WATCHDOG=1")
	untilLine(regexp.MustCompile(`^STATUS=1 directories are kept; not all show something yet; 1 fail, ` +
		`and the next is tried again at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+$`))
	if slices.Contains(told, "READY=1") {
		t.Error("it was ready before anything was there")
	}
	testkit.Must(m.github.Repository("acme/site").Commit("later", "Here it is", map[string]string{"a": "1"}))(t)
	until("READY=1")
	testkit.OK(t, s.cmd.Process.Signal(syscall.SIGTERM))
	until("STOPPING=1")
	testkit.OK(t, s.cmd.Wait(), "%s", s.log())
}

func TestReceiverIsToldWhatWasPublishedWhatFailedAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	events := make(chan map[string]any, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var event map[string]any
		_ = json.NewDecoder(r.Body).Decode(&event)
		events <- event
	}))
	defer receiver.Close()
	const canary = "canary-in-the-address"
	m.environ["GHAPP_SYNC_NOTIFY_URL"] = receiver.URL + "/" + canary
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "200ms", "--check",
		`test "$(cat deployment.txt)" != bad`)
	event := func() map[string]any {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-time.After(patience):
			t.Fatalf("nothing was told\n%s", s.log())
			return nil
		}
	}
	if e := event(); e["event"] != "published" || e["repository"] != "acme/site" {
		t.Errorf("%v", e)
	}
	bad := m.pushes("bad")
	if e := event(); e["event"] != "failed" || e["commit"] != bad ||
		!strings.Contains(fmt.Sprint(e["error"]), "the check failed") {
		t.Errorf("%v", e)
	}
	good := m.pushes("good")
	if e := event(); e["event"] != "published" || e["commit"] != good {
		t.Errorf("%v", e)
	}
	s.ends()
	testkit.Lacks(t, s.log(), canary)
}

// A token that is refused, even in its first seconds, is no reason to publish nothing for
// the hour that it was to live.
func TestRefusedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "300ms")
	m.shows("site/deployment.txt", "deployment")
	m.script("revoke")
	m.pushes("after")
	m.shows("site/deployment.txt", "after")
	s.ends()
}

// Whatever GitHub does wrong, the directory shows what it showed, and is brought up to
// date when that is over.
func TestSyncOutlastsWhatGoesWrongAtGitHub(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]struct{ begin, end string }{
		"suspended":       {"suspend acme\nrevoke", "unsuspend acme"},
		"not selected":    {"select acme web\nrevoke", "select acme site web"},
		"server error":    {"fault /acme/site/git-upload-pack status=502", "clear"},
		"connection lost": {"fault /acme/** reset", "clear"},
		"cut in the pack": {"fault /acme/site/git-upload-pack cut=100", "clear"},
		"redirected":      {"fault /acme/** redirect=http://127.0.0.1:1", "clear"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "200ms")
			m.shows("site/deployment.txt", "deployment")
			m.script(trouble.begin)
			m.pushes("new")
			time.Sleep(time.Second)
			m.shows("site/deployment.txt", "deployment")
			m.script(trouble.end)
			// It would be tried again by itself, a little later with each failure.
			m.shows("site/deployment.txt", "new")
			s.ends()
		})
	}
}

// kinds counts the requests by what they ask.
func (m *machine) kinds() map[string]int {
	count := map[string]int{}
	for _, r := range m.requests() {
		switch {
		case strings.HasSuffix(r.Path, "/graphql"):
			count["graphql"]++
		case strings.HasSuffix(r.Path, "/git-upload-pack"), strings.HasSuffix(r.Path, "/info/refs"):
			count["git"]++
		default:
			count["api"]++
		}
	}
	return count
}

func TestManyRepositoriesOfAnOwnerAreOneQuestion(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	config := "sync:\n"
	var names []string
	for i := range 12 {
		name := fmt.Sprintf("many-%d", i)
		names = append(names, name)
		if _, err := m.github.AddRepository("acme/"+name, githubtest.RepositoryOptions{}).Commit("main", "Begin",
			map[string]string{"name": name}); err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("  %s: {repository: acme/%s, to: %s, period: 1s}\n", name, name, filepath.Join(m.work, name))
	}
	m.script("select acme " + strings.Join(names, " "))
	m.write(filepath.Join(m.root, "sync.yaml"), config)
	m.environ["GHAPP_CONFIG"] = filepath.Join(m.root, "sync.yaml")
	s := m.syncs("--all", "--status", "127.0.0.1:0")
	status := fmt.Sprint(s.says("watching")["status"])
	for _, name := range names {
		m.shows(filepath.Join(name, "name"), name)
	}
	time.Sleep(1500 * time.Millisecond) // those that were published last come back into step
	m.github.ResetRequests()
	time.Sleep(4 * time.Second)
	kinds := m.kinds()
	if kinds["graphql"] < 2 || kinds["graphql"] > 12 || kinds["git"] > 12 || kinds["api"] > 0 {
		t.Errorf("in four periods of 12 repositories: %v", kinds)
	}
	testkit.Must(m.github.Repository("acme/many-3").Commit("main", "Change", map[string]string{"name": "changed"}))(t)
	m.shows("many-3/name", "changed")
	m.measures(status, `ghapp_github_rate_limit_remaining{host="`+m.host+`",resource="graphql"} 49`)

	// One that the App does not reach any more does not take the others with it.
	m.script("select acme " + strings.Join(names[1:], " ") + "\nrevoke")
	testkit.Must(m.github.Repository("acme/many-4").Commit("main", "Change", map[string]string{"name": "still"}))(t)
	m.shows("many-4/name", "still")
	m.shows("many-0/name", "many-0")
	s.ends()
}

// A key is replaced while a process watches: the token that it has goes with the old key,
// and the next one is signed for with the key that lies in the same place by now.
func TestSyncTakesTheKeyThatIsThereByNow(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "300ms")
	m.shows("site/deployment.txt", "deployment")
	m.script("rotate-key " + m.environ["GHAPP_APP"] + " " + m.environ["GHAPP_KEY"] + "\nrevoke")
	m.pushes("after")
	m.shows("site/deployment.txt", "after")
	testkit.OK(t, s.cmd.Process.Signal(syscall.SIGTERM))
	_ = s.cmd.Wait()
}
