package githubtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestMint(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh,
		githubtest.AppOptions{Permissions: map[string]string{"contents": "write", "members": "read", "workflows": "write"}})
	other := newApp(t, gh, githubtest.AppOptions{})
	site := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	hidden := gh.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	const (
		notGranted = "The permissions requested are not granted to this installation."
		noRepo     = "There is at least one repository that does not exist or is not accessible to the parent installation."
	)
	all := map[string]any{"contents": "write", "members": "read", "metadata": "read", "workflows": "write"}
	many := strings.TrimSuffix(strings.Repeat("1,", 501), ",")
	for _, test := range []struct {
		name, body   string
		status       int
		message      string
		permissions  map[string]any
		repositories int // -1: not in the answer
	}{
		{"empty body", "", 201, "", all, -1},
		{"empty object", "{}", 201, "", all, -1},
		{"empty list narrows nothing", `{"repositories":[]}`, 201, "", all, -1},
		{"repository", `{"repositories":["SITE"]}`, 201, "", all, 1},
		{"repository ID", fmt.Sprintf(`{"repository_ids":[%d]}`, site.ID), 201, "", all, 1},
		{"both", fmt.Sprintf(`{"repositories":["site"],"repository_ids":[%d]}`, site.ID), 201, "", all, 1},
		{"permission brings metadata", `{"permissions":{"contents":"read"}}`, 201, "",
			map[string]any{"contents": "read", "metadata": "read"}, -1},
		{"organization permission brings none", `{"permissions":{"members":"read"}}`, 201, "",
			map[string]any{"members": "read"}, -1},
		{"permission beyond", `{"permissions":{"members":"write"}}`, 422, notGranted, nil, 0},
		{"permission not given", `{"permissions":{"issues":"read"}}`, 422, notGranted, nil, 0},
		{"permission with no such value", `{"permissions":{"contents":"all"}}`, 422, notGranted, nil, 0},
		{"workflows cannot be read", `{"permissions":{"workflows":"read"}}`, 422, notGranted, nil, 0},
		{"repository not selected", `{"repositories":["hidden"]}`, 422, noRepo, nil, 0},
		{"one of two unknown", `{"repositories":["site","nowhere"]}`, 422, noRepo, nil, 0},
		{"name with owner", `{"repositories":["acme/site"]}`, 422, noRepo, nil, 0},
		{"ID not selected", fmt.Sprintf(`{"repository_ids":[%d]}`, hidden.ID), 422, noRepo, nil, 0},
		{"over 500", `{"repository_ids":[` + many + `]}`, 422,
			"Invalid request.\n\nNo more than 500 repositories can be listed.", nil, 0},
		{"wrong type", `{"repositories":"site"}`, 422,
			"Invalid request.\n\nFor 'properties/repositories', the value is not of the right type.", nil, 0},
		{"no JSON", `{"repositories":`, 400, "Problems parsing JSON", nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), test.body)
			if r.status != test.status || r.message() != test.message {
				t.Fatalf("got %d %q, want %d %q", r.status, r.message(), test.status, test.message)
			}
			if r.status != 201 {
				return
			}
			testkit.Diff(t, r.field("permissions"), any(test.permissions))
			list, narrowed := r.field("repositories").([]any)
			if narrowed != (test.repositories >= 0) || narrowed && len(list) != test.repositories {
				t.Errorf("repositories: %v", r.field("repositories"))
			}
			if r.field("repository_selection") != "selected" {
				t.Errorf("repository_selection %v", r.field("repository_selection"))
			}
			expires, err := time.Parse("2006-01-02T15:04:05Z", r.field("expires_at").(string))
			if left := time.Until(expires); err != nil || left > time.Hour || left < 59*time.Minute {
				t.Errorf("expires in %v (%v)", left, err)
			}
		})
	}

	for name, r := range map[string]reply{
		"another App's installation": ask(t, gh, "POST", mintPath(inst), bearer(t, other), ""),
		"App ID in place of its ID": ask(t, gh, "POST",
			fmt.Sprintf("/app/installations/%d/access_tokens", app.ID), bearer(t, app), ""),
		"GET":            ask(t, gh, "GET", mintPath(inst), bearer(t, app), ""),
		"without /app":   ask(t, gh, "POST", strings.TrimPrefix(mintPath(inst), "/app"), bearer(t, app), ""),
		"trailing slash": ask(t, gh, "POST", mintPath(inst)+"/", bearer(t, app), ""),
	} {
		testkit.Equal(t, r.status, 404, "%s", name)
		testkit.Equal(t, r.message(), "Not Found", "%s", name)
	}
	if r := ask(t, gh, "POST", mintPath(inst), "Bearer "+mint(t, gh, app, inst, ""), ""); r.status != 401 {
		t.Errorf("a token minted a token: %d", r.status)
	}

	inst.Suspend()
	if r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), ""); r.status != 403 ||
		r.message() != "This installation has been suspended" {
		t.Errorf("suspended: %d %s", r.status, r.text)
	}
	inst.Unsuspend()
	gh.SetIPAllowList("acme", true)
	if r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), ""); r.status != 403 ||
		!strings.Contains(r.message(), "`acme` organization has an IP allow list enabled") {
		t.Errorf("IP allow list: %d %s", r.status, r.text)
	}
	gh.SetIPAllowList("acme", false)
	inst.Uninstall()
	if r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), ""); r.status != 404 {
		t.Errorf("uninstalled: %d %s", r.status, r.text)
	}
	if again := app.Install("acme", githubtest.InstallOptions{}); again.ID == inst.ID {
		t.Error("an App installed anew has the old installation ID")
	}
}

