package ghapp_test

import (
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

var formToken = regexp.MustCompile(`name="authenticity_token" value="([^"]*)"`)

// code goes through the pages of the App Manifest flow, as a person does.
func (w *world) code(t *testing.T) secret.Text {
	t.Helper()
	post := func(path string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "https://github.com"+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		w.GitHub.ServeHTTP(answer, r)
		return answer
	}
	manifest := `{"name":"From a Manifest","url":"https://site.example","redirect_url":"https://site.example/back"}`
	page := post("/organizations/acme/settings/apps/new", url.Values{"manifest": {manifest}}).Body.String()
	token := formToken.FindStringSubmatch(page)
	if token == nil {
		t.Fatalf("no form in\n%s", page)
	}
	back, err := url.Parse(post("/settings/apps/manifest", url.Values{
		"authenticity_token": {html.UnescapeString(token[1])}, "name": {"From a Manifest"}}).Header().Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		t.Fatalf("%v, %v", back, err)
	}
	return secret.New(back.Query().Get("code"))
}

// hostOnly is a configuration that names no App.
func (w *world) hostOnly() ghapp.Config {
	return ghapp.Config{Client: ghapp.Client{Transport: w.GitHub.RoundTripper()}}
}

func TestRegister(t *testing.T) {
	w := newWorld(t)
	code := w.code(t)
	var log strings.Builder
	c := w.hostOnly()
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	made := testkit.Must(c.Register(t.Context(), code))(t)
	key := testkit.Must(signer.FromText("the answer", made.PEM.Reveal()))(t)
	if made.Name != "From a Manifest" || made.Owner != "acme" || made.Slug != "from-a-manifest" ||
		made.URL != "https://github.com/apps/from-a-manifest" {
		t.Errorf("%+v", made.AppInfo)
	}
	app := w.Open(t, func(c *ghapp.Config) { c.Issuer, c.Signer = made.ClientID, key })
	testkit.Equal(t, testkit.Must(app.Info(t.Context()))(t).ID, made.ID, "the App asks who it")

	// Once, and nothing of it is told.
	_, err := c.Register(t.Context(), code)
	testkit.Equal(t, wantKind(t, err, ghapp.ErrRefused).Status, http.StatusNotFound, "the code once more: status")
	told := log.String() + fmt.Sprintf("%+v %#v %v", made, made, err)
	if !strings.Contains(told, "/conversions") {
		t.Fatalf("nothing was logged of the request:\n%s", told)
	}
	for _, secret := range []string{code.Reveal(), strings.Split(made.PEM.Reveal(), "\n")[2]} {
		testkit.Lacks(t, told, secret)
	}
}

func TestRegisterFails(t *testing.T) {
	for name, test := range map[string]struct {
		fault githubtest.Fault
		kind  ghapp.Kind
	}{
		"without a key":      {githubtest.Fault{Status: 201, Body: `{"id":7,"slug":"x"}`}, ghapp.ErrUnreachable},
		"without an App":     {githubtest.Fault{Status: 201, Body: `{"pem":"x"}`}, ghapp.ErrUnreachable},
		"with a page":        {githubtest.Fault{Status: 200, Body: "<p>Welcome to the hotel"}, ghapp.ErrUnreachable},
		"with a refusal":     {githubtest.Fault{Status: 422}, ghapp.ErrRefused},
		"to another host":    {githubtest.Fault{RedirectTo: "https://evil.example/"}, ghapp.ErrWrongHost},
		"without an answer":  {githubtest.Fault{Reset: true}, ghapp.ErrUnreachable},
		"over the own limit": {githubtest.SecondaryLimit("", 0), ghapp.ErrRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.fault.Match = "POST /app-manifests/*/conversions"
			w.fault(t, test.fault)
			c, code := w.hostOnly(), secret.New("canary-of-a-code")
			c.MaxWait = -1
			made, err := c.Register(t.Context(), code)
			wantKind(t, err, test.kind)
			if made != nil || strings.Contains(err.Error(), code.Reveal()) {
				t.Errorf("%+v, %v", made, err)
			}
		})
	}
	_, err := ghapp.Client{Host: "http://github.com"}.Register(t.Context(), secret.New("x"))
	wantKind(t, err, ghapp.ErrInvalid)
}

// A proxy that shows what it was sent shows the code, which stands in the path.
func TestTheCodeIsNotRepeated(t *testing.T) {
	const code = "canary-of-a-code"
	c := ghapp.Config{
		Client: ghapp.Client{MaxWait: -1, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if !strings.Contains(r.URL.Path, code) {
				return nil, errors.New("there is no code in the path")
			}
			return &http.Response{
				StatusCode: http.StatusForbidden, Request: r, Header: http.Header{"X-Github-Request-Id": {r.URL.Path}},
				Body: io.NopCloser(strings.NewReader(`{"message":"blocked: ` + r.URL.Path + `"}`)),
			}, nil
		})},
	}
	_, err := c.Register(t.Context(), secret.New(code))
	if e := wantKind(t, err, ghapp.ErrRefused); !strings.Contains(e.Message,
		"blocked: /app-manifests/[redacted]/conversions") || strings.Contains(fmt.Sprintf("%+v", e), code) {
		t.Errorf("%+v", e)
	}
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFindApp(t *testing.T) {
	w := newWorld(t)
	w.GitHub.AddApp(githubtest.AppOptions{Name: "Secret", Private: true})
	info, err := w.hostOnly().FindApp(t.Context(), w.Registration.Slug)
	if err != nil || info.ClientID != w.Registration.ClientID {
		t.Errorf("%+v, %v", info, err)
	}
	for _, slug := range []string{"secret", "nobody", "../app"} {
		_, err := w.hostOnly().FindApp(t.Context(), slug)
		if wantKind(t, err, ghapp.ErrAppUnknown); !strings.Contains(err.Error(), slug) {
			t.Errorf("%s: %v", slug, err)
		}
	}
	w.fault(t, githubtest.Fault{Status: 500})
	c := w.hostOnly()
	c.MaxWait = -1
	_, err = c.FindApp(t.Context(), "x")
	wantKind(t, err, ghapp.ErrUnreachable)
}
