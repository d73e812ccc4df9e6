package githubtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestFaultMatch(t *testing.T) {
	for _, test := range []struct {
		match, method, path string
		hit                 bool
	}{
		{"", "GET", "/meta", true},
		{"GET /meta", "GET", "/meta", true},
		{"get /meta", "GET", "/meta", true},
		{"/meta", "GET", "/meta", true},
		{"* /meta", "GET", "/meta", true},
		{"POST /meta", "GET", "/meta", false},
		{"GET /meta", "GET", "/api/v3/meta", true},
		{"GET /api/v3/meta", "GET", "/meta", true},
		{"GET /meta", "GET", "/meta/x", false},
		{"GET /*", "GET", "/meta", true},
		{"GET /*", "GET", "/repos/acme/site", false},
		{"GET /**", "GET", "/repos/acme/site", true},
		{"GET /repos/**/installation", "GET", "/repos/acme/site/installation", true},
		{"GET /repos/acme/s*", "GET", "/repos/ACME/Site", true},
		{githubtest.MintPattern, "POST", "/app/installations/7/access_tokens", true},
		{githubtest.MintPattern, "POST", "/api/v3/app/installations/7/access_tokens", true},
		{"GET /acme/site/info/refs", "GET", "/acme/site.git/info/refs", true},
		{"GET /acme/site.git/info/refs", "GET", "/Acme/Site/info/refs", true},
		{"* /acme/site/**", "POST", "/acme/site.git/info/lfs/objects/batch", true},
		{"GET /acme/site/info/refs", "GET", "/acme/site2/info/refs", false},
	} {
		gh := newGitHub(t)
		testkit.OK(t, gh.Fault(githubtest.Fault{Match: test.match, Status: 599}))
		ask(t, gh, test.method, test.path, "", "")
		if r := gh.Requests()[0]; r.Faulted != test.hit || (r.Status == 599) != test.hit {
			t.Errorf("%q and %s %s: hit %v, want %v", test.match, test.method, test.path, r.Faulted, test.hit)
		}
	}
	gh := newGitHub(t)
	for _, f := range []githubtest.Fault{
		{Match: "GET meta", Status: 500}, {Match: "meta", Status: 500}, {Match: "GET /a b", Status: 500},
		{Match: "GET /[", Status: 500}, {Match: "GET /meta"},
	} {
		testkit.Fails(t, gh.Fault(f), "%+v was accepted", f)
	}
}

func TestFaultCounts(t *testing.T) {
	gh := newGitHub(t)
	must(t, gh.Fault(githubtest.Fault{Match: "/meta", Status: 500, Times: 2, Skip: 1}),
		gh.Fault(githubtest.Fault{Match: "/meta", Status: 503, Times: 1}))
	var got []int
	for range 5 {
		got = append(got, ask(t, gh, "GET", "/meta", "", "").status)
	}
	// The first goes free of the older fault, and so is hit by the younger.
	testkit.Diff(t, got, []int{503, 500, 500, 200, 200})
	must(t, gh.Fault(githubtest.Fault{Status: 500}))
	for range 3 {
		testkit.Equal(t, ask(t, gh, "GET", "/meta", "", "").status, 500, "a fault without Times")
	}
	gh.ClearFaults()
	testkit.Equal(t, ask(t, gh, "GET", "/meta", "", "").status, 200, "after ClearFaults")
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	testkit.OK(t, errors.Join(errs...))
}

