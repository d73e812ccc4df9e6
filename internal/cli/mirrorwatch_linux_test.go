package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// watchesMirrors starts a ghapp mirror --watch that GitHub tells of everything, and returns the
// address of its status.
func (m *machine) watchesMirrors(args ...string) (s *syncer, status string) {
	m.t.Helper()
	secret := filepath.Join(m.root, "webhook")
	m.write(secret, webhookSecret+"\n")
	s = m.watches(append([]string{"mirror", "--period", "1h", "--webhook", "127.0.0.1:0", "--webhook-secret-file", secret,
		"--status", "127.0.0.1:0"}, args...)...)
	watching := s.says("watching")
	m.tellsOf(fmt.Sprint(watching["webhook"]))
	return s, fmt.Sprint(watching["status"])
}

// tellsOf has GitHub tell an address of everything.
func (m *machine) tellsOf(address string) {
	m.app.SetWebhook(githubtest.Webhook{
		URL: "http://" + address + "/webhook", Secret: webhookSecret, Origin: m.server.URL,
	}, "push", "create", "delete", "repository")
}

// ready waits until /readyz says so.
func (m *machine) ready(status string) {
	m.t.Helper()
	m.comes(func() bool {
		code, _ := m.get(status, "/readyz")
		return code == http.StatusOK
	}, "it is ready")
}

// comes waits until something is so.
func (m *machine) comes(is func() bool, what string) {
	m.t.Helper()
	for late := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(late) {
			m.t.Fatalf("it never came that %s", what)
		}
	}
}

// mirrored waits until a ref of a mirror is at a commit, "" being none.
func (m *machine) mirrored(dir, ref, oid string) {
	m.t.Helper()
	m.comes(func() bool {
		out, _ := gitIn(filepath.Join(m.work, dir), "rev-parse", "--verify", "--quiet", ref)
		return strings.TrimSpace(string(out)) == oid
	}, dir+" has "+ref+" at "+oid)
}

// mirroredAfter is like mirrored for a branch, and returns how long it took.
func (m *machine) mirroredAfter(began time.Time, dir, branch, oid string) time.Duration {
	m.t.Helper()
	path := filepath.Join(m.work, dir)
	m.comes(func() bool {
		loose, _ := os.ReadFile(filepath.Join(path, "refs/heads", branch))
		packed, _ := os.ReadFile(filepath.Join(path, "packed-refs"))
		return strings.TrimSpace(string(loose)) == oid || strings.Contains(string(packed), oid+" refs/heads/"+branch+"\n")
	}, dir+" has "+branch+" at "+oid)
	return time.Since(began)
}

func TestPushIsMirroredWhenGitHubTellsOfIt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s, status := m.watchesMirrors("--to", "m")
	m.ready(status)
	web := m.github.Repository("acme/web")
	_, before := m.get(status, "/metrics")
	areMetrics(t, before)

	var took []time.Duration
	m.github.ResetRequests()
	for i := range 9 {
		began := time.Now()
		oid := testkit.Must(web.Commit("main", "Change", map[string]string{"n": fmt.Sprint(i)}))(t)
		took = append(took, m.mirroredAfter(began, "m/acme/web.git", "main", oid))
	}
	for _, r := range m.requests() {
		if !strings.Contains(r.Path, ".git/") {
			t.Errorf("for a push GitHub was asked %s %s", r.Method, r.Path)
		}
	}
	slices.Sort(took)
	t.Logf("push to mirrored: median %s, least %s, most %s", took[len(took)/2], took[0], took[len(took)-1])
	if median := took[len(took)/2]; median > time.Second {
		t.Errorf("a push is mirrored after %s", median)
	}

	// A branch that comes, one that goes, and a force push: nothing of them is lost.
	oid := testkit.Must(web.Commit("feature", "Feature", map[string]string{"f": "1"}))(t)
	m.mirrored("m/acme/web.git", "refs/heads/feature", oid)
	testkit.OK(t, web.DeleteBranch("feature"))
	m.mirrored("m/acme/web.git", "refs/heads/feature", "")
	mirror := filepath.Join(m.work, "m/acme/web.git")
	kept := testkit.Must(gitIn(mirror, "for-each-ref", "--points-at", oid, "refs/ghapp/kept"))(t)
	testkit.Contains(t, string(kept), "/heads/feature")

	text := m.measures(status, `ghapp_mirror_updates_total{name="m",outcome="changed"} `)
	areMetrics(t, text)
	testkit.Contains(t, text, `ghapp_mirror_repositories{name="m"} 2`, `ghapp_mirror_fresh{name="m"} 2`,
		`ghapp_mirror_passes_total{name="m",outcome="changed"} 1`, "ghapp_mirror_webhook_duration_seconds_count ")
	if code, page := m.get(status, "/"); code != http.StatusOK || !strings.Contains(page, "acme/web") {
		t.Errorf("the page: %d %s", code, page)
	}
	s.ends()
	m.noSecretOnDisk()
}