func TestTokenFormats(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	classic := regexp.MustCompile(`^ghs_[0-9A-Za-z]{36}$`)
	stateless := regexp.MustCompile(fmt.Sprintf(`^ghs_%d_[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`, app.ID))
	for _, test := range []struct {
		format   githubtest.TokenFormat
		override string
		want     *regexp.Regexp
	}{
		{githubtest.Classic, "", classic},
		{githubtest.Classic, "enabled", stateless},
		{githubtest.Stateless, "", stateless},
		{githubtest.Stateless, "disabled", classic},
		{githubtest.Stateless, "true", stateless},
		{githubtest.Classic, "1", classic},
	} {
		gh.SetTokenFormat(test.format)
		r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), "", "X-GitHub-Stateless-S2S-Token", test.override)
		secret, _ := r.field("token").(string)
		if !test.want.MatchString(secret) {
			t.Errorf("format %v, override %q: %s", test.format, test.override, secret)
		}
		if test.want == stateless && (len(secret) < 480 || len(secret) > 560 || !strings.ContainsAny(secret[20:], "-")) {
			t.Errorf("%d characters: %s", len(secret), secret)
		}
		if r := ask(t, gh, "GET", "/installation/repositories", "Bearer "+secret, ""); r.status != 200 {
			t.Errorf("format %v: the token is refused: %s", test.format, r.text)
		}
	}
}

func TestTokenIsChecked(t *testing.T) {
	type world struct {
		gh   *githubtest.GitHub
		app  *githubtest.App
		inst *githubtest.Installation
	}
	const bad, forbidden = "Bad credentials", "Resource not accessible by integration"
	for _, test := range []struct {
		name    string
		change  func(world)
		status  int
		message string
	}{
		{"as it is", func(world) {}, 200, ""},
		{"just before expiry", func(w world) { w.gh.SetClockOffset(59 * time.Minute) }, 200, ""},
		{"expired", func(w world) { w.gh.SetClockOffset(time.Hour) }, 401, bad},
		{"revoked", func(w world) { w.gh.RevokeTokens() }, 401, bad},
		{"suspended", func(w world) { w.inst.Suspend() }, 403, "This installation has been suspended"},
		{"unsuspended", func(w world) { w.inst.Suspend(); w.inst.Unsuspend() }, 200, ""},
		{"uninstalled", func(w world) { w.inst.Uninstall() }, 401, bad},
		{"installed anew", func(w world) { w.inst.Uninstall(); w.app.Install("acme", githubtest.InstallOptions{All: true}) },
			401, bad},
		{"not selected any more", func(w world) { w.inst.Select() }, 404, "Not Found"},
		{"selected by name", func(w world) { w.inst.Select("acme/site") }, 200, ""},
		{"deleted", func(w world) { w.gh.DeleteRepository("acme/site") }, 404, "Not Found"},
		{"transferred away", func(w world) { w.gh.Transfer("acme/site", "octo") }, 404, "Not Found"},
		{"permission taken", func(w world) { w.inst.SetPermissions(map[string]string{"members": "read"}) }, 403, forbidden},
		{"lag", func(w world) { w.gh.SetPropagationDelay(time.Minute) }, 401, bad},
		{"lag of permissions", func(w world) {
			w.gh.SetPropagationDelay(time.Minute)
			w.gh.SetPropagationDelayStatus(403)
		}, 403, forbidden},
		{"after the lag", func(w world) { w.gh.SetPropagationDelay(time.Minute); w.gh.SetClockOffset(time.Minute) }, 200, ""},
		{"IP allow list", func(w world) {
			w.gh.SetIPAllowList("acme", true)
		}, 403, "Although you appear to have the correct authorization credentials, the `acme` organization has an IP " +
			"allow list enabled, and your IP address is not permitted to access this resource."},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := world{gh: newGitHub(t)}
			w.app = newApp(t, w.gh, githubtest.AppOptions{})
			w.gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
			w.inst = w.app.Install("acme", githubtest.InstallOptions{All: true})
			secret := mint(t, w.gh, w.app, w.inst, "")
			test.change(w)
			for _, scheme := range []string{"Bearer ", "token "} {
				r := ask(t, w.gh, "GET", "/repos/acme/site", scheme+secret, "")
				testkit.Equal(t, r.status, test.status)
				testkit.Equal(t, r.message(), test.message)
				if accepted := r.header.Get("X-Accepted-GitHub-Permissions"); (accepted == "metadata=read") !=
					(test.name == "permission taken") {
					t.Errorf("X-Accepted-GitHub-Permissions: %q", accepted)
				}
			}
		})
	}
}

