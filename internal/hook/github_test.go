package hook

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// From a push at GitHub to the watcher, over real connections: pushed, delivered again, and pushed by force.
func TestPushAtGitHubReachesTheWatcher(t *testing.T) {
	for _, form := range []bool{false, true} {
		w := new(watcher)
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		server := NewServer(w.handler(), nil)
		go server.Serve(l)
		gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
		t.Cleanup(func() {
			server.Close()
			testkit.OK(t, gh.Close())
		})
		app := gh.AddApp(githubtest.AppOptions{})
		site := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
		app.Install("acme", githubtest.InstallOptions{All: true})
		hook := githubtest.Webhook{URL: "http://" + l.Addr().String() + DefaultPath, Secret: older, Form: form,
			Origin: "http://127.0.0.1:8000"}
		app.SetWebhook(hook, "push")

		want := func(d githubtest.Delivery, status int, text string) {
			t.Helper()
			if d.Status != status || !strings.Contains(d.Answer, text) {
				t.Errorf("form %t: %d %q, want %d and %q", form, d.Status, d.Answer, status, text)
			}
		}
		last := func() githubtest.Delivery {
			all := app.Deliveries()
			return all[len(all)-1]
		}
		again := func(d githubtest.Delivery) githubtest.Delivery {
			t.Helper()
			d = testkit.Must(app.Redeliver(d.GUID))(t)
			return d
		}
		want(app.Ping(), http.StatusOK, "pushes will be taken")
		head := testkit.Must(site.Commit("deployment", "first", nil))(t)
		first := last()
		want(first, http.StatusAccepted, "taken")
		expected := Push{
			Repository: ghapp.RepositoryName{Host: "127.0.0.1:8000", Owner: "acme", Name: "site"}, RepositoryID: site.ID,
			Ref: ref, Before: none, After: head, Delivery: first.GUID,
		}
		if w.count() != 1 || w.pushes[0] != expected {
			t.Errorf("the watcher was told %+v, want %+v", w.pushes, expected)
		}
		want(again(first), http.StatusAccepted, "already under way")
		w.end(errFailed)
		want(again(first), http.StatusAccepted, "taken")
		w.end(nil)
		want(again(first), http.StatusOK, "already done")

		forced, err := site.CommitEntries("deployment", githubtest.CommitOptions{Message: "other", Orphan: true})
		testkit.OK(t, err)
		want(last(), http.StatusAccepted, "taken")
		if p := w.pushes[2]; !p.Forced || p.Before != head || p.After != forced {
			t.Errorf("%+v", p)
		}
		testkit.Must(site.Commit("main", "elsewhere", nil))(t)
		want(last(), http.StatusOK, "ignored: no target follows refs/heads/main of acme/site")
		testkit.OK(t, site.DeleteBranch("deployment"))
		want(last(), http.StatusOK, "was deleted")
		want(app.Deliver("installation", map[string]any{"action": "suspend",
			"installation": map[string]any{"account": map[string]any{"login": "acme"}}}), http.StatusOK, "suspended on acme")
		hook.Secret = "another"
		app.SetWebhook(hook, "push")
		want(again(first), http.StatusUnauthorized, "compare the webhook's secret")
		testkit.Equal(t, w.count(), 3, "there was work")
	}
}