// A disk without room stops a pass before its end, which is no success, and an update by a webhook.
func TestWatchOfMirrorsTellsThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("mirror", "--to", "m")
	s, status := m.watchesMirrors("--to", "m", "--min-free", "900T")
	m.ready(status)
	testkit.Must(m.github.Repository("acme/web").Commit("main", "Change", map[string]string{"n": "1"}))(t)
	m.measures(status, `ghapp_mirror_updates_total{name="m",outcome="failed"} 1`)
	s.says("it has stopped before its end; what was not reached stays as it was")
	m.measures(status, `ghapp_mirror_failing{name="m"} 1`)
	testkit.OK(t, s.cmd.Process.Signal(syscall.SIGUSR1))
	text := m.measures(status, `ghapp_mirror_passes_total{name="m",outcome="failed"} 1`)
	testkit.Contains(t, text, `ghapp_mirror_failing{name="m"} 1`, `ghapp_mirror_fresh{name="m"} 2`)
	s.ends()
}

// A hundred pushes at once are a few looks, and every one of them is mirrored.
func TestBurstOfPushesIsAFewLooks(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s, status := m.watchesMirrors("--to", "m")
	m.ready(status)
	oid := testkit.Must(m.github.Repository("acme/web").Commit("main", "Change", map[string]string{"n": "1"}))(t)
	m.mirrored("m/acme/web.git", "refs/heads/main", oid)
	deliveries := m.app.Deliveries()
	push := deliveries[len(deliveries)-1]
	m.github.ResetRequests()
	done := make(chan githubtest.Delivery)
	const many = 100
	for range many {
		go func() { done <- m.app.Deliver("push", json.RawMessage(push.Payload)) }()
	}
	for range many {
		if d := <-done; d.Status != http.StatusAccepted {
			t.Errorf("%d %s", d.Status, d.Answer)
		}
	}
	m.comes(func() bool {
		_, text := m.get(status, "/metrics")
		return strings.Contains(text, fmt.Sprintf("ghapp_mirror_webhook_duration_seconds_count %d", many+1))
	}, "all are answered")
	if n := len(m.requests()); n > many/2 {
		t.Errorf("%d requests for %d pushes of one repository", n, many)
	}
	s.ends()
}

