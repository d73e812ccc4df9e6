package refs_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func (w *world) graphQL(names ...string) *refs.GraphQL {
	return &refs.GraphQL{Source: w.app.TokenSource(ghapp.TokenRequest{Repositories: names}), Transport: w.asker.Transport}
}

// TestBothWaysOfAskingAgree asks everything together, and one by one.
func TestBothWaysOfAskingAgree(t *testing.T) {
	w := newWorld(t)
	w.github.AddRepository("acme/empty", githubtest.RepositoryOptions{})
	first := w.commit(t, "main")
	w.commit(t, "deploy/eu")
	w.git(t, "update-ref", "refs/tags/light", first)
	w.git(t, "tag", "-a", "-m", "x", "annotated", first)
	w.git(t, "tag", "-a", "-m", "x", "nested", "annotated")
	empty := ghapp.RepositoryName{Owner: "acme", Name: "empty"}
	questions := []refs.Question{
		{site, refs.Revision{}}, {site, refs.Revision{Branch: "main"}}, {site, refs.Revision{Branch: "deploy/eu"}},
		{site, refs.Revision{Tag: "light"}},
		{site, refs.Revision{Tag: "annotated"}}, {site, refs.Revision{Tag: "nested"}}, {site, refs.Revision{Branch: "none"}},
		{site, refs.Revision{Tag: "main"}},
		{empty, refs.Revision{}}, {empty, refs.Revision{Branch: "main"}},
		{site, refs.Revision{Commit: strings.ToUpper(first)}},
		{ghapp.RepositoryName{Host: strings.TrimPrefix(w.server.URL, "http://"), Owner: "acme", Name: "site"},
			refs.Revision{}},
		{site, refs.Revision{Branch: "-x"}}, {ghapp.RepositoryName{Owner: "acme", Name: `"){x}`}, refs.Revision{}},
	}
	g := w.graphQL("acme/site", "acme/empty")
	if _, err := g.Ask(t.Context(), questions); err != nil { // with a token already
		t.Fatal(err)
	}
	w.github.ResetRequests()
	answers := testkit.Must(g.Ask(t.Context(), questions))(t)
	if got := w.github.Requests(); len(got) != 1 || got[0].Path != "/api/graphql" {
		t.Errorf("%d requests: %+v", len(got), got)
	}
	for i, q := range questions {
		found, err := w.asker.Ask(t.Context(), q.Repository, q.Revision)
		if answers[i].Found != found || fmt.Sprint(answers[i].Err) != fmt.Sprint(err) {
			t.Errorf("%s of %s: %+v together, %+v %v by itself", q.Revision, q.Repository, answers[i], found, err)
		}
	}
}

func TestOneRepositoryDoesNotSpoilTheOthers(t *testing.T) {
	w := newWorld(t)
	oid := w.commit(t, "main")
	w.github.AddRepository("other/hidden", githubtest.RepositoryOptions{})
	w.github.AddRepository("acme/former", githubtest.RepositoryOptions{})
	g := w.graphQL("acme/site", "acme/former")
	if _, err := g.Ask(t.Context(), []refs.Question{{Repository: site}}); err != nil { // for the token, by the old name
		t.Fatal(err)
	}
	testkit.OK(t, w.github.Rename("acme/former", "today"))
	testkit.Must(w.github.Repository("acme/today").Commit("main", "x", map[string]string{"a": "b"}))(t)
	ask := func(owner, name string, want refs.Revision) refs.Question {
		return refs.Question{Repository: ghapp.RepositoryName{Owner: owner, Name: name}, Revision: want}
	}
	answers := testkit.Must(g.Ask(t.Context(), []refs.Question{
		ask("other", "hidden", refs.Revision{}), ask("acme", "nowhere", refs.Revision{}),
		ask("acme", "former", refs.Revision{}),
		ask("acme", "site", refs.Revision{Version: "*"}), ask("acme", "site", refs.Revision{}),
	}))(t)
	for i := range 2 {
		if e, ok := errors.AsType[*ghapp.Error](answers[i].Err); !ok || e.Kind != ghapp.ErrRepositoryNotSelected ||
			len(detail[ghapp.RepositoryError](e).Repositories) != 1 {
			t.Errorf("%d: %+v", i, answers[i])
		}
	}
	if answers[2].Err != nil || answers[2].Found.Repository.Name != "today" {
		t.Errorf("renamed: %+v", answers[2])
	}
	testkit.ErrorIs(t, answers[3].Err, refs.ErrUnsupported, "a version: %+v", answers[3])
	if answers[4].Found != (refs.Found{Repository: site, Ref: "refs/heads/main", Commit: oid}) {
		t.Errorf("the last: %+v", answers[4])
	}
}

