package githubtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestInstallationEndpoints(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{Name: "Site Deployer", Owner: "maker"})
	gh.AddAccount("person", githubtest.User)
	gh.AddAccount("corp", githubtest.Enterprise)
	site := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	gh.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	gh.AddRepository("person/notes", githubtest.RepositoryOptions{})
	gh.AddRepository("nobody/x", githubtest.RepositoryOptions{})
	acme := app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	person := app.Install("person", githubtest.InstallOptions{All: true})
	corp := app.Install("corp", githubtest.InstallOptions{})
	for _, test := range []struct {
		path string
		want *githubtest.Installation // nil: 404
	}{
		{fmt.Sprintf("/app/installations/%d", acme.ID), acme},
		{"/app/installations/1", nil},
		{"/app/installations/x", nil},
		{"/orgs/acme/installation", acme},
		{"/orgs/ACME/installation", acme},
		{"/orgs/person/installation", nil},
		{"/orgs/nobody/installation", nil},
		{"/users/person/installation", person},
		{"/users/acme/installation", acme},
		{"/users/corp/installation", nil},
		{"/enterprises/corp/installation", corp},
		{"/repos/acme/site/installation", acme},
		{"/repos/Acme/Site/installation", acme},
		{"/api/v3/repos/acme/site/installation", acme},
		{"/repos/acme/hidden/installation", nil},
		{"/repos/acme/nowhere/installation", nil},
		{"/repos/acme%2Fsite/installation", nil},
		{"/repos/acme/site%2Fx/installation", nil},
		{"/repos/acme/site/installation/", nil},
		{"/repos//acme/site/installation", nil},
		{fmt.Sprintf("/repositories/%d/installation", site.ID), acme},
		{"/nothing", nil},
	} {
		r := ask(t, gh, "GET", test.path, bearer(t, app), "")
		switch {
		case test.want == nil && (r.status != 404 || r.message() != "Not Found" || r.field("status") != "404"):
			t.Errorf("%s: got %d %s, want 404", test.path, r.status, r.text)
		case test.want != nil && (r.status != 200 || r.field("id") != float64(test.want.ID)):
			t.Errorf("%s: got %d, installation %v, want %d", test.path, r.status, r.field("id"), test.want.ID)
		}
	}
	r := ask(t, gh, "GET", "/enterprises/corp/installation", bearer(t, app), "")
	account, _ := r.field("account").(map[string]any)
	if _, hasLogin := account["login"]; hasLogin || account["slug"] != "corp" || r.field("target_type") != "Enterprise" {
		t.Errorf("account of an enterprise installation: %v", account)
	}
	acme.Suspend()
	r = ask(t, gh, "GET", "/orgs/acme/installation", bearer(t, app), "")
	if r.field("suspended_at") == nil || r.field("suspended_by") == nil {
		t.Errorf("a suspended installation does not say so: %s", r.text)
	}
	r = ask(t, gh, "GET", "/app", bearer(t, app), "")
	if r.field("slug") != "site-deployer" || r.field("client_id") != app.ClientID ||
		r.field("installations_count") != 3.0 ||
		!regexp.MustCompile(`^Iv23li[0-9A-Za-z]{14}$`).MatchString(app.ClientID) {
		t.Errorf("GET /app: %s", r.text)
	}
}