func TestRepositoriesComeMoveAndGoWhenGitHubTellsOfIt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	installed := m.app.Install("acme", githubtest.InstallOptions{All: true})
	s, status := m.watchesMirrors("--to", "m")
	m.ready(status)

	testkit.OK(t, m.github.Rename("acme/web", "www"))
	m.comes(func() bool {
		_, err := os.Stat(filepath.Join(m.work, "m/acme/www.git"))
		return err == nil
	}, "the mirror is renamed")
	oid := testkit.Must(m.github.Repository("acme/www").Commit("main", "Change", map[string]string{"n": "1"}))(t)
	m.mirrored("m/acme/www.git", "refs/heads/main", oid)

	made := m.github.AddRepository("acme/new", githubtest.RepositoryOptions{})
	oid = testkit.Must(made.Commit("main", "First", map[string]string{"n": "1"}))(t)
	m.mirrored("m/acme/new.git", "refs/heads/main", oid)

	m.comes(func() bool {
		_, text := m.get(status, "/metrics")
		want := fmt.Sprintf("ghapp_mirror_webhook_duration_seconds_count %d\n", len(m.app.Deliveries()))
		return strings.Contains(text, want)
	}, "all of that is done")

	// A suspension is told, and takes nothing away.
	installed.Suspend()
	s.says("an installation fails; its mirrors stay as they were")
	m.mirrored("m/acme/www.git", "refs/heads/main", testkit.Must(m.github.Repository("acme/www").Head("main"))(t))
	m.measures(status, `ghapp_mirror_failing{name="m"} 1`)
	installed.Unsuspend()
	m.measures(status, `ghapp_mirror_failing{name="m"} 0`)

	// An event that is not so causes a question, and nothing else.
	code := m.app.Deliver("repository", map[string]any{
		"action": "deleted", "installation": map[string]any{"id": installed.ID},
		"repository": map[string]any{"id": made.ID, "full_name": "acme/new", "clone_url": m.server.URL + "/acme/new.git"},
	})
	testkit.Equal(t, code.Status, http.StatusAccepted)
	oid = testkit.Must(made.Commit("main", "Second", map[string]string{"n": "2"}))(t)
	m.mirrored("m/acme/new.git", "refs/heads/main", oid)
	s.ends()
}

