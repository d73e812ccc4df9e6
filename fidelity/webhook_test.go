package fidelity

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-github/v92/github"

	"github.com/ghapp-dev/ghapp/fidelity/description"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What the stand-in delivers is what GitHub describes, and what go-github takes for
// GitHub's.
func TestWebhooksAreAsGitHubDescribes(t *testing.T) {
	const secret = "It's a Secret to Everybody"
	for _, f := range flavours {
		for _, form := range []bool{false, true} {
			name := f.name
			if form {
				name += ", as a form"
			}
			t.Run(name, func(t *testing.T) {
				d := testkit.Must(f.openAPI(t).Describe(f.version, "", describedEvents, nil))(t)
				var events []any
				met := map[string]bool{}
				receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					event := r.Header.Get("X-GitHub-Event")
					r.Body = io.NopCloser(bytes.NewReader(body))
					payload, err := github.ValidatePayload(r, []byte(secret))
					if err != nil {
						t.Errorf("%s: %v", event, err)
						return
					}
					parsed, err := github.ParseWebHook(github.WebHookType(r), payload)
					if err != nil || github.DeliveryID(r) == "" {
						t.Errorf("%s: %v, delivery %q", event, err, github.DeliveryID(r))
					}
					events = append(events, parsed)
					header := r.Header.Clone()
					header.Set("Content-Type", "application/json") // a form is described by its content alone
					x := &description.Exchange{Method: "POST", URL: &url.URL{Path: "/" + eventPath(event, payload)},
						RequestHeader: header, RequestBody: payload}
					if err := d.CheckRequest(x); err != nil {
						t.Errorf("%v\n%s", err, payload)
					}
					met["POST "+x.URL.Path] = true
				}))
				defer receiver.Close()
				w := newWorld(t, f)
				hook := githubtest.Webhook{URL: receiver.URL, Secret: secret, Form: form, Origin: w.server.URL}
				w.app.SetWebhook(hook, "push")
				if d := w.app.Ping(); !d.OK() {
					t.Errorf("%+v", d)
				}
				site := w.Repository("acme/site")
				first, err := site.Commit("main", "first\n\nwith a body", map[string]string{"a \"b\".txt": "1", "c": "2"})
				testkit.OK(t, err)
				second, err := site.CommitEntries("main", githubtest.CommitOptions{Message: "second",
					Entries: []githubtest.Entry{{Path: "c", Delete: true}, {Path: "a \"b\".txt", Content: "2"}}})
				testkit.OK(t, err)
				forced, err := site.CommitEntries("main",
					githubtest.CommitOptions{Message: "other", Orphan: true, Entries: []githubtest.Entry{{Path: "d", Content: "3"}}})
				testkit.OK(t, err)
				for _, err := range []error{site.Tag("v1", second), site.Tag("v1", forced)} {
					testkit.OK(t, err)
				}
				testkit.Must(site.Commit("gone", "third", nil))(t)
				testkit.OK(t, site.DeleteBranch("gone"))

				ping, ok := events[0].(*github.PingEvent)
				if !ok || ping.GetHook().GetID() == 0 || ping.GetZen() == "" || len(ping.GetHook().Events) != 1 {
					t.Errorf("%+v", events[0])
				}
				zero := strings.Repeat("0", 40)
				want := []struct {
					ref, before, after       string
					created, deleted, forced bool
					commits                  int
				}{
					{"refs/heads/main", zero, first, true, false, false, 1},
					{"refs/heads/main", first, second, false, false, false, 1},
					{"refs/heads/main", second, forced, false, false, true, 1},
					{"refs/tags/v1", zero, second, true, false, false, 2},
					{"refs/tags/v1", second, forced, false, false, true, 0},
					{"refs/heads/gone", zero, "", true, false, false, 1},
					{"refs/heads/gone", "", zero, false, true, false, 0},
				}
				if len(events) != 1+len(want) {
					t.Fatalf("%d events, want %d", len(events), 1+len(want))
				}
				for i, want := range want {
					push, ok := events[1+i].(*github.PushEvent)
					if !ok {
						t.Fatalf("%T", events[1+i])
					}
					if push.GetRef() != want.ref || want.before != "" && push.GetBefore() != want.before ||
						want.after != "" && push.GetAfter() != want.after ||
						push.GetCreated() != want.created || push.GetDeleted() != want.deleted || push.GetForced() != want.forced ||
						len(push.Commits) != want.commits {
						t.Errorf("push %d: %+v\nwant %+v", i, push, want)
					}
					if push.GetRepo().GetID() != site.ID || push.GetInstallation().GetID() != w.installation.ID ||
						push.GetRepo().GetFullName() != "acme/site" ||
						(push.GetHeadCommit() == nil) != want.deleted || push.GetRepo().GetPushedAt().IsZero() {
						t.Errorf("push %d: %+v", i, push)
					}
				}
				commit := events[2].(*github.PushEvent).Commits[0]
				if commit.GetMessage() != "second" || len(commit.Modified) != 1 || commit.Modified[0] != `a "b".txt` ||
					len(commit.Removed) != 1 || len(commit.Added) != 0 {
					t.Errorf("%+v", commit)
				}
				w.app.SetWebhook(hook, "create", "delete", "repository")
				w.bringAbout(t)
				for _, event := range describedEvents {
					if !met[event] {
						t.Errorf("nothing brought %s about", event)
					}
				}
			})
		}
	}
}