func TestPaging(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	for i := range 105 {
		gh.AddRepository(fmt.Sprintf("acme/r%03d", i), githubtest.RepositoryOptions{})
	}
	for i := range 65 {
		app.Install(fmt.Sprintf("org%02d", i), githubtest.InstallOptions{})
	}
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	secret := "Bearer " + mint(t, gh, app, inst, "")
	count := func(r reply) int {
		if list, ok := r.json.([]any); ok {
			return len(list)
		}
		return len(r.field("repositories").([]any))
	}
	rels := regexp.MustCompile(`<([^>]*)>; rel="(\w+)"`)
	for _, test := range []struct {
		url, authorization string
		pages              []int // how many on each, following "next"
	}{
		{"/installation/repositories", secret, []int{30, 30, 30, 15}},
		{"/installation/repositories?per_page=100", secret, []int{100, 5}},
		{"/installation/repositories?per_page=1000", secret, []int{100, 5}},
		{"/installation/repositories?per_page=0", secret, []int{30, 30, 30, 15}},
		{"/installation/repositories?per_page=21", secret, []int{21, 21, 21, 21, 21}},
		{"/installation/repositories?page=5", secret, []int{0}},
		{"/orgs/acme/repos?per_page=53", secret, []int{53, 52}},
		{"/api/v3/orgs/acme/repos?per_page=53", secret, []int{53, 52}},
		{"/app/installations?per_page=50", bearer(t, app), []int{50, 16}},
		{"/app/installations?since=2999-01-01T00:00:00Z", bearer(t, app), []int{0}},
	} {
		var pages []int
		for next := "https://github.test" + test.url; next != ""; {
			r := ask(t, gh, "GET", next, test.authorization, "")
			if r.status != 200 {
				t.Fatalf("%s: %d %s", next, r.status, r.text)
			}
			pages = append(pages, count(r))
			links := map[string]string{}
			for _, m := range rels.FindAllStringSubmatch(r.header.Get("Link"), -1) {
				links[m[2]] = m[1]
			}
			if (links["next"] == "") != (links["last"] == "") || (links["prev"] == "") != (links["first"] == "") {
				t.Errorf("%s: Link: %s", next, r.header.Get("Link"))
			}
			if u, err := url.Parse(links["next"]); err != nil || links["next"] != "" && u.Host != "github.test" {
				t.Errorf("%s: next is %s", next, links["next"])
			}
			next = links["next"]
		}
		if diff := cmp.Diff(test.pages, pages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.url, diff)
		}
	}
}

func TestRepositories(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	repo := gh.AddRepository("acme/Site", githubtest.RepositoryOptions{DefaultBranch: "trunk", Description: "a site"})
	gh.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true})
	gh.AddRepository("octo/elsewhere", githubtest.RepositoryOptions{})
	secret := "Bearer " + mint(t, gh, app, app.Install("acme", githubtest.InstallOptions{All: true}), "")
	status := func(path, authorization string) int { return ask(t, gh, "GET", path, authorization, "").status }
	for _, test := range []struct {
		path, authorization string
		status              int
	}{
		{"/repos/acme/site", secret, 200},
		{"/repos/ACME/SITE", secret, 200},
		{"/repos/acme/site", "", 404},
		{"/repos/acme/site", bearer(t, app), 404},
		{"/repos/acme/site", "Bearer ghs_nothing", 401},
		{"/repos/acme/open", "", 200},
		{"/repos/acme/open", secret, 200},
		{"/repos/octo/elsewhere", secret, 404},
		{"/repos/acme/nowhere", secret, 404},
		{"/repos/acme/site/", secret, 404},
		{"/orgs/acme/repos", secret, 200},
		{"/orgs/nobody/repos", secret, 404},
		{"/installation/repositories", "", 401},
		{"/installation/repositories", bearer(t, app), 403},
		{fmt.Sprintf("/repositories/%d", repo.ID), secret, 200},
		{fmt.Sprintf("/repositories/%d", repo.ID), "", 404},
	} {
		testkit.Equal(t, status(test.path, test.authorization), test.status, "%s", test.path)
	}
	r := ask(t, gh, "GET", "https://api.github.com/repos/acme/site", secret, "")
	want := map[string]any{
		"full_name": "acme/Site", "default_branch": "trunk", "private": true,
		"visibility": "private", "description": "a site",
		"url": "https://api.github.com/repos/acme/Site", "html_url": "https://github.com/acme/Site",
		"clone_url": "https://github.com/acme/Site.git", "ssh_url": "git@github.com:acme/Site.git",
	}
	for name, value := range want {
		testkit.Equal(t, r.field(name), value, "%s", name)
	}
	if r := ask(t, gh, "GET", "http://ghes.test:8080/api/v3/repos/acme/site", secret,
		""); r.field("url") != "http://ghes.test:8080/api/v3/repos/acme/Site" ||
		r.field("clone_url") != "http://ghes.test:8080/acme/Site.git" {
		t.Errorf("under /api/v3: %v, %v", r.field("url"), r.field("clone_url"))
	}
	for query, first := range map[string]string{"": "acme/open", "?sort=full_name&direction=desc": "acme/Site",
		"?type=private": "acme/Site", "?sort=full_name": "acme/open"} {
		r := ask(t, gh, "GET", "/orgs/acme/repos"+query, secret, "")
		if got := r.json.([]any)[0].(map[string]any)["full_name"]; got != first {
			t.Errorf("/orgs/acme/repos%s begins with %v, want %s", query, got, first)
		}
	}
	if r := ask(t, gh, "GET", "/orgs/acme/repos", "", ""); len(r.json.([]any)) != 1 {
		t.Errorf("without a token: %s", r.text)
	}
	gh.AddRepository("octo/open", githubtest.RepositoryOptions{Public: true})
	gh.SetIPAllowList("octo", true)
	if status("/repos/octo/open", "") != 200 || status("/repos/octo/open", secret) != 403 ||
		status("/orgs/octo/repos", secret) != 403 {
		t.Error("an IP allow list must refuse a public repository with a token of another owner, and not without")
	}
	gh.SetIPAllowList("acme", true)
	testkit.Equal(t, status("/repos/acme/open", ""), 200)
	testkit.Equal(t, status("/repos/acme/open", secret), 403)
}