func TestNarrowedTokenListsItsOwn(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	for _, name := range []string{"acme/a", "acme/b", "acme/c", "octo/d"} {
		gh.AddRepository(name, githubtest.RepositoryOptions{})
	}
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	names := func(secret string) (list []string, r reply) {
		r = ask(t, gh, "GET", "/installation/repositories", "Bearer "+secret, "")
		for _, repo := range r.field("repositories").([]any) {
			list = append(list, repo.(map[string]any)["full_name"].(string))
		}
		return list, r
	}
	all, r := names(mint(t, gh, app, inst, ""))
	if diff := cmp.Diff([]string{"acme/a", "acme/b", "acme/c"}, all); diff != "" ||
		r.field("repository_selection") != "all" || r.field("total_count") != 3.0 {
		t.Errorf("a token for all: %v %v\n%s", r.field("repository_selection"), r.field("total_count"), diff)
	}
	secret := mint(t, gh, app, inst, `{"repositories":["b"]}`)
	one, r := names(secret)
	if diff := cmp.Diff([]string{"acme/b"}, one); diff != "" || r.field("repository_selection") != "selected" {
		t.Errorf("a narrowed token: %v\n%s", r.field("repository_selection"), diff)
	}
	if r := ask(t, gh, "GET", "/repos/acme/a", "Bearer "+secret, ""); r.status != 404 {
		t.Errorf("a narrowed token sees another repository: %d", r.status)
	}
	infos := gh.Tokens()
	if len(infos) != 2 || infos[0].Repositories != nil ||
		cmp.Diff([]string{"acme/b"}, infos[1].Repositories) != "" || infos[1].Token != secret ||
		infos[1].InstallationID != inst.ID || infos[1].AppID != app.ID {
		t.Errorf("Tokens: %+v", infos)
	}
}

func TestRevoke(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	one, two := mint(t, gh, app, inst, ""), mint(t, gh, app, inst, "")
	r := ask(t, gh, "DELETE", "/installation/token", "Bearer "+one, "")
	if r.status != 204 || r.text != "" {
		t.Fatalf("got %d %q, want 204", r.status, r.text)
	}
	if r := ask(t, gh, "DELETE", "/installation/token", "Bearer "+one, ""); r.status != 401 ||
		r.message() != "Bad credentials" {
		t.Errorf("a second time: %d %q", r.status, r.message())
	}
	if r := ask(t, gh, "GET", "/installation/repositories", "Bearer "+two, ""); r.status != 200 {
		t.Errorf("the other token died too: %d", r.status)
	}
	if infos := gh.Tokens(); !infos[0].Revoked || infos[1].Revoked {
		t.Errorf("Tokens: %+v", infos)
	}
	if r := ask(t, gh, "DELETE", "/installation/token", "", ""); r.status != 401 ||
		r.message() != "Requires authentication" {
		t.Errorf("without a token: %d %q", r.status, r.message())
	}
}

func TestTokenLife(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	gh.SetTokenLife(5 * time.Second)
	r := ask(t, gh, "POST", mintPath(inst), bearer(t, app), "")
	var body struct {
		ExpiresAt time.Time `json:"expires_at"`
	}
	testkit.OK(t, json.Unmarshal([]byte(r.text), &body))
	if left := time.Until(body.ExpiresAt); left > 5*time.Second || left < 0 {
		t.Errorf("expires in %v, want at most 5 s", left)
	}
	gh.SetIPAllowList("acme", true)
	if r := ask(t, gh, "GET", "/installation/repositories", "Bearer "+r.field("token").(string),
		""); r.status != http.StatusForbidden {
		t.Errorf("behind an IP allow list: %d", r.status)
	}
	gh.SetIPAllowList("acme", false)
	gh.SetClockOffset(5 * time.Second)
	if r := ask(t, gh, "GET", "/installation/repositories", "Bearer "+r.field("token").(string),
		""); r.status != http.StatusUnauthorized {
		t.Errorf("after its life: %d", r.status)
	}
}
