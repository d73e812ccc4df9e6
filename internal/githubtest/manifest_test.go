package githubtest_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// visitor is a person with a browser that follows no redirect.
type visitor struct {
	t      *testing.T
	gh     *githubtest.GitHub
	server *httptest.Server
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	gh := testkit.Must(githubtest.New(githubtest.Options{Dir: t.TempDir()}))(t)
	server := httptest.NewServer(gh)
	t.Cleanup(func() { server.Close(); _ = gh.Close() })
	for _, name := range []string{"acme/site", "acme/web", "octo/lib", "octocat/notes"} {
		if name == "octocat/notes" {
			gh.AddAccount("octocat", githubtest.User)
		}
		gh.AddRepository(name, githubtest.RepositoryOptions{})
	}
	return &visitor{t, gh, server}
}

// webAnswer is what comes of a request for a page.
type webAnswer struct {
	status   int
	text     string
	location *url.URL
}

func (v *visitor) do(method, path string, form url.Values) webAnswer {
	v.t.Helper()
	r := testkit.Must(http.NewRequest(method, v.server.URL+path, strings.NewReader(form.Encode())))(v.t)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", "test")
	answer := testkit.Must(http.DefaultTransport.RoundTrip(r))(v.t)
	defer answer.Body.Close()
	text := testkit.Must(io.ReadAll(answer.Body))(v.t)
	location, _ := answer.Location()
	return webAnswer{answer.StatusCode, string(text), location}
}

const goodManifest = `{"name":"Our App","url":"https://site.example","redirect_url":"http://127.0.0.1:9/back?x=1","setup_url":"http://127.0.0.1:9/setup","public":false,"default_permissions":{"contents":"read"}}`

var tokenPattern = regexp.MustCompile(`name="authenticity_token" value="([^"]*)"`)

// propose posts a manifest and returns the token of the page's form.
func (v *visitor) propose(owner, manifest string) (page webAnswer, token string) {
	v.t.Helper()
	path := "/settings/apps/new?state=st%26te"
	if owner != "" {
		path = "/organizations/" + owner + path
	}
	page = v.do("POST", path, url.Values{"manifest": {manifest}})
	if match := tokenPattern.FindStringSubmatch(page.text); match != nil {
		token = html.UnescapeString(match[1])
	}
	return page, token
}

func (v *visitor) create(token, name string) webAnswer {
	v.t.Helper()
	return v.do("POST", "/settings/apps/manifest", url.Values{"authenticity_token": {token}, "name": {name}})
}

// app goes all the way to an App.
func (v *visitor) app(owner, manifest, name string) map[string]any {
	v.t.Helper()
	_, token := v.propose(owner, manifest)
	back := v.create(token, name)
	if back.location == nil {
		v.t.Fatalf("status %d\n%s", back.status, back.text)
	}
	made := v.do("POST", "/api/v3/app-manifests/"+back.location.Query().Get("code")+"/conversions", nil)
	var body map[string]any
	if err := json.Unmarshal([]byte(made.text), &body); err != nil || made.status != 201 {
		v.t.Fatalf("status %d, %v\n%s", made.status, err, made.text)
	}
	return body
}

func TestAManifestBecomesAnApp(t *testing.T) {
	v := newVisitor(t)
	page, token := v.propose("acme", goodManifest)
	if page.status != 200 || !strings.Contains(page.text, "Create GitHub App for acme") ||
		!strings.Contains(page.text, `value="Our App"`) {
		t.Fatalf("status %d\n%s", page.status, page.text)
	}
	back := v.create(token, "Our Renamed App")
	if back.status != 302 || back.location.Host+back.location.Path != "127.0.0.1:9/back" ||
		back.location.Query().Get("state") != "st&te" || back.location.Query().Get("x") != "1" {
		t.Fatalf("status %d to %s\n%s", back.status, back.location, back.text)
	}
	testkit.Equal(t, v.create(token, "Another App").status, 404, "the form once more: status")
	code := back.location.Query().Get("code")
	made := v.do("POST", "/app-manifests/"+code+"/conversions", nil)
	var app struct {
		ID              int64
		Slug, Name, PEM string
		ClientID        string  `json:"client_id"`
		ClientSecret    string  `json:"client_secret"`
		HTMLURL         string  `json:"html_url"`
		WebhookSecret   *string `json:"webhook_secret"`
		ExternalURL     string  `json:"external_url"`
		Owner           struct{ Login string }
		Permissions     map[string]string
	}
	if err := json.Unmarshal([]byte(made.text), &app); err != nil || made.status != 201 {
		t.Fatalf("status %d, %v\n%s", made.status, err, made.text)
	}
	if app.Slug != "our-renamed-app" || app.Name != "Our Renamed App" || app.Owner.Login != "acme" ||
		app.WebhookSecret != nil || len(app.ClientSecret) != 40 ||
		app.ExternalURL != "https://site.example" || app.HTMLURL != v.server.URL+"/apps/our-renamed-app" ||
		app.Permissions["contents"] != "read" || app.Permissions["metadata"] != "read" {
		t.Errorf("%+v", app)
	}
	testkit.Equal(t, v.do("POST", "/app-manifests/"+code+"/conversions", nil).status, 404, "the code once more: status")
	block, _ := pem.Decode([]byte(app.PEM))
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		t.Fatalf("PEM:\n%s", app.PEM)
	}
	key := testkit.Must(x509.ParsePKCS1PrivateKey(block.Bytes))(t)
	r := httptest.NewRequest("GET", "/app", nil)
	r.Header.Set("User-Agent", "test")
	r.Header.Set("Authorization", "Bearer "+sign(t, key, "RS256",
		map[string]any{"iss": app.ClientID, "iat": time.Now().Unix() - 60, "exp": time.Now().Unix() + 300}))
	w := httptest.NewRecorder()
	v.gh.ServeHTTP(w, r)
	testkit.Equal(t, w.Code, 200)
	testkit.Contains(t, w.Body.String(), `"slug":"our-renamed-app"`)
}

func TestAManifestIsRefusedAsGitHubDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("long: make test runs it")
	}
	v := newVisitor(t)
	v.gh.AddApp(githubtest.AppOptions{Name: "Taken Name"})
	for name, test := range map[string]struct {
		owner, manifest string
		status          int
		says            string
	}{
		"no JSON": {"acme", `{`, 422, "not JSON"},
		"no URL": {"acme", `{"redirect_url":"https://x.example"}`, 422,
			`Error &#34;url&#34; wasn&#39;t supplied`},
		"a hook without a URL": {"acme", strings.Replace(goodManifest, "{", `{"hook_attributes":{"active":false},`,
			1), 422, `Error &#34;url&#34; wasn&#39;t supplied`},
		"a hook on this machine": {"acme",
			strings.Replace(goodManifest, "{", `{"hook_attributes":{"url":"http://localhost/"},`, 1), 422, "public Internet"},
		"an address that is none": {"acme",
			strings.Replace(goodManifest, "http://127.0.0.1:9/back?x=1", "javascript:alert(1)", 1), 422, "must be a valid URL"},
		"a permission that is none": {"acme", strings.Replace(goodManifest, `"read"`, `"all"`, 1),
			422, "not included in the list"},
		"an organization that is none": {"nobody", goodManifest, 404, "not the web page"},
		"a person as an organization":  {"octocat", goodManifest, 404, "not the web page"},
		"a name that is taken": {"acme", strings.Replace(goodManifest, "Our App", "taken name", 1),
			200, "Name is already taken"},
		"a name that is too long": {"", strings.Replace(goodManifest, "Our App", strings.Repeat("long", 9), 1), 200,
			"Name is too long"},
		"a name with tags in it": {"", strings.Replace(goodManifest, "Our App", "<b>x", 1), 200, "&lt;b&gt;x"},
	} {
		t.Run(name, func(t *testing.T) {
			v.t = t
			page, token := v.propose(test.owner, test.manifest)
			if page.status != test.status || !strings.Contains(page.text, test.says) || (token != "") != (test.status == 200) {
				t.Errorf("status %d, token %q\n%s", page.status, token, page.text)
			}
		})
	}
	v.t = t
	testkit.Equal(t, v.do("GET", "/settings/apps/new", nil).status, 404, "GET: status")
	// The name is asked for until it is right.
	_, token := v.propose("", goodManifest)
	for _, name := range []string{"", "Taken Name", "taken-name", strings.Repeat("long", 9)} {
		if got := v.create(token, name); got.status != 422 || !strings.Contains(got.text, `role="alert"`) {
			t.Errorf("name %q: status %d\n%s", name, got.status, got.text)
		}
	}
	if got := v.create(token, "Right Name"); got.status != 302 {
		t.Errorf("status %d\n%s", got.status, got.text)
	}
}

func TestTheManifestFlowTakesAnHour(t *testing.T) {
	v := newVisitor(t)
	_, token := v.propose("", goodManifest)
	v.gh.SetClockOffset(61 * time.Minute)
	testkit.Equal(t, v.create(token, "Late App").status, 404, "the form after an hour: status")
	v.gh.SetClockOffset(0)
	_, token = v.propose("", goodManifest)
	back := v.create(token, "Late App")
	v.gh.SetClockOffset(61 * time.Minute)
	if got := v.do("POST", "/app-manifests/"+back.location.Query().Get("code")+"/conversions", nil); got.status != 404 {
		t.Errorf("the code after an hour: status %d", got.status)
	}
}