// A permission that is missing must not read as a branch that was deleted.
func TestWhatMayNotBeReadIsNotMissing(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "main")
	g := &refs.GraphQL{Source: w.app.TokenSource(ghapp.TokenRequest{Repositories: []string{"acme/site"},
		Permissions: ghapp.Permissions{"metadata": "read"}})}
	for _, want := range []refs.Revision{{}, {Branch: "main"}} {
		answers, err := g.Ask(t.Context(), []refs.Question{{site, want}})
		if err != nil || ghapp.KindOf(answers[0].Err) != ghapp.ErrPermission {
			t.Errorf("%s: %+v, %v", want, answers, err)
		}
	}
}

func TestAHundredRepositoriesAreOneRequest(t *testing.T) {
	var questions []refs.Question
	for n := range 101 {
		questions = append(questions,
			refs.Question{Repository: ghapp.RepositoryName{Owner: "acme", Name: fmt.Sprintf("r%d", n)}})
	}
	// What is not asked for by GraphQL does not count.
	questions = append(questions, refs.Question{Repository: site, Revision: refs.Revision{Commit: oid1}})
	for ask, want := range map[int]int{1: 0, 2: 1, 101: 1, 102: 2} {
		g := answering(200, `{"data":{}}`)
		base, requests := g.Transport, 0
		g.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			requests++
			return base.RoundTrip(r)
		})
		answers, err := g.Ask(t.Context(), questions[len(questions)-ask:])
		if err != nil || len(answers) != ask || requests != want {
			t.Errorf("%d questions: %d requests, %v; want %d", ask, requests, err, want)
		}
	}
}

func TestALimitOfGraphQLIsALimit(t *testing.T) {
	w := newWorld(t)
	g := w.graphQL("acme/site")
	testkit.Must(g.Ask(t.Context(), []refs.Question{{Repository: site}}))(t)
	w.github.SetRateLimit(0)
	_, err := g.Ask(t.Context(), []refs.Question{{Repository: site}})
	e, ok := errors.AsType[*ghapp.Error](err)
	if !ok || e.Kind != ghapp.ErrRateLimited || time.Until(detail[ghapp.RateLimitError](e).Until) < time.Minute {
		t.Errorf("%v until %v", err, detail[ghapp.RateLimitError](e).Until)
	}
}

// answering is a GraphQL of one answer, whatever the question.
func answering(status int, text string, headers ...string) *refs.GraphQL {
	headers = append([]string{"X-GitHub-Request-Id", "C0DE:1", "Content-Type", "application/json"}, headers...)
	return &refs.GraphQL{
		Source:    source{tokenOf("ghs_canary0123456789abcdefghijklmnop", time.Minute)},
		Transport: roundTrip(func(*http.Request) (*http.Response, error) { return answer(status, text, headers...), nil }),
	}
}

func TestAnswersOfGraphQLAreNotTakenOnTrust(t *testing.T) {
	const good = `{"data":{"r0":{"nameWithOwner":"acme/site","ref":{"prefix":"refs/heads/","name":"main","target":{"__typename":"Commit","oid":"` +
		oid1 + `"}}}}}`
	for name, test := range map[string]struct{ from, to string }{
		"another ref":    {"refs/heads/", "refs/tags/"},
		"a short name":   {`"name":"main"`, `"name":"x/main"`},
		"no object":      {oid1, "x"},
		"no target":      {`{"__typename":"Commit","oid":"` + oid1 + `"}`, "null"},
		"a deep tag":     {`"__typename":"Commit"`, `"__typename":"Tag"`},
		"no name":        {"acme/site", "../.."},
		"no repository":  {`"r0"`, `"r1"`},
		"a null for all": {`{"nameWithOwner"`, `null,"x":{"nameWithOwner"`},
	} {
		answers, err := answering(200, strings.Replace(good, test.from, test.to, 1)).Ask(t.Context(),
			[]refs.Question{{site, refs.Revision{Branch: "main"}}})
		if err != nil || !errors.Is(answers[0].Err, refs.ErrUnsupported) || answers[0].Found != (refs.Found{}) {
			t.Errorf("%s: %+v, %v", name, answers, err)
		}
	}
	answers, err := answering(200, good).Ask(t.Context(), []refs.Question{{site, refs.Revision{Branch: "main"}}})
	if err != nil || answers[0].Err != nil || answers[0].Found.Commit != oid1 {
		t.Errorf("%+v, %v: this test proves nothing", answers, err)
	}
}