func TestRenamedRepositoryRedirects(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	repo := gh.AddRepository("acme/old", githubtest.RepositoryOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{Repositories: []string{"old"}})
	secret := "Bearer " + mint(t, gh, app, inst, "")
	testkit.OK(t, gh.Rename("acme/old", "new"))
	base := "https://github.test/api/v3"
	for path, want := range map[string]string{
		"/repos/acme/old":              fmt.Sprintf("%s/repositories/%d", base, repo.ID),
		"/repos/acme/old/installation": fmt.Sprintf("%s/repositories/%d/installation", base, repo.ID),
	} {
		authorization := secret
		if strings.HasSuffix(path, "installation") {
			authorization = bearer(t, app)
		}
		r := ask(t, gh, "GET", base+path, authorization, "")
		if r.status != 301 || r.header.Get("Location") != want || r.field("url") != want {
			t.Errorf("%s: %d to %s, want 301 to %s", path, r.status, r.header.Get("Location"), want)
		}
		testkit.Equal(t, ask(t, gh, "GET", want, authorization, "").status, 200, "%s", want)
	}
	testkit.Equal(t, ask(t, gh, "GET", "/repos/acme/old", "", "").status, 404, "who may not see it is told of a move")
	testkit.Equal(t, repo.FullName(), "acme/new", "FullName")
	gh.AddRepository("acme/old", githubtest.RepositoryOptions{})
	if r := ask(t, gh, "GET", "/repos/acme/old", secret, ""); r.status != 404 {
		t.Errorf("the redirect outlives a new repository of the old name: %d", r.status)
	}
	testkit.OK(t, gh.DeleteRepository("acme/old"))
	if r := ask(t, gh, "GET", "/repos/acme/old", secret, ""); r.status != 404 {
		t.Errorf("the redirect is back when the repository that ended it is deleted: %d", r.status)
	}
	testkit.OK(t, gh.Transfer("acme/new", "octo"))
	if r := ask(t, gh, "GET", "/repos/acme/new/installation", bearer(t, app), ""); r.status != 404 {
		t.Errorf("after a transfer the old installation answers %d", r.status)
	}
	there := app.Install("octo", githubtest.InstallOptions{All: true})
	defer func() {
		// Back where it came from it is as if it were new there.
		testkit.OK(t, gh.Transfer("octo/new", "acme"))
		if r := ask(t, gh, "GET", "/repos/acme/new/installation", bearer(t, app), ""); r.status != 404 {
			t.Errorf("transferred back it is selected: %d", r.status)
		}
	}()
	if r := ask(t, gh, "GET", fmt.Sprintf("/repositories/%d/installation", repo.ID), bearer(t, app),
		""); r.field("id") != float64(there.ID) {
		t.Errorf("after a transfer: %d %s", r.status, r.text)
	}
	for _, err := range []error{
		gh.Rename("acme/nothing", "x"), gh.Rename("octo/new", "a/b"), gh.Rename("octo/new", ""),
		gh.Transfer("acme/nothing", "octo"),
		gh.DeleteRepository("acme/nothing"),
	} {
		testkit.Fails(t, err, "a move or deletion that cannot be done gave no error")
	}
}