func TestFaultAnswers(t *testing.T) {
	for _, test := range []struct {
		name     string
		fault    githubtest.Fault
		path     string
		status   int
		header   map[string]string
		contains string
	}{
		{"REST 401", githubtest.Fault{Status: 401}, "/app", 401,
			map[string]string{"Content-Type": "application/json; charset=utf-8"}, `"message":"Bad credentials"`},
		{"REST 502", githubtest.Fault{Status: 502}, "/app", 502, nil, `"message":"Server Error"`},
		{"REST 429", githubtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, "/app", 429,
			map[string]string{"Retry-After": "7"}, "secondary rate limit"},
		{"git 401", githubtest.Fault{Status: 401}, "/acme/site/info/refs", 401,
			map[string]string{"WWW-Authenticate": `Basic realm="GitHub"`}, "Invalid username or token."},
		{"git 404", githubtest.Fault{Status: 404}, "/acme/site/info/refs", 404,
			map[string]string{"Content-Type": "text/plain; charset=utf-8"}, "Repository not found."},
		{"git 500", githubtest.Fault{Status: 500}, "/acme/site/info/refs", 500, nil, "Internal Server Error"},
		{"LFS 401", githubtest.Fault{Status: 401}, "/acme/site/info/lfs/objects/batch", 401,
			map[string]string{"WWW-Authenticate": `Basic realm="GitHub"`}, `"message":"Bad credentials"`},
		{"own body", githubtest.Fault{Status: 200, Body: `{"id":"seven"}`}, "/app", 200,
			map[string]string{"Content-Type": "application/json; charset=utf-8"}, `"seven"`},
		{"body alone", githubtest.Fault{Body: "not JSON"}, "/app", 200,
			map[string]string{"Content-Type": "text/plain; charset=utf-8"}, "not JSON"},
		{"status 200 alone", githubtest.Fault{Status: 200}, "/app", 200, nil, "{}"},
		{"HTML 502", githubtest.HTML502(""), "/app", 502,
			map[string]string{"Content-Type": "text/html; charset=utf-8"}, "<html>"},
		{"secondary limit", githubtest.SecondaryLimit("", time.Minute), "/app", 403, map[string]string{"Retry-After": "60"},
			"You have exceeded a secondary rate limit."},
		{"secondary limit without a time", githubtest.SecondaryLimit("", 0), "/app", 403,
			map[string]string{"Retry-After": ""}, "You have exceeded a secondary rate limit."},
		{"redirect to a host", githubtest.Fault{RedirectTo: "http://evil.test"}, "/app?x=1", 307,
			map[string]string{"Location": "http://evil.test/app?x=1"}, ""},
		{"redirect to a page", githubtest.Fault{RedirectTo: "http://evil.test/a", Status: 302}, "/app?x=1", 302,
			map[string]string{"Location": "http://evil.test/a"}, ""},
		{"header alone", githubtest.Fault{Header: http.Header{"date": {"Thu, 01 Jan 1970 00:00:00 GMT"}}}, "/meta", 200,
			map[string]string{"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}, "verifiable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			gh := newGitHub(t)
			must(t, gh.Fault(test.fault))
			r := ask(t, gh, "GET", test.path, "", "")
			testkit.Equal(t, r.status, test.status)
			testkit.Contains(t, r.text, test.contains)
			for name, want := range test.header {
				testkit.Equal(t, r.header.Get(name), want, "%s", name)
			}
		})
	}
}

func TestFaultsOfTheMint(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	gh.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	must(t, gh.Fault(githubtest.NoToken()))
	if r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), ""); r.status != 201 ||
		r.field("token") != nil || gh.Mints() != 0 {
		t.Errorf("NoToken: %d %s, %d mints", r.status, r.text, gh.Mints())
	}
	gh.ClearFaults()
	body := `{"repositories":["site"],"permissions":{"contents":"read"}}`
	must(t, gh.Fault(githubtest.Fault{Match: githubtest.MintPattern, Times: 1,
		Overgrant: &githubtest.Overgrant{Permissions: map[string]string{"contents": "write", "administration": "write"}}}))
	r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), body)
	want := map[string]any{"contents": "write", "administration": "write", "metadata": "read"}
	testkit.Diff(t, r.field("permissions"), any(want))
	if r := ask(t, gh, "GET", "/acme/site/info/refs?service=git-receive-pack",
		"Basic "+basicAuth(r.field("token").(string)), ""); r.status != 200 {
		t.Errorf("the permission granted beyond is not real: %d %s", r.status, r.text)
	}
	must(t, gh.Fault(githubtest.Fault{Match: githubtest.MintPattern, Times: 1,
		Overgrant: &githubtest.Overgrant{AllRepositories: true}}))
	r = ask(t, gh, "POST", mintPath(inst), bearer(t, app), body)
	if r.field("repository_selection") != "all" || r.field("repositories") != nil {
		t.Errorf("more repositories: %s", r.text)
	}
	if r := ask(t, gh, "GET", "/repos/acme/hidden", "Bearer "+r.field("token").(string), ""); r.status != 200 {
		t.Errorf("the repository granted beyond is not real: %d", r.status)
	}
	r = ask(t, gh, "POST", mintPath(inst), bearer(t, app), body)
	if diff := cmp.Diff(any(map[string]any{"contents": "read", "metadata": "read"}), r.field("permissions")); diff != "" ||
		r.field("repository_selection") != "selected" {
		t.Errorf("after the faults:\n%s", diff)
	}
}