func TestWholeFailuresOfGraphQLHaveTheirKind(t *testing.T) {
	const evil = `\u001b[31mghs_canary0123456789abcdefghijklmnop\u202e`
	for name, test := range map[string]struct {
		g    *refs.GraphQL
		kind ghapp.Kind
	}{
		"a page":       {answering(200, "<html>"), ghapp.ErrUnreachable},
		"not GitHub's": {answering(401, "<html>"+evil, "X-GitHub-Request-Id", ""), ghapp.ErrUnreachable},
		"a gateway's": {answering(404, `{"message":"no route `+evil+`"}`, "X-GitHub-Request-Id", ""),
			ghapp.ErrUnreachable},
		"too much": {answering(200, `{"data":{}}`+strings.Repeat(" ", 4<<20)), ghapp.ErrUnreachable},
		"no data":  {answering(200, `{"errors":[{"message":"`+evil+`"}]}`), ghapp.ErrRefused},
		"limit": {answering(200, `{"errors":[{"type":"RATE_LIMIT","message":"`+evil+`"}]}`),
			ghapp.ErrRateLimited},
		"limit, other word": {answering(200, `{"data":null,"errors":[{"type":"RATE_LIMITED","message":"x"}]}`),
			ghapp.ErrRateLimited},
		"secondary limit": {answering(200, `{"errors":[{"message":"You have exceeded a secondary rate limit"}]}`),
			ghapp.ErrRateLimited},
		"secondary limit, 403": {answering(403, `{"message":"You have exceeded a secondary rate limit"}`,
			"Retry-After", "30"), ghapp.ErrRateLimited},
		"refused":     {answering(401, `{"message":"Bad credentials `+evil+`"}`), ghapp.ErrTokenRefused},
		"no such API": {answering(404, `{"message":"Not Found"}`), ghapp.ErrRefused},
		"bad gateway": {answering(502, `<html>`+evil), ghapp.ErrUnreachable},
		"elsewhere":   {answering(302, "", "Location", "https://evil.example/graphql"), ghapp.ErrWrongHost},
	} {
		_, err := test.g.Ask(t.Context(), []refs.Question{{Repository: site}})
		if ghapp.KindOf(err) != test.kind || strings.Contains(err.Error(), "canary") ||
			strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("%s: %q", name, err)
		}
	}
}

func TestNoTokenOfGraphQLGoesToAnotherHost(t *testing.T) {
	hostile := githubtest.NewRecorder()
	elsewhere := httptest.NewServer(hostile)
	t.Cleanup(elsewhere.Close)
	lure := githubtest.NewRecorder()
	lure.RedirectTo(elsewhere.URL)
	own := httptest.NewServer(lure)
	t.Cleanup(own.Close)
	token := tokenOf("ghs_canary0123456789abcdefghijklmnop", time.Minute)
	token.API = own.URL
	_, err := (&refs.GraphQL{Source: source{token}}).Ask(t.Context(), []refs.Question{{Repository: site}})
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrWrongHost, "%v; the other host was asked", err)
	testkit.Equal(t, len(hostile.Requests()), 0, "%v; the other host was asked", err)
	if len(lure.Leaks(token.Secret.Reveal())) == 0 {
		t.Error("its own host did not get the token: this test proves nothing")
	}
}

func TestAHangOfGraphQLEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := answering(200, "")
		g.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		if _, err := g.Ask(t.Context(), []refs.Question{{Repository: site}}); ghapp.KindOf(err) != ghapp.ErrUnreachable {
			t.Error(err)
		}
	})
}