func TestStrictAboutTheRequest(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	r := ask(t, gh, "GET", "/app", bearer(t, app), "", "User-Agent", "")
	if r.status != 403 || !strings.HasPrefix(r.text, "Request forbidden by administrative rules.") ||
		!strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Errorf("without User-Agent: %d %s", r.status, r.text)
	}
	for version, want := range map[string]string{"": "2022-11-28",
		"2022-11-28": "2022-11-28", "2026-03-10": "2026-03-10"} {
		r := ask(t, gh, "GET", "/app", bearer(t, app), "", "X-GitHub-Api-Version", version)
		testkit.Equal(t, r.status, 200, "version %q", version)
		testkit.Equal(t, r.header.Get("X-GitHub-Api-Version-Selected"), want, "version %q", version)
	}
	r = ask(t, gh, "GET", "/app", bearer(t, app), "", "X-GitHub-Api-Version", "1999-01-01")
	if r.status != 400 || r.message() != "Bad Request" || r.field("errors") !=
		`The version you specified in the "X-GitHub-API-Version" request header, "1999-01-01", is not a supported version. The following versions are currently supported: "2026-03-10" (most recent) and "2022-11-28".` {
		t.Errorf("unknown version: %d %s", r.status, r.text)
	}
	testkit.OK(t, gh.SetKnownVersions("2022-11-28"))
	if r := ask(t, gh, "GET", "/app", bearer(t, app), "", "X-GitHub-Api-Version", "2026-03-10"); r.status != 400 ||
		!strings.Contains(r.text, `supported: \"2022-11-28\" (most recent).`) {
		t.Errorf("an older server knows 2026-03-10: %d %s", r.status, r.text)
	}
	testkit.Fails(t, gh.SetKnownVersions(), "a server without any version was accepted")
}

func TestVersion2026(t *testing.T) {
	gh := newGitHub(t)
	gh.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true})
	for version, old := range map[string]bool{"2022-11-28": true, "2026-03-10": false} {
		_, rate := ask(t, gh, "GET", "/rate_limit", "", "", "X-GitHub-Api-Version", version).json.(map[string]any)["rate"]
		_, downloads := ask(t, gh, "GET", "/repos/acme/open", "", "", "X-GitHub-Api-Version",
			version).json.(map[string]any)["has_downloads"]
		testkit.Equal(t, rate, old, "%s: rate", version)
		testkit.Equal(t, downloads, old, "%s: rate", version)
	}
}

func TestHeaders(t *testing.T) {
	gh := newGitHub(t)
	server := httptest.NewServer(gh)
	defer server.Close()
	gh.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true})
	res, err := http.Get(server.URL + "/repos/acme/open")
	testkit.OK(t, err)
	r := read(t, res)
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "X-GitHub-Media-Type": "github.v3; format=json",
		"X-RateLimit-Limit": "60", "X-RateLimit-Resource": "core",
	} {
		testkit.Equal(t, r.header.Get(name), want, "%s", name)
	}
	if r.header.Get("X-GitHub-Request-Id") == "" || r.header.Get("Date") == "" {
		t.Errorf("headers: %v", r.header)
	}
	if r.field("clone_url") != server.URL+"/acme/open.git" {
		t.Errorf("clone_url is %v", r.field("clone_url"))
	}
	res = testkit.Must(http.Head(server.URL + "/repos/acme/open"))(t)
	if res.Body.Close(); res.StatusCode != 200 || res.ContentLength < 1000 {
		t.Errorf("HEAD: %d, %d bytes", res.StatusCode, res.ContentLength)
	}
}