// Nobody is to rely on mirrors that are not made yet.
func TestMirrorsAreReadyWhenTheFirstPassIsDone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.traffic.hold(0, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/web.git/git-upload-pack") })
	s, status := m.watchesMirrors("--to", "m")
	m.mirrored("m/acme/site.git", "refs/heads/main", testkit.Must(m.github.Repository("acme/site").Head("main"))(t))
	if code, text := m.get(status, "/readyz"); code != http.StatusServiceUnavailable ||
		!strings.Contains(text, "the first pass is not done yet: m") {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := m.get(status, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d", code)
	}
	// What is there is kept up to date all the same.
	oid := testkit.Must(m.github.Repository("acme/site").Commit("main", "Change", map[string]string{"n": "1"}))(t)
	m.mirrored("m/acme/site.git", "refs/heads/main", oid)
	m.traffic.release()
	m.ready(status)
	s.ends()
}

func TestMirrorsGoOnAfterTheirTokensHaveEnded(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.github.SetTokenLife(4 * time.Second)
	s, status := m.watchesMirrors("--to", "m")
	m.ready(status)
	web := m.github.Repository("acme/web")
	oid := testkit.Must(web.Commit("main", "Before", map[string]string{"n": "1"}))(t)
	m.mirrored("m/acme/web.git", "refs/heads/main", oid)
	for _, token := range m.github.Tokens() {
		time.Sleep(time.Until(token.Expires) + 100*time.Millisecond)
	}
	mints := m.github.Mints()
	oid = testkit.Must(web.Commit("main", "After", map[string]string{"n": "2"}))(t)
	m.mirrored("m/acme/web.git", "refs/heads/main", oid)
	if m.github.Mints() == mints {
		t.Error("no token was made, so this test sees nothing")
	}
	for _, r := range m.requests() {
		if r.Credential.InstallationID != 0 && r.Status == http.StatusUnauthorized {
			t.Errorf("%s %s came with a token that is dead", r.Method, r.Path)
		}
	}
	s.ends()
}

// SIGHUP has the configuration read anew, all or nothing.
func TestHangUpHasMirrorReadTheConfigurationAnew(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	file := filepath.Join(m.root, "mirror.yaml")
	m.environ["GHAPP_CONFIG"] = file
	mirrors := func(lines ...string) {
		m.write(file, "mirror:\n  "+strings.Join(lines, "\n  ")+"\n")
	}
	at := func(name string) string { return filepath.Join(m.work, name) }
	mirrors("one: {to: "+at("one")+", exclude: [web]}", "old: {to: "+at("old")+"}")
	s, status := m.watchesMirrors("--all")
	m.ready(status)
	if _, err := os.Stat(at("one/acme/web.git")); err == nil {
		t.Error("what is excluded is there")
	}
	m.write(file, "mirror: [")
	s.signals(syscall.SIGHUP)
	s.saysNext("the configuration cannot be used, and is used on as it was")
	mirrors("one: {to: "+at("one")+"}", "new: {to: "+at("new")+"}")
	// A key that cannot be read takes the place of none.
	testkit.OK(t, os.Remove(m.environ["GHAPP_KEY"]))
	s.signals(syscall.SIGHUP)
	s.saysNext("the configuration cannot be used, and is used on as it was")
	if _, err := os.Stat(at("new")); err == nil {
		t.Error("some of the configuration is used")
	}
	m.write(m.environ["GHAPP_KEY"], string(m.keyPEM))
	s.signals(syscall.SIGHUP)
	s.says("the configuration was read anew")
	head := testkit.Must(m.github.Repository("acme/web").Head("main"))(t)
	m.mirrored("one/acme/web.git", "refs/heads/main", head)
	m.mirrored("new/acme/web.git", "refs/heads/main", head)
	m.ready(status)
	oid := testkit.Must(m.github.Repository("acme/web").Commit("main", "Change", map[string]string{"n": "1"}))(t)
	m.mirrored("one/acme/web.git", "refs/heads/main", oid)
	m.mirrored("new/acme/web.git", "refs/heads/main", oid)
	m.mirrored("old/acme/web.git", "refs/heads/main", head)
	testkit.Lacks(t, m.measures(status, "ghapp_config_last_reload_successful 1"), `name="old"`)
	m.must("mirror", "--to", "old") // another process may have it now

	// SIGUSR1 looks now.
	m.app.SetWebhook(githubtest.Webhook{})
	oid = testkit.Must(m.github.Repository("acme/web").Commit("main", "Again", map[string]string{"n": "2"}))(t)
	s.signals(syscall.SIGUSR1)
	m.mirrored("one/acme/web.git", "refs/heads/main", oid)
	s.ends()
}

// What anybody can send to the address of the webhook has nobody asked, and what GitHub sends twice
// is done once.
func TestHostileDeliveriesHaveNothingMirrored(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s, status := m.watchesMirrors("--to", "m")
	m.ready(status)
	webhook := fmt.Sprint(s.says("watching")["webhook"])
	web := m.github.Repository("acme/web")
	oid := testkit.Must(web.Commit("main", "Change", map[string]string{"n": "1"}))(t)
	m.mirrored("m/acme/web.git", "refs/heads/main", oid)
	m.measures(status, "ghapp_mirror_webhook_duration_seconds_count 1\n")
	deliveries := m.app.Deliveries()
	push := []byte(deliveries[len(deliveries)-1].Payload)
	m.app.SetWebhook(githubtest.Webhook{}) // GitHub tells nothing of what comes now
	head := testkit.Must(web.Commit("main", "Change", map[string]string{"n": "2"}))(t)
	send := func(id, signature string, body []byte) int {
		t.Helper()
		r := testkit.Must(http.NewRequest(http.MethodPost, "http://"+webhook+"/webhook", bytes.NewReader(body)))(t)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-GitHub-Event", "push")
		r.Header.Set("X-GitHub-Delivery", "7ad6a2e0-0000-4000-8000-00000000000"+id)
		r.Header.Set("X-Hub-Signature-256", signature)
		code, _ := m.answer(r)
		return code
	}
	m.github.ResetRequests()
	large := bytes.Repeat([]byte{' '}, 25<<20+1)
	for name, got := range map[string]struct{ code, want int }{
		"without a signature":       {send("1", "", push), http.StatusUnauthorized},
		"with that of another body": {send("2", signed(webhookSecret, large[:9]), push), http.StatusUnauthorized},
		"with that of a stranger":   {send("3", signed(wishSecret, push), push), http.StatusUnauthorized},
		"too large":                 {send("4", signed(webhookSecret, large), large), http.StatusRequestEntityTooLarge},
	} {
		testkit.Equal(t, got.code, got.want, "%s", name)
	}
	m.mirrored("m/acme/web.git", "refs/heads/main", oid)
	testkit.Equal(t, len(m.requests()), 0, "requests to GitHub")

	testkit.Equal(t, send("5", signed(webhookSecret, push), push), http.StatusAccepted)
	m.mirrored("m/acme/web.git", "refs/heads/main", head)
	m.measures(status, "ghapp_mirror_webhook_duration_seconds_count 2\n")
	m.github.ResetRequests()
	if code := send("5", signed(webhookSecret, push), push); code/100 != 2 {
		t.Errorf("again: %d", code)
	}
	m.measures(status, "ghapp_mirror_webhook_duration_seconds_count 2\n")
	testkit.Equal(t, len(m.requests()), 0, "requests to GitHub for what was done")
	s.ends()
	m.noSecretOnDisk()
}

func TestReceiverIsToldWhichMirrorsFailRecoverAreGoneAndPruned(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	events := make(chan map[string]any, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event map[string]any
		_ = json.Unmarshal(body, &event)
		event["signed"] = r.Header.Get("X-Hub-Signature-256") == signed(wishSecret, body)
		events <- event
	}))
	defer receiver.Close()
	m.environ["GHAPP_MIRROR_NOTIFY_URL"] = receiver.URL
	secret := filepath.Join(m.root, "notify-secret")
	m.write(secret, wishSecret+"\n")
	s, status := m.watchesMirrors("--to", "m", "--notify-secret-file", secret, "--prune", "--prune-after", "100ms")
	m.ready(status)
	told := func(what string) {
		t.Helper()
		select {
		case e := <-events:
			if e["event"] != what || e["repository"] != "acme/web" || e["signed"] != true ||
				!strings.HasSuffix(fmt.Sprint(e["directory"]), "/m/acme/web.git") || (e["error"] != nil) != (what == "failed") {
				t.Errorf("%s: %v", what, e)
			}
		case <-time.After(patience):
			t.Fatalf("it was not told that one %s\n%s", what, s.log())
		}
	}
	web := m.github.Repository("acme/web")
	web.Edit(func(o *githubtest.RepositoryOptions) { o.Disabled = true })
	testkit.Must(web.Commit("main", "Change", map[string]string{"n": "1"}))(t)
	told("failed")
	web.Edit(func(o *githubtest.RepositoryOptions) { o.Disabled = false })
	testkit.Must(web.Commit("main", "Change", map[string]string{"n": "2"}))(t)
	told("recovered")
	testkit.OK(t, m.github.DeleteRepository("acme/web"))
	s.signals(syscall.SIGUSR1)
	told("gone")
	m.comes(func() bool {
		s.signals(syscall.SIGUSR1)
		time.Sleep(50 * time.Millisecond) // not to make passes without end
		_, err := os.Lstat(filepath.Join(m.work, "m/acme/web.git"))
		return errors.Is(err, fs.ErrNotExist)
	}, "the mirror is pruned")
	told("pruned")
	s.ends()
}

// The metrics and the page can be asked for at any time.
func TestMirrorIsAskedWhileItReadsTheConfigurationAnew(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.environ["GHAPP_CONFIG"] = filepath.Join(m.root, "mirror.yaml")
	keeps := func(what string) { m.write(m.environ["GHAPP_CONFIG"], "mirror:\n  one: {to: one"+what+"}\n") }
	keeps("")
	s, status := m.watchesMirrors("--all")
	m.ready(status)
	for i := range 6 {
		keeps([]string{", exclude: [web]", ""}[i%2])
		s.signals(syscall.SIGHUP)
		for _, path := range []string{"/metrics", "/", "/metrics", "/readyz"} {
			code, text := m.get(status, path)
			if path == "/metrics" {
				areMetrics(t, text)
			} else if path == "/" && code != http.StatusOK {
				t.Errorf("%s: %d %s", path, code, text)
			}
		}
		s.saysNext("the configuration was read anew")
	}
	s.ends()
}