// describedEvents are what the stand-in tells of.
var describedEvents = []string{
	"POST /push", "POST /ping", "POST /create", "POST /delete",
	"POST /repository-created", "POST /repository-renamed", "POST /repository-transferred", "POST /repository-deleted",
	"POST /repository-archived", "POST /repository-unarchived", "POST /repository-privatized",
	"POST /repository-publicized", "POST /repository-edited",
	"POST /installation-created", "POST /installation-deleted", "POST /installation-suspend",
	"POST /installation-unsuspend", "POST /installation-new-permissions-accepted",
	"POST /installation-repositories-added", "POST /installation-repositories-removed",
}

// eventPath is what GitHub describes an event as, with the action where there are several.
func eventPath(event string, payload []byte) string {
	var p struct{ Action string }
	if json.Unmarshal(payload, &p) == nil && p.Action != "" {
		event += "-" + p.Action
	}
	return strings.ReplaceAll(event, "_", "-")
}

// bringAbout does all that is told besides pushes.
func (w *world) bringAbout(t *testing.T) {
	t.Helper()
	site := w.Repository("acme/site")
	head := testkit.Must(site.Head("main"))(t)
	testkit.OK(t, site.Tag("v2", head))
	testkit.OK(t, site.SetRef("refs/tags/v2", ""))
	w.installation.SelectAll()
	w.AddRepository("acme/fresh", githubtest.RepositoryOptions{Description: "new"})
	testkit.OK(t, w.Rename("acme/fresh", "stale"))
	for _, archived := range []bool{true, false} {
		w.Repository("acme/stale").Edit(func(o *githubtest.RepositoryOptions) {
			o.Public, o.Archived, o.DefaultBranch, o.Description, o.Topics = archived, archived, "trunk", "old", []string{"go"}
		})
	}
	testkit.OK(t, w.Transfer("acme/stale", "elsewhere"))
	testkit.OK(t, w.Transfer("elsewhere/stale", "acme"))
	testkit.OK(t, w.DeleteRepository("acme/stale"))
	w.installation.Select("site", "docs")
	w.installation.SetPermissions(map[string]string{"contents": "write", "issues": "read"})
	w.installation.Suspend()
	w.installation.Unsuspend()
	w.installation.Uninstall()
	w.app.Install("acme", githubtest.InstallOptions{All: true})
}
