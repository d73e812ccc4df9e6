package githubtest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// hookWorld is a [gitWorld] whose App is told of pushes.
type hookWorld struct {
	*gitWorld
	receiver *githubtest.Recorder
	webhook  githubtest.Webhook
}

func newHookWorld(t *testing.T) hookWorld {
	t.Helper()
	w := hookWorld{gitWorld: newGitWorld(t), receiver: githubtest.NewRecorder()}
	server := httptest.NewServer(w.receiver)
	t.Cleanup(server.Close)
	w.webhook = githubtest.Webhook{URL: server.URL + "/hook", Secret: "s3cret"}
	w.app.SetWebhook(w.webhook, "push")
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
		if n := len(told(app, "push")); n != 1 {
			t.Errorf("%s: %d pushes were told, want 1", test.name, n)
		}
	}
}

// told are the events that were delivered, with their actions; only those of the names given, if there are any.
func told(app *githubtest.App, names ...string) []string {
	var list []string
	for _, d := range app.Deliveries() {
		var payload struct{ Action, Ref string }
		if json.Unmarshal(d.Payload, &payload) == nil && (names == nil || slices.Contains(names, d.Event)) {
			list = append(list, strings.TrimSpace(d.Event+" "+payload.Action+payload.Ref))
		}
	}
	return list
}

func TestWhatBecomesOfRepositoriesAndInstallationsIsTold(t *testing.T) {
	w := newHookWorld(t)
	w.app.SetWebhook(w.webhook, "create", "delete", "repository")
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { w.gh.AddRepository("acme/new", githubtest.RepositoryOptions{}); return nil },
			[]string{"repository created"}},
		{func() error { return w.gh.Rename("acme/new", "newer") }, []string{"repository renamed"}},
		{func() error {
			w.gh.Repository("acme/newer").Edit(func(o *githubtest.RepositoryOptions) {
				o.Public, o.Archived, o.DefaultBranch = true, true, "trunk"
			})
			return nil
		}, []string{"repository archived", "repository publicized", "repository edited"}},
		{func() error {
			w.gh.AddRepository("acme/newer", githubtest.RepositoryOptions{})
			return nil
		}, []string{"repository unarchived", "repository privatized"}},
		{func() error { return w.gh.Transfer("acme/newer", "other") }, []string{"installation_repositories removed"}},
		{func() error { return w.gh.Transfer("other/newer", "acme") }, []string{"repository transferred"}},
		{func() error { return w.gh.DeleteRepository("acme/newer") }, []string{"repository deleted"}},
		{func() error { return w.repo.Tag("v1", w.heads[0]) }, []string{"create v1"}},
		{func() error {
			return w.repo.SetRefs(map[string]string{"refs/tags/v1": "", "refs/heads/x/y": w.heads[0],
				"refs/pull/1/head": w.heads[0], "refs/heads/main": w.heads[0]})
		}, []string{"create x/y", "delete v1"}},
		{func() error { w.inst.Select("site"); return nil }, nil},
		{func() error { w.inst.Select("more", "site"); return nil }, []string{"installation_repositories added"}},
		{func() error { w.inst.Select("more"); return nil }, []string{"installation_repositories removed"}},
		{func() error { w.inst.Suspend(); return nil }, []string{"installation suspend"}},
		{func() error { return w.gh.DeleteRepository("acme/more") }, nil},
		{func() error { w.inst.Unsuspend(); return nil }, []string{"installation unsuspend"}},
		{func() error { w.inst.SetPermissions(nil); return nil }, []string{"installation new_permissions_accepted"}},
		{func() error { w.inst.Uninstall(); return nil }, []string{"installation deleted"}},
		{func() error { w.app.Install("acme", githubtest.InstallOptions{All: true}); return nil },
			[]string{"installation created"}},
	} {
		before := len(told(w.app))
		testkit.OK(t, step.do())
		if diff := cmp.Diff(step.want, told(w.app)[before:], cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
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
