package githubtest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// hookWorld is a [gitWorld] whose App is told of pushes.
type hookWorld struct {
	*gitWorld
	receiver *githubtest.Recorder
}

func newHookWorld(t *testing.T) hookWorld {
	t.Helper()
	w := hookWorld{newGitWorld(t), githubtest.NewRecorder()}
	server := httptest.NewServer(w.receiver)
	t.Cleanup(server.Close)
	w.app.SetWebhook(githubtest.Webhook{URL: server.URL + "/hook", Secret: "s3cret"}, "push")
	return w
}

func TestOnlyThoseWhoMayKnowAreTold(t *testing.T) {
	w := newHookWorld(t)
	app, inst := w.app, w.inst
	commit(t, w.repo, "main", nil)
	if n := len(app.Deliveries()); n != 1 {
		t.Fatalf("%d deliveries, want 1", n)
	}
	for _, test := range []struct {
		name          string
		before, after func()
	}{
		{"suspended", inst.Suspend, inst.Unsuspend},
		{"not selected", func() { inst.Select("acme/other") }, inst.SelectAll},
		{"no permission", func() { inst.SetPermissions(map[string]string{"issues": "read"}) },
			func() { inst.SetPermissions(map[string]string{"contents": "read"}) }},
		{"not subscribed", func() { app.SetWebhook(githubtest.Webhook{URL: "http://127.0.0.1:1"}, "issues") }, func() {}},
		{"no webhook", func() { app.SetWebhook(githubtest.Webhook{}, "push") }, func() {}},
	} {
		test.before()
		commit(t, w.repo, "main", nil)
		test.after()
		if n, received := len(app.Deliveries()), len(w.receiver.Requests()); n != 1 || received != 1 {
			t.Errorf("%s: %d deliveries, %d received, want 1", test.name, n, received)
		}
	}
}

func TestPushOverHTTPIsTold(t *testing.T) {
	w := newHookWorld(t)
	app, token := w.app, w.mint(t, "")
	dir := filepath.Join(t.TempDir(), "site")
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		testkit.OK(t, err, "git %v, %s", args, out)
		return strings.TrimSpace(string(out))
	}
	address := strings.Replace(w.server.URL, "://", "://x-access-token:"+token+"@", 1) + "/acme/site"
	git("clone", "-q", address, dir)
	git("-C", dir, "commit", "-q", "--allow-empty", "-m", "by hand")
	for _, tag := range []string{"t1", "t2", "t3", "t4"} {
		git("-C", dir, "tag", tag)
	}
	git("-C", dir, "push", "-q", "origin", "main", "main:two", "--tags") // of over three tags nothing is told
	told := app.Deliveries()
	if len(told) != 2 || !strings.Contains(string(told[0].Payload), `"ref":"refs/heads/main"`) ||
		!strings.Contains(string(told[1].Payload), `"ref":"refs/heads/two"`) {
		t.Fatalf("%d deliveries: %+v", len(told), told)
	}
	if head := git("-C", dir, "rev-parse", "HEAD"); !strings.Contains(string(told[0].Payload), `"after":"`+head+`"`) {
		t.Errorf("%s is not told", head)
	}
}

func TestRedeliveryKeepsTheGUID(t *testing.T) {
	w := newHookWorld(t)
	app := w.app
	commit(t, w.repo, "main", nil)
	first := app.Deliveries()[0]
	if !first.OK() || first.Redelivery {
		t.Fatalf("%+v", first)
	}
	again, err := app.Redeliver(first.GUID)
	if err != nil || !again.Redelivery || !again.OK() {
		t.Fatalf("%+v, %v", again, err)
	}
	testkit.Fails(t, testkit.ErrorOf(app.Redeliver("none")), "what was never delivered is delivered again")
	requests := w.receiver.Requests()
	if len(requests) != 2 {
		t.Fatalf("%d requests", len(requests))
	}
	for _, r := range requests {
		for name, want := range map[string]string{
			"X-Github-Delivery": first.GUID, "X-Github-Event": "push", "User-Agent": "GitHub-Hookshot/44a2f5c",
			"Content-Type":        "application/json",
			"X-Hub-Signature-256": first.Header.Get("X-Hub-Signature-256"),
		} {
			testkit.Equal(t, r.Header.Get(name), want, "%s", name)
		}
		if r.Body != string(first.Payload) || r.Method != "POST" || r.Path != "/hook" {
			t.Errorf("%s %s %s", r.Method, r.Path, r.Body)
		}
	}
}

func TestWhatIsNotAnsweredIsNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
		defer gh.Close()
		app := gh.AddApp(githubtest.AppOptions{})
		for _, test := range []struct {
			transport transport
			status    int
			took      time.Duration
		}{
			{func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, 0,
				10 * time.Second},
			{func(r *http.Request) (*http.Response, error) { return nil, errors.New("refused") }, 0, 0},
			{func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"/"}},
					Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
			}, 302, 0},
		} {
			app.SetWebhook(githubtest.Webhook{URL: "https://hooks.example/", Transport: test.transport})
			d := app.Ping()
			if d.OK() || d.Status != test.status || d.Took != test.took || (d.Err == nil) != (test.status != 0) {
				t.Errorf("%+v", d)
			}
		}
		testkit.Equal(t, len(app.Deliveries()), 3, "deliveries")
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