// The breaks of a connection look to a client of a socket as they look to a client of the RoundTripper.
func TestBrokenConnections(t *testing.T) {
	gh := newGitHub(t)
	server := httptest.NewServer(gh)
	defer server.Close()
	for name, transport := range map[string]http.RoundTripper{"socket": &http.Transport{DisableKeepAlives: true},
		"in process": gh.RoundTripper()} {
		get := func() (*http.Response, error) {
			req := testkit.Must(http.NewRequest("GET", server.URL+"/meta", nil))(t)
			return transport.RoundTrip(req)
		}
		must(t, gh.Fault(githubtest.Fault{Reset: true, Times: 1}), gh.Fault(githubtest.Fault{CutAfter: 10, Times: 1}))
		if res, err := get(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: Reset gave %v, %v, want EOF", name, res, err)
		}
		res := testkit.Must(get())(t)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if len(text) != 10 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: CutAfter gave %q, %v", name, text, err)
		}
		if res, err := get(); err != nil {
			t.Error(err)
		} else if r := read(t, res); r.status != 200 {
			t.Errorf("%s: after the faults: %d", name, r.status)
		}
	}
}

func TestFaultsOfGit(t *testing.T) {
	w := newGitWorld(t)
	url := remote(w.server, w.mint(t, ""), "/acme/site.git")
	clone := func() (string, error) { return git(t, ".", "clone", "-q", url, filepath.Join(t.TempDir(), "c")) }
	must(t, w.gh.Fault(githubtest.Fault{Match: "POST /acme/site/git-upload-pack", Skip: 1, Times: 1, CutAfter: 20}))
	if out, err := clone(); err == nil {
		t.Errorf("a clone with its pack cut off succeeded: %s", out)
	}
	must(t, w.gh.Fault(githubtest.Fault{Match: "* /acme/site/**", Times: 1, Status: 503}))
	if out, err := clone(); err == nil || !strings.Contains(out, "503") {
		t.Errorf("503: %v %s", err, out)
	}
	must(t, w.gh.Fault(githubtest.Fault{Match: "* /acme/site/**", Times: 1, Delay: 50 * time.Millisecond}))
	begun := time.Now()
	if out, err := clone(); err != nil || time.Since(begun) < 50*time.Millisecond {
		t.Errorf("a delayed clone took %v: %v %s", time.Since(begun), err, out)
	}
	evil := githubtest.NewRecorder()
	evil.AskPassword()
	elsewhere := httptest.NewServer(evil)
	defer elsewhere.Close()
	must(t, w.gh.Fault(githubtest.Fault{Match: "GET /acme/site/info/refs", RedirectTo: elsewhere.URL, Status: 302}))
	if out, err := clone(); err == nil {
		t.Errorf("a redirected clone succeeded: %s", out)
	}
	if list := evil.Requests(); len(list) == 0 || list[0].Path != "/acme/site.git/info/refs" ||
		list[0].Query != "service=git-upload-pack" {
		t.Errorf("the other host was asked %+v", list)
	}
}

func TestDelayInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh := newGitHub(t)
		app := newApp(t, gh, githubtest.AppOptions{})
		inst := app.Install("acme", githubtest.InstallOptions{All: true})
		client := &http.Client{Transport: gh.RoundTripper()}
		must(t, gh.Fault(githubtest.Fault{Match: "/meta", Delay: time.Minute}))
		begun := time.Now()
		res := testkit.Must(client.Get("https://api.github.com/meta"))(t)
		read(t, res)
		testkit.Equal(t, time.Since(begun), time.Minute, "took")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req := testkit.Must(http.NewRequestWithContext(ctx, "GET", "https://api.github.com/meta", nil))(t)
		begun = time.Now()
		if _, err := client.Do(req); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("a request of one second gave %v after %v", err, time.Since(begun))
		}
		secret := mint(t, gh, app, inst, "")
		if r := ask(t, gh, "GET", "/installation/repositories", "Bearer "+secret, ""); r.status != 200 {
			t.Errorf("a young token: %d", r.status)
		}
		time.Sleep(time.Hour)
		if r := ask(t, gh, "GET", "/installation/repositories", "Bearer "+secret, ""); r.status != 401 {
			t.Errorf("an hour later: %d", r.status)
		}
		gh.SetPropagationDelay(2 * time.Second)
		secret = mint(t, gh, app, inst, "")
		var got []int
		for range 3 {
			got = append(got, ask(t, gh, "GET", "/installation/repositories", "Bearer "+secret, "").status)
			time.Sleep(time.Second)
		}
		testkit.Diff(t, got, []int{401, 401, 200})
	})
}

func TestRoundTripperObeysTheContext(t *testing.T) {
	gh := newGitHub(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no longer wanted")
	cancel(why)
	req := testkit.Must(http.NewRequestWithContext(ctx, "GET", "https://api.github.com/meta", nil))(t)
	testkit.ErrorIs(t, testkit.ErrorOf(gh.RoundTripper().RoundTrip(req)), why)
	testkit.Equal(t, len(gh.Requests()), 0, "requests arrived")
}

func TestRequestsAreRecorded(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	jwt := bearer(t, app)
	secret := mint(t, gh, app, inst, `{"permissions":{"contents":"read"}}`)
	gh.RevokeTokens()
	gh.ResetRequests()
	ask(t, gh, "POST", "https://api.github.com/api/v3"+mintPath(inst), jwt, `{"a":1}`, "X-GitHub-Api-Version",
		"2026-03-10", "User-Agent", "me")
	ask(t, gh, "GET", "/meta?a=b", "token "+secret, "")
	ask(t, gh, "GET", "/acme/s%20p", "Basic "+basicAuth("pass"), "")
	ask(t, gh, "GET", "/meta", "", "")
	ask(t, gh, "GET", "/meta", "Digest x", "")
	ask(t, gh, "GET", "/meta", "Bearer eyJ.a.b", "")
	type row struct {
		Method, Host, Path, Query, Version, Body string
		Status                                   int
		Credential                               githubtest.Credential
	}
	var got []row
	for _, r := range gh.Requests() {
		got = append(got, row{r.Method, r.Host, r.Path, r.Query, r.APIVersion, r.Body, r.Status, r.Credential})
		if r.Time.IsZero() {
			t.Error("a request has no time")
		}
	}
	want := []row{
		{"POST", "api.github.com", "/api/v3" + mintPath(inst), "", "2026-03-10", `{"a":1}`, 201,
			githubtest.Credential{Kind: githubtest.JWTCredential, AppID: app.ID, Token: strings.TrimPrefix(jwt, "Bearer ")}},
		{"GET", "github.test", "/meta", "a=b", "", "", 401,
			githubtest.Credential{Kind: githubtest.TokenCredential, AppID: app.ID, InstallationID: inst.ID, Token: secret}},
		{"GET", "github.test", "/acme/s%20p", "", "", "", 401,
			githubtest.Credential{Kind: githubtest.BasicCredential, Username: "x-access-token", Token: "pass"}},
		{"GET", "github.test", "/meta", "", "", "", 200, githubtest.Credential{Kind: githubtest.NoCredential}},
		{"GET", "github.test", "/meta", "", "", "", 401, githubtest.Credential{Kind: githubtest.OtherCredential}},
		{"GET", "github.test", "/meta", "", "", "", 401,
			githubtest.Credential{Kind: githubtest.JWTCredential, Token: "eyJ.a.b"}},
	}
	testkit.Diff(t, got, want)
	if gh.Requests()[0].UserAgent != "me" || gh.Requests()[0].Header.Get("Authorization") != jwt {
		t.Errorf("%+v", gh.Requests()[0])
	}
	testkit.Equal(t, gh.Mints(), 2, "mints")
	gh.Requests()[0].Header.Set("Authorization", "changed")
	testkit.Equal(t, gh.Requests()[0].Header.Get("Authorization"), jwt, "a caller can change the record")
}
