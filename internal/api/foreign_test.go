package api

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// Pages of servers that are not GitHub's API.
const (
	nginx404 = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n" +
		"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	blockPage = "<!DOCTYPE html><html><body>Access to this site is blocked by policy. " + canary + "</body></html>"
	gateway   = `{"message":"no API key found in request"}`
)

func TestAnswerThatIsNotGitHubsIsNoRefusalOfGitHub(t *testing.T) {
	const html, text = "text/html; charset=utf-8", "text/plain"
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		website bool
		says    string
	}{
		"nginx 401": {handler: stranger(401, nginx404, "Content-Type", html, "WWW-Authenticate", "Basic")},
		"nginx 403": {handler: stranger(403, nginx404, "Content-Type", html)},
		"nginx 404": {handler: stranger(404, nginx404, "Content-Type", html),
			says: "ghes.example answers 404 (text/html), and not as GitHub does"},
		"block page":             {handler: stranger(403, blockPage, "Content-Type", html)},
		"block page, well meant": {handler: stranger(200, blockPage, "Content-Type", html)},
		"block page in text":     {handler: stranger(200, canary, "Content-Type", text)},
		"gateway": {handler: stranger(401, gateway, "Content-Type", "application/json"),
			says: `(application/json, "no API key found in request")`},
		"empty 404": {handler: stranger(404, "")},
		"empty 200": {handler: stranger(200, "")},
		"website 404": {handler: says(404, "<!DOCTYPE html>Not Found", "Content-Type", html), website: true,
			says: "as GitHub's website does and not its API"},
		"website 200": {handler: says(200, "<!DOCTYPE html>Sign in", "Content-Type", html), website: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{handler: test.handler}
			c := newClient(t, w)
			_, infoErr := c.App(t.Context(), asCanary)
			_, _, foundErr := c.RepositoryInstallation(t.Context(), asCanary, "acme", "site")
			revokeErr := c.RevokeToken(t.Context(), secret.New(canary))
			for _, err := range []error{infoErr, foundErr, revokeErr} {
				foreign, ok := errors.AsType[*ForeignError](err)
				if !ok || foreign.Website != test.website || foreign.Host != "ghes.example" || foreign.Plain {
					t.Errorf("error %#v, want one of another server", err)
				} else if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, canary) {
					t.Errorf("error %q, want one that says %q", text, test.says)
				}
			}
			testkit.Equal(t, len(w.messages()), 3, "requests for three questions")
		})
	}
}

func TestRefusalOfGitHubWhoseNameIsLostIsStillOne(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"without the name of the request": stranger(404,
			`{"message":"Not Found","documentation_url":"https://docs.github.com/rest"}`),
		"without its body": says(404, ""),
		"a limit":          stranger(429, "slow down", "Content-Type", "text/plain", "Retry-After", "7200"),
	} {
		_, err := newClient(t, &wire{handler: handler}, func(o *Options) { o.MaxWait = -1 }).App(t.Context(), asCanary)
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestPortOfTLSThatIsAskedWithoutIsNamed(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	host := testkit.Must(ParseHost(strings.Replace(server.URL, "https://", "http://", 1), ""))(t)
	c := testkit.Must(New(Options{Host: host, UserAgent: "test"}))(t)
	_, err := c.App(t.Context(), nil)
	if foreign, ok := errors.AsType[*ForeignError](err); !ok || !foreign.Plain ||
		!strings.Contains(err.Error(), "speaks TLS") {
		t.Errorf("%#v", err)
	}
}

// A limit is one whoever tells of it, in whatever form: it is waited for.
func TestLimitIsNoForeignAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		header  string
		value   string
		foreign bool
	}{
		"429":                            {status: 429},
		"403 and nothing left":           {status: 403, header: "X-Ratelimit-Remaining", value: "0"},
		"403 and a time to wait":         {status: 403, header: "Retry-After", value: "60"},
		"403 and some left":              {status: 403, header: "X-Ratelimit-Remaining", value: "1", foreign: true},
		"403 and nothing said of limits": {status: 403, foreign: true},
	} {
		answer := &http.Response{StatusCode: test.status, Header: http.Header{}}
		if test.header != "" {
			answer.Header.Set(test.header, test.value)
		}
		testkit.Equal(t, Foreign(answer, []byte("<html>slow down</html>")) != nil, test.foreign, "%s is foreign", name)
	}
}

// The git service refuses in plain text, and tells of itself by the request's id.
func TestPageInPlaceOfTheGitServicesIsForeign(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		header  []string
		foreign bool
	}{
		"page":                 {403, []string{"Content-Type", "text/html"}, true},
		"plain text":           {403, []string{"Content-Type", "text/plain"}, false},
		"page of GitHub's":     {404, []string{"Content-Type", "text/html", "X-Github-Request-Id", "1"}, false},
		"page with a wait":     {403, []string{"Content-Type", "text/html", "Retry-After", "60"}, false},
		"page of a failure":    {502, []string{"Content-Type", "text/html"}, false},
		"page that is no news": {200, []string{"Content-Type", "text/html"}, false},
	} {
		answer := &http.Response{StatusCode: test.status, Header: http.Header{}}
		for i := 0; i < len(test.header); i += 2 {
			answer.Header.Set(test.header[i], test.header[i+1])
		}
		testkit.Equal(t, ForeignPage(answer) != nil, test.foreign, "%s is foreign", name)
	}
}

func TestKindOfAForeignAnswerIsToldShort(t *testing.T) {
	answer := &http.Response{StatusCode: 403, Header: http.Header{"Content-Type": {"text/" + strings.Repeat("x", 1<<16)}}}
	if text := Foreign(answer, nil).Error(); len(text) > 300 {
		t.Errorf("it is told in %d bytes", len(text))
	}
}
