package gitauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// answering answers git's first request in one way.
type answering struct {
	status int
	text   string
	err    error
	asked  int
}

// RoundTrip implements [http.RoundTripper].
func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked++
	if a.err != nil {
		return nil, a.err
	}
	answer := &http.Response{StatusCode: a.status, Header: http.Header{}, Body: http.NoBody, Request: r}
	if a.text != "" {
		answer.Body = body{strings.NewReader(a.text)}
	}
	return answer, nil
}

type body struct{ *strings.Reader }

func (body) Close() error { return nil }

func TestTrialSaysWhyATokenIsRefused(t *testing.T) {
	site := ghapp.RepositoryName{Owner: "acme", Name: "site"}
	for name, test := range map[string]struct {
		answer *answering
		young  bool
		want   ghapp.Kind
		asked  int
	}{
		"taken":   {&answering{status: 200}, false, "", 1},
		"revoked": {&answering{status: 401, text: "Invalid username or token."}, false, ghapp.ErrTokenRefused, 1},
		"contents missing": {&answering{status: 403, text: "Write access to repository not granted."},
			false, ghapp.ErrPermission, 1},
		"suspended": {&answering{status: 403, text: "This installation has been suspended"},
			false, ghapp.ErrSuspended, 1},
		"IP allow list": {&answering{status: 403, text: "the organization has an IP allow list enabled"},
			false, ghapp.ErrIPAllowList, 1},
		"SAML":        {&answering{status: 403, text: "has enabled or enforced SAML SSO"}, false, ghapp.ErrSAML, 1},
		"another 403": {&answering{status: 403, text: "no"}, false, ghapp.ErrRefused, 1},
		"not there": {&answering{status: 404, text: "Repository not found."}, false,
			ghapp.ErrRepositoryNotSelected, 1},
		"too many":         {&answering{status: 429}, true, ghapp.ErrRateLimited, 1},
		"fails":            {&answering{status: 502}, true, ghapp.ErrUnreachable, 1},
		"new, never known": {&answering{status: 404, text: "Repository not found."}, true, ghapp.ErrTokenUnknown, 6},
		"new, IP allow list": {&answering{status: 403, text: "the organization has an IP allow list enabled"},
			true, ghapp.ErrIPAllowList, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				age := time.Hour / 2
				if test.young {
					age = 0
				}
				token := &ghapp.Token{Secret: secret.New("ghs_canary"), MintedAt: time.Now().Add(-age),
					ExpiresAt: time.Now().Add(time.Hour)}
				a := &gitauth.Answerer{Origin: "https://github.com", Transport: test.answer}
				err := a.Trial(t.Context(), token, site)
				if got := ghapp.KindOf(err); got != test.want || (err == nil) != (test.want == "") {
					t.Errorf("%v", err)
				}
				testkit.Equal(t, test.answer.asked, test.asked, "asked")
			})
		})
	}
}

func TestTrialWithoutAnAnswer(t *testing.T) {
	token := &ghapp.Token{Secret: secret.New("ghs_canary"), MintedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	a := &gitauth.Answerer{Origin: "https://github.com", Transport: &answering{err: errors.New("no route")}}
	err := a.Trial(t.Context(), token, ghapp.RepositoryName{Owner: "acme", Name: "site"})
	testkit.Equal(t, testkit.ErrorAs[*api.NetworkError](t, err).Host, "github.com")
	ended, end := context.WithCancel(t.Context())
	end()
	if err := a.Trial(ended, token, ghapp.RepositoryName{Owner: "acme", Name: "site"}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// Lag is told apart from refusal: it is over at some time.
func TestTrialWaitsForANewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{Repositories: []string{"site"}})
		github := app.GitHub
		github.SetPropagationDelay(4 * time.Second)
		github.Fault(githubtest.Fault{Match: "GET /acme/site/info/refs", Skip: 4, Status: 200}) // no process in here
		ours := app.Open(t)
		token := testkit.Must(ours.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
		begun := time.Now()
		a := &gitauth.Answerer{Origin: "https://github.com", Transport: github.RoundTripper()}
		testkit.OK(t, a.Trial(t.Context(), token, ghapp.RepositoryName{Owner: "acme", Name: "site"}))
		testkit.Equal(t, time.Since(begun), 6*time.Second, "waited")
	})
}

// A gateway's page is not GitHub's word about a token, and is not waited out.
func TestPageOfAnotherServerIsNoRefusalOfAToken(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		a := &gitauth.Answerer{Origin: "https://github.com",
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"text/html"}},
					Body: http.NoBody, Request: r}, nil
			})}
		err := a.Trial(t.Context(), &ghapp.Token{MintedAt: time.Now().Add(-time.Hour)},
			ghapp.RepositoryName{Owner: "acme", Name: "site"})
		if foreign, ok := errors.AsType[*api.ForeignError](err); !ok || foreign.Status != status || ghapp.KindOf(err) != "" {
			t.Errorf("%d: %v", status, err)
		}
	}
}