func TestRateLimit(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	secret := "Bearer " + mint(t, gh, app, inst, "")
	second := "Bearer " + mint(t, gh, app, inst, "")
	list := func(secret string) reply { return ask(t, gh, "GET", "/installation/repositories", secret, "") }
	gh.SetRateLimit(2)
	r := list(secret)
	if r.header.Get("X-RateLimit-Remaining") != "1" || r.header.Get("X-RateLimit-Used") != "1" ||
		r.header.Get("X-RateLimit-Limit") != "2" {
		t.Errorf("after one of two: %v", r.header)
	}
	list(second)
	r = list(secret)
	if r.status != 403 || r.message() != fmt.Sprintf("API rate limit exceeded for installation ID %d.", inst.ID) ||
		r.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("over the limit: %d %s %v", r.status, r.text, r.header)
	}
	reset, err := strconv.ParseInt(r.header.Get("X-RateLimit-Reset"), 10, 64)
	if left := time.Until(time.Unix(reset, 0)); err != nil || left > time.Hour || left < 59*time.Minute {
		t.Errorf("reset in %v", left)
	}
	if r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), ""); r.status != 201 ||
		r.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("a mint is counted against the installation: %d %v", r.status, r.header)
	}
	core := ask(t, gh, "GET", "/rate_limit", secret, "").field("resources").(map[string]any)["core"].(map[string]any)
	if core["remaining"] != 0.0 || core["limit"] != 2.0 {
		t.Errorf("/rate_limit: %v", core)
	}
	gh.SetTokenLife(3 * time.Hour)
	secret = "Bearer " + mint(t, gh, app, inst, "")
	gh.SetClockOffset(time.Hour)
	testkit.Equal(t, list(secret).status, 200, "an hour later")
	gh.SetRateLimit(-1)
	if r := list(secret); r.status != 200 || r.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("without a limit: %d %v", r.status, r.header)
	}
	if r := ask(t, gh, "GET", "/rate_limit", secret, ""); r.status != 404 ||
		r.message() != "Rate limiting is not enabled." {
		t.Errorf("/rate_limit without a limit: %d %s", r.status, r.text)
	}
	gh.SetRateLimit(0)
	if r := ask(t, gh, "GET", "/meta", "", ""); r.status != 403 ||
		!strings.Contains(r.message(), "API rate limit exceeded for 127.0.0.1.") {
		t.Errorf("anonymous, over the limit: %d %s", r.status, r.text)
	}
}

// Whatever a stranger sends is refused, and nothing more.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/app", "Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOjF9.c2ln", "")
	f.Add("POST", "/app/installations/30000001/access_tokens", "", `{"repositories":["site"]}`)
	f.Add("GET", "/repos/acme/site/installation?per_page=1", "token x", "")
	f.Add("GET", "/acme/site.git/info/refs?service=git-upload-pack", "Basic eDp5", "")
	f.Add("POST", "/api/v3/acme%2Fsite/info/lfs/objects/batch", "Negotiate", `{"operation":"download"}`)
	f.Fuzz(func(t *testing.T, method, path, authorization, body string) {
		gh := testkit.Must(githubtest.New(githubtest.Options{Git: "no-such-git"}))(t)
		defer gh.Close()
		app := newApp(t, gh, githubtest.AppOptions{})
		gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
		app.Install("acme", githubtest.InstallOptions{All: true})
		req, err := http.NewRequest(method, "https://github.test/"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", authorization)
		res := testkit.Must(gh.RoundTripper().RoundTrip(req))(t)
		defer res.Body.Close()
		if res.StatusCode >= 500 || gh.Mints() > 0 {
			t.Errorf("%s %s: %d, %d mints", method, path, res.StatusCode, gh.Mints())
		}
	})
}
