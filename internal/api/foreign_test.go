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
	nginx404  = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
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
		"nginx 401":              {handler: stranger(401, nginx404, "Content-Type", html, "WWW-Authenticate", "Basic")},
		"nginx 403":              {handler: stranger(403, nginx404, "Content-Type", html)},
		"nginx 404":              {handler: stranger(404, nginx404, "Content-Type", html), says: "ghes.example answers 404 (text/html), and not as GitHub does"},
		"block page":             {handler: stranger(403, blockPage, "Content-Type", html)},
		"block page, well meant": {handler: stranger(200, blockPage, "Content-Type", html)},
		"block page in text":     {handler: stranger(200, canary, "Content-Type", text)},
		"gateway":                {handler: stranger(401, gateway, "Content-Type", "application/json"), says: `(application/json, "no API key found in request")`},
		"empty 404":              {handler: stranger(404, "")},
		"empty 200":              {handler: stranger(200, "")},
		"website 404":            {handler: says(404, "<!DOCTYPE html>Not Found", "Content-Type", html), website: true, says: "as GitHub's website does and not its API"},
		"website 200":            {handler: says(200, "<!DOCTYPE html>Sign in", "Content-Type", html), website: true},
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
		"without the name of the request": stranger(404, `{"message":"Not Found","documentation_url":"https://docs.github.com/rest"}`),
		"without its body":                says(404, ""),
		"a limit":                         stranger(429, "slow down", "Content-Type", "text/plain", "Retry-After", "7200"),
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
	if foreign, ok := errors.AsType[*ForeignError](err); !ok || !foreign.Plain || !strings.Contains(err.Error(), "speaks TLS") {
		t.Errorf("%#v", err)
	}
}
