package hook

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// mirrorer takes events of acme's repositories.
type mirrorer struct {
	mu     sync.Mutex
	events []Event
	done   []func(error)
}

func (m *mirrorer) handler() *Handler {
	return &Handler{
		Secrets: []secret.Text{secret.New(webhookSecret)},
		OnEvent: func(e Event, done func(error)) bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(e.Repositories) == 1 && e.Repositories[0].Name.Owner != "acme" {
				return false
			}
			m.events, m.done = append(m.events, e), append(m.done, done)
			return true
		},
	}
}

const repositoryBody = `"repository":{"id":400000001,"full_name":"acme/site",` +
	`"clone_url":"https://GitHub.com/acme/site.git"},"installation":{"id":30000001}`

// created is the body of an event create, or delete.
func created(kind, name string) string {
	return fmt.Sprintf(`{"ref":%q,"ref_type":%q,"action":"none of it",`+repositoryBody+`}`, name, kind)
}

func ofRepository(action string) string {
	return fmt.Sprintf(`{"action":%q,`+repositoryBody+`}`, action)
}

// chosen is the body of an event of an installation whose repositories changed.
func chosen(action, repositories string) string {
	return fmt.Sprintf(`{"action":%q,"installation":{"id":30000001,"account":{"login":"acme"},`+
		`"html_url":"https://github.com/organizations/acme/settings/installations/30000001"},"repositories_%s":[%s]}`,
		action, action, repositories)
}

func TestEventsAreTold(t *testing.T) {
	name := ghapp.RepositoryName{Host: "github.com", Owner: "acme", Name: "site"}
	site := []Repository{{400000001, name}}
	lib := name
	lib.Name = "lib"
	of := func(kind Kind, action string, list []Repository, refs ...string) Event {
		return Event{Kind: kind, Action: action, Installation: 30000001, Repositories: list, Refs: refs, Delivery: guid}
	}
	for _, test := range []struct {
		event, body, text string
		want              Event
	}{
		{"push", pushed("acme/site", ref, first, second), "taken: push of acme/site " + ref,
			of(PushKind, "", site, ref)},
		{"push", pushed("acme/site", ref, first, none), "taken: push of acme/site", of(PushKind, "", site, ref)},
		{"create", created("branch", "feature/x"), "taken: create of acme/site refs/heads/feature/x",
			of(CreateKind, "", site, "refs/heads/feature/x")},
		{"delete", created("tag", "v1"), "taken: delete of acme/site refs/tags/v1",
			of(DeleteKind, "", site, "refs/tags/v1")},
		{"repository", ofRepository("renamed"), "taken: repository renamed of acme/site",
			of(RepositoryKind, "renamed", site)},
		{"repository", ofRepository("deleted"), "taken", of(RepositoryKind, "deleted", site)},
		{"installation", chosen("suspend", ""), "taken: installation suspend", of(InstallationKind, "suspend", nil)},
		{"installation_repositories",
			chosen("removed", `{"id":400000001,"full_name":"acme/site"},{"id":2,"full_name":"acme/lib"},`+
				`{"id":3,"full_name":"../etc"},{"id":0,"full_name":"acme/none"}`),
			"taken: installation_repositories removed of 2 repositories",
			of(InstallationRepositoriesKind, "removed", []Repository{{400000001, name}, {2, lib}})},
	} {
		m := new(mirrorer)
		h := m.handler()
		wantAnswer(t, h, delivered(test.event, test.body), 202, test.text)
		testkit.Diff(t, m.events, []Event{test.want})
		wantAnswer(t, h, delivered(test.event, test.body), 202, "already under way")
		m.done[0](nil)
		wantAnswer(t, h, delivered(test.event, test.body), 200, "already done")
		testkit.Equal(t, len(m.events), 1, "%s came again", test.event)
	}
}

func TestEventsThatAreNoneAreRefused(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"id":7,"full_name":"acme/site"},`, 3*MaxRepositories), ",")
	m := new(mirrorer)
	h := m.handler()
	for _, test := range []struct {
		event, body string
		status      int
		text        string
	}{
		{"push", "{}", 400, "full_name names no repository"},
		{"push", pushed("acme/site", "main", first, second), 400, "ref is not a full name"},
		{"create", created("branch", ""), 400, "ref is not the name"},
		{"create", created("branch", "a..b"), 400, "ref is not the name"},
		{"create", created("branch", "a b"), 400, "ref is not the name"},
		{"create", created("repository", "site"), 400, "ref is not the name"},
		{"repository", `{"action":"deleted"}`, 400, "names no repository"},
		{"repository", ofRepository("re named"), 400, "action names none"},
		{"repository", strings.Replace(ofRepository("renamed"), "400000001", "-4", 1), 400, "repository.id is missing"},
		{"repository", strings.ReplaceAll(ofRepository("renamed"), "acme/", "other/"), 200, "ignored: nothing here follows"},
		{"installation", `{"action":"deleted"}`, 400, "installation.id is missing"},
		{"issues", `{"action":"opened"}`, 200, "ignored: events of the kind issues"},
		{"ping", `{"hook":{"events":["push","delete"]}}`, 200, "does not send create, repository events"},
		{"ping", `{"hook":{"events":["push","delete","create","repository"]}}`, 200, "events will be taken"},
	} {
		wantAnswer(t, h, delivered(test.event, test.body), test.status, test.text)
	}
	wantAnswer(t, h, delivered("repository", ofRepository("deleted"),
		header(signatureHeader, sign("other", ofRepository("deleted")))), 401, "signature")
	testkit.Equal(t, len(m.events), 0, "there were events")
	wantAnswer(t, h, delivered("installation_repositories", chosen("added", many)), 202, "of 500 repositories")
	testkit.Equal(t, len(m.events[0].Repositories), MaxRepositories)
}

// What fails is forgotten, so that "Redeliver" on GitHub's page tries again.
func TestEventWhoseWorkFailedComesAgain(t *testing.T) {
	m := new(mirrorer)
	h := m.handler()
	again := func() *http.Request { return delivered("repository", ofRepository("renamed")) }
	wantAnswer(t, h, again(), 202, "taken")
	m.done[0](errFailed)
	wantAnswer(t, h, again(), 202, "taken: repository renamed")
	testkit.Equal(t, len(m.events), 2)
}

// checkEvent holds what is read of a body to what an [Event] promises.
func checkEvent(t *testing.T, p *payload, kind Kind) {
	t.Helper()
	e, err := p.event(kind)
	if err != nil {
		if len(err.Error()) > 200 {
			t.Errorf("the error repeats what came: %v", err)
		}
		return
	}
	if len(e.Repositories) > MaxRepositories || strings.ContainsFunc(e.String(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("%+v", e)
	}
	for _, r := range e.Repositories {
		again, err := ghapp.ParseRepository(r.Name.String())
		if err != nil || again.String() != r.Name.String() || r.ID <= 0 {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, ref := range e.Refs {
		if !isRef(ref) {
			t.Errorf("%q", ref)
		}
	}
}