func TestAnAppIsInstalledOnItsPage(t *testing.T) {
	v := newVisitor(t)
	v.app("acme", goodManifest, "Our App")
	const page = "/apps/our-app/installations/new"
	shown := v.do("GET", page+"?state=s", nil)
	if shown.status != 200 || !strings.Contains(shown.text, "acme/site") || strings.Contains(shown.text, "octo/lib") ||
		!strings.Contains(shown.text, "read access to contents") {
		t.Fatalf("status %d\n%s", shown.status, shown.text)
	}
	for name, form := range map[string]url.Values{
		"nothing selected":        {"install_target": {"selected"}},
		"another's repository":    {"install_target": {"selected"}, "repository": {"octo/lib"}},
		"no such repository":      {"install_target": {"selected"}, "repository": {"acme/nothing"}},
		"an account that is none": {"install_target": {"all"}, "target_id": {"1"}},
	} {
		if got := v.do("POST", page, form); got.status != 422 && got.status != 404 {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
	done := v.do("POST", page, url.Values{"install_target": {"selected"}, "repository": {"acme/site"}, "state": {"s"}})
	query := url.Values{}
	if done.location != nil {
		query = done.location.Query()
	}
	if done.status != 302 || done.location.Host+done.location.Path != "127.0.0.1:9/setup" ||
		query.Get("setup_action") != "install" || query.Get("state") != "s" || query.Get("installation_id") == "" {
		t.Fatalf("status %d to %s\n%s", done.status, done.location, done.text)
	}
	// Once it is there, its settings are shown.
	again := v.do("GET", page, nil)
	if again.status != 302 || again.location.Path != "/organizations/acme/settings/installations/"+
		query.Get("installation_id") {
		t.Fatalf("status %d to %s", again.status, again.location)
	}
	if settings := v.do("GET", again.location.Path, nil); settings.status != 200 ||
		!strings.Contains(settings.text, "Installed on acme: selected repositories") {
		t.Errorf("status %d\n%s", settings.status, settings.text)
	}
	if wrong := v.do("GET", "/settings/installations/"+query.Get("installation_id"), nil); wrong.status != 404 {
		t.Errorf("under another account: status %d", wrong.status)
	}
}

func TestAPrivateAppIsForItsOwner(t *testing.T) {
	v := newVisitor(t)
	private := v.gh.AddApp(githubtest.AppOptions{Name: "Private", Owner: "acme", Private: true})
	public := v.gh.AddApp(githubtest.AppOptions{Name: "Public", Owner: "acme"})
	octo := v.gh.AddAccount("octo", githubtest.Organization)
	other := v.gh.AddAccount("hubot", githubtest.User)
	target := func(a *githubtest.Account) string { return "?target_id=" + jsonNumber(a.ID) }
	for path, want := range map[string]int{
		"/apps/" + private.Slug + "/installations/new":                 200,
		"/apps/" + private.Slug + "/installations/new" + target(octo):  404,
		"/apps/" + public.Slug + "/installations/new" + target(octo):   200,
		"/apps/" + public.Slug + "/installations/new" + target(other):  404, // another person's
		"/apps/nobody/installations/new":                               404,
		"/apps/" + private.Slug:                                        404, // of the API
		"/api/v3/apps/" + public.Slug:                                  200,
		"/api/v3/apps/" + public.Slug + "/installations/new":           404,
		"/api/v3/organizations/acme/settings/apps/new":                 404,
		"/apps/" + public.Slug + "/installations/new/":                 404,
		"/apps/" + public.Slug + "/installations/new" + "?target_id=x": 404,
	} {
		testkit.Equal(t, v.do("GET", path, nil).status, want, "%s: status", path)
	}
	// An App that says nothing of where to go leaves the person on its settings.
	if got := v.do("POST", "/apps/public/installations/new",
		url.Values{"install_target": {"all"}, "target_id": {jsonNumber(octo.ID)}}); got.location == nil ||
		!strings.HasPrefix(got.location.Path, "/organizations/octo/settings/installations/") {
		t.Errorf("status %d to %v", got.status, got.location)
	}
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func TestThePersonOwnsWhatIsMadeOnTheirOwnPage(t *testing.T) {
	v := newVisitor(t)
	if owner := v.app("", goodManifest, "Mine")["owner"].(map[string]any)["login"]; owner != "octocat" {
		t.Errorf("it belongs to %v", owner)
	}
	v.gh.SignIn("hubot")
	if owner := v.app("", goodManifest, "Mine as well")["owner"].(map[string]any)["login"]; owner != "hubot" {
		t.Errorf("it belongs to %v", owner)
	}
	// octocat's own account is not hubot's to install on.
	testkit.Equal(t, v.do("GET", "/apps/mine/installations/new", nil).status, 404, "status")
	names := []string{}
	for _, r := range v.gh.Requests() {
		names = append(names, r.Path)
	}
	if !slices.Contains(names, "/settings/apps/manifest") {
		t.Errorf("the pages are not among the requests: %q", names)
	}
}
