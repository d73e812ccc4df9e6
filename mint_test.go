package ghapp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// mintBodies are the bodies of the mints so far.
func (w *world) mintBodies() []string {
	var list []string
	for _, r := range w.GitHub.Requests() {
		if strings.HasSuffix(r.Path, mints) {
			list = append(list, r.Body)
		}
	}
	return list
}

func TestScopeOfATokenIsTheLeastThatDoes(t *testing.T) {
	for name, test := range map[string]struct {
		request ghapp.TokenRequest
		want    string
	}{
		"default": {site(), `{"repositories":["site"],"permissions":{"contents":"read"}}`},
		"two": {ghapp.TokenRequest{Repositories: []string{"ACME/Site", "acme/docs"}},
			`{"repositories":["docs","site"],"permissions":{"contents":"read"}}`},
		"permissions": {ghapp.TokenRequest{Repositories: []string{"acme/site"},
			Permissions: ghapp.Permissions{"metadata": "read"}}, `{"repositories":["site"],"permissions":{"metadata":"read"}}`},
		"everything": {ghapp.TokenRequest{AllRepositories: true, Installation: "acme", AllPermissions: true}, `{}`},
		"all to read": {ghapp.TokenRequest{AllRepositories: true, Installation: "acme"},
			`{"permissions":{"contents":"read"}}`},
		"all rights": {ghapp.TokenRequest{Repositories: []string{"acme/site"}, AllPermissions: true},
			`{"repositories":["site"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mustToken(t, w.Open(t), test.request)
			testkit.Diff(t, w.mintBodies(), []string{test.want})
		})
	}
}

// rewriting changes the bodies of GitHub's mints on their way.
func rewriting(w *world, change func(grant map[string]any)) http.RoundTripper {
	return roundTrips(func(req *http.Request) (*http.Response, error) {
		answer, err := w.GitHub.RoundTripper().RoundTrip(req)
		if err != nil || !strings.HasSuffix(req.URL.Path, mints) || answer.StatusCode != http.StatusCreated {
			return answer, err
		}
		var grant map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&grant); err != nil {
			return nil, err
		}
		change(grant)
		text, err := json.Marshal(grant)
		if err != nil {
			return nil, err
		}
		answer.Body = readCloser{bytes.NewReader(text)}
		return answer, nil
	})
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func TestMoreThanWasAskedForIsRefusedAndRevoked(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another permission": func(g map[string]any) {
			g["permissions"] = map[string]string{"contents": "read", "issues": "read"}
		},
		"a higher level":   func(g map[string]any) { g["permissions"] = map[string]string{"contents": "write"} },
		"an unknown level": func(g map[string]any) { g["permissions"] = map[string]string{"contents": "owner"} },
		"more than metadata: read": func(g map[string]any) {
			g["permissions"] = map[string]string{"contents": "read", "metadata": "write"}
		},
		"permissions left out":  func(g map[string]any) { delete(g, "permissions") },
		"permissions empty":     func(g map[string]any) { g["permissions"] = map[string]string{} },
		"permissions null":      func(g map[string]any) { g["permissions"] = nil },
		"selection all":         func(g map[string]any) { g["repository_selection"] = "all" },
		"all, none named":       func(g map[string]any) { g["repository_selection"] = "all"; delete(g, "repositories") },
		"repositories left out": func(g map[string]any) { delete(g, "repositories") },
		"repositories empty":    func(g map[string]any) { g["repositories"] = []any{} },
		"another repository": func(g map[string]any) {
			g["repositories"] = append(g["repositories"].([]any), map[string]any{"id": 5, "full_name": "acme/secret"})
		},
		"a namesake": func(g map[string]any) {
			g["repositories"] = []any{map[string]any{"id": 5, "full_name": "globex/site"}}
		},
		"a repository without a name": func(g map[string]any) { g["repositories"] = []any{map[string]any{"id": 5}} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := newMemory()
			app := w.Open(t, func(c *ghapp.Config) { c.Transport, c.Store = rewriting(w, change), store })
			token, err := app.Token(t.Context(), site())
			e := wantKind(t, err, ghapp.ErrTooBroad)
			if token != nil || !strings.Contains(e.Error(), "acme/site") {
				t.Errorf("token %v, error %q", token, e)
			}
			if minted := w.GitHub.Tokens(); len(minted) != 1 || !minted[0].Revoked {
				t.Error("the token was not revoked")
			} else if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), minted[0].Token) {
				t.Error("the error holds the token")
			}
			store.each(func(entry []byte) []byte {
				if bytes.Contains(entry, []byte("ghs_")) {
					t.Error("the token was stored")
				}
				return entry
			})
		})
	}
}

func TestTokenIsNotBelievedToLiveForYears(t *testing.T) {
	for said, most := range map[string]time.Duration{"2099-01-01T00:00:00Z": time.Hour,
		"9999-12-31T23:59:59Z": time.Hour} {
		w := newWorld(t)
		token := mustToken(t, w.Open(t, func(c *ghapp.Config) {
			c.Transport = rewriting(w, func(g map[string]any) { g["expires_at"] = said })
		}), site())
		if life := token.Life(); life > most || life < most-time.Minute {
			t.Errorf("a token that is said to end at %s lives %s", said, life)
		}
	}
	w := newWorld(t)
	_, err := w.Open(t, func(c *ghapp.Config) {
		c.Transport = rewriting(w, func(g map[string]any) { g["expires_at"] = "1970-01-01T00:00:00Z" })
	}).Token(t.Context(), site())
	if e := wantKind(t, err, ghapp.ErrUnreachable); !strings.Contains(e.Error(), "had run out when it came") ||
		!w.GitHub.Tokens()[0].Revoked {
		t.Errorf("error %q, revoked %t", e, w.GitHub.Tokens()[0].Revoked)
	}
}

func TestOvergrantOfTheStandInIsRefused(t *testing.T) {
	for name, o := range map[string]githubtest.Overgrant{
		"permissions":  {Permissions: map[string]string{"administration": "write"}},
		"repositories": {AllRepositories: true},
	} {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Overgrant: &o})
		_, err := w.Open(t).Token(t.Context(), site())
		e := wantKind(t, err, ghapp.ErrTooBroad)
		if name == "permissions" && (detail[ghapp.PermissionError](e).Granted["administration"] != "write" ||
			detail[ghapp.PermissionError](e).Wanted.String() != "contents:read") {
			t.Errorf("wanted %v, granted %v", detail[ghapp.PermissionError](e).Wanted, detail[ghapp.PermissionError](e).Granted)
		}
		if !w.GitHub.Tokens()[0].Revoked {
			t.Errorf("%s: not revoked", name)
		}
	}
}

func TestTooBroadTokenThatCannotBeRevokedIsToldOf(t *testing.T) {
	w := newWorld(t)
	w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Overgrant: &githubtest.Overgrant{AllRepositories: true}})
	w.fault(t, githubtest.Fault{Match: "DELETE /installation/token", Status: 502})
	_, err := w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 }).Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrTooBroad)
	testkit.ErrorContains(t, err, "could not be revoked", "502")
}

func TestLessThanWasAskedForIsRefused(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t, func(c *ghapp.Config) {
		c.Transport = rewriting(w, func(g map[string]any) { g["permissions"] = map[string]string{"metadata": "read"} })
	})
	_, err := app.Token(t.Context(), site())
	e := wantKind(t, err, ghapp.ErrPermission)
	if detail[ghapp.PermissionError](e).Wanted.String() != "contents:read" ||
		detail[ghapp.PermissionError](e).Granted.String() != "metadata:read" {
		t.Errorf("wanted %v, granted %v", detail[ghapp.PermissionError](e).Wanted, detail[ghapp.PermissionError](e).Granted)
	}
}

func TestInstallationOfAnotherOwnerGivesNoNamesake(t *testing.T) {
	// globex has a repository of the same name, and the App is there too.
	w := newWorld(t)
	other := w.Registration.Install("globex", githubtest.InstallOptions{Repositories: []string{"site"}})
	app := w.Open(t)
	for _, installation := range []string{fmt.Sprint(other.ID),
		fmt.Sprintf("https://github.com/settings/installations/%d", other.ID)} {
		r := site()
		r.Installation = installation
		token, err := app.Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrTooBroad)
		testkit.Equal(t, token, nil)
	}
	for _, minted := range w.GitHub.Tokens() {
		if !minted.Revoked {
			t.Error("a token for the namesake was left alive")
		}
	}
}

func TestAnswerWithoutATokenIsNoToken(t *testing.T) {
	for _, body := range []string{`{}`, `null`, `{"token":"","expires_at":"2999-01-01T00:00:00Z"}`, `{"token":"ghs_x"}`,
		`{"expires_at":null,"permissions":{}}`} {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 201, Body: body})
		token, err := w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 }).Token(t.Context(), site())
		wantKind(t, err, ghapp.ErrUnreachable)
		testkit.Equal(t, token, nil, "%s: a token came", body)
	}
}

func TestPermissionThatIsNotGrantedIsNamed(t *testing.T) {
	w := newWorld(t)
	_, err := w.Open(t).Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"},
		Permissions: ghapp.Permissions{"contents": "write"}})
	e := wantKind(t, err, ghapp.ErrPermission)
	if detail[ghapp.PermissionError](e).Wanted.String() != "contents:write" ||
		detail[ghapp.PermissionError](e).Granted.String() != "contents:read,metadata:read" || e.Status != 422 {
		t.Errorf("wanted %v, granted %v: %v", detail[ghapp.PermissionError](e).Wanted,
			detail[ghapp.PermissionError](e).Granted, e)
	}
	// Whether the account has to accept it, or the App to ask for it, is told as well.
	if detail[ghapp.PermissionError](e).Asked.String() != "contents:read,metadata:read" || !strings.HasSuffix(
		detail[ghapp.PermissionError](e).Page, fmt.Sprintf("/settings/installations/%d", w.Installation.ID)) {
		t.Errorf("the App asks for %v, and it is accepted on %q", detail[ghapp.PermissionError](e).Asked,
			detail[ghapp.PermissionError](e).Page)
	}
}

// An installation that was named is told apart from one that was found.
func TestInstallationThatWasNamedIsTheCause(t *testing.T) {
	w := newWorld(t)
	other := w.Registration.Install("octo", githubtest.InstallOptions{})
	for name, test := range map[string]struct {
		installation, repository string
		kind                     ghapp.Kind
		named                    bool
	}{
		"gone":                 {"4711", "acme/site", ghapp.ErrNotInstalled, true},
		"of another account":   {fmt.Sprint(other.ID), "acme/site", ghapp.ErrRepositoryNotSelected, true},
		"right, not selected":  {fmt.Sprint(w.Installation.ID), "acme/hidden", ghapp.ErrRepositoryNotSelected, false},
		"found, not selected":  {"", "acme/hidden", ghapp.ErrRepositoryNotSelected, false},
		"found, not installed": {"", "globex/site", ghapp.ErrNotInstalled, false},
	} {
		_, err := w.Open(t).Token(t.Context(), ghapp.TokenRequest{Repositories: []string{test.repository},
			Installation: test.installation})
		if e := wantKind(t, err, test.kind); errors.Is(e, fault.ErrInstallationNamed) != test.named {
			t.Errorf("%s: %t: %v", name, errors.Is(e, fault.ErrInstallationNamed), err)
		}
	}
}

func TestErrorOfAMintIsNotTheStores(t *testing.T) {
	w := newWorld(t)
	var log logBuffer
	w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 403,
		Body: `{"message":"This installation has been suspended"}`})
	_, err := w.Open(t, func(c *ghapp.Config) { c.Store, c.Log = newMemory(), logTo(&log) }).Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrSuspended)
	if lines := log.lines("not shared"); len(lines) != 0 || w.count(mints) != 1 {
		t.Errorf("%d mints, log %v", w.count(mints), lines)
	}
}

func TestMintGoesToTheAPIWhateverTheAnswerNames(t *testing.T) {
	w := newWorld(t)
	evil := githubtest.NewRecorder()
	w.fault(t, githubtest.Fault{Match: "GET /users/*/installation", Status: 200, Body: fmt.Sprintf(
		`{"id":%d,"target_type":"Organization","access_tokens_url":"https://evil.example/x","repositories_url":"https://evil.example/y"}`,
		w.Installation.ID)})
	app := w.Open(t, func(c *ghapp.Config) {
		c.Transport = network{"https://api.github.com": w.GitHub, "https://evil.example": evil}
	})
	mustToken(t, app, site())
	testkit.Equal(t, len(evil.Requests()), 0, "requests went where the answer pointed")
}

func TestRenewedTokenTellsItsOwnGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Installation.SetPermissions(map[string]string{"contents": "read", "actions": "write"})
		w.Installation.Select("site", "docs")
		app := w.Open(t)
		r := ghapp.TokenRequest{AllRepositories: true, Installation: "acme", AllPermissions: true}
		first := mustToken(t, app, r)
		if first.Permissions["actions"] != "write" {
			t.Fatalf("permissions %v", first.Permissions)
		}
		w.Installation.SetPermissions(map[string]string{"contents": "read"})
		time.Sleep(2 * time.Hour)
		second := mustToken(t, app, r)
		testkit.Diff(t, second.Permissions, ghapp.Permissions{"contents": "read", "metadata": "read"})
		testkit.Equal(t, first.Permissions["actions"], "write", "the old token changed under those who hold it")
	})
}

func TestMintIsTriedAgain(t *testing.T) {
	for name, f := range map[string]githubtest.Fault{
		"502": {Status: 502}, "HTML 502": githubtest.HTML502(""), "reset": {Reset: true}, "cut": {CutAfter: 10},
		"slow": {Delay: 40 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			f.Match, f.Times = githubtest.MintPattern, 1
			w.fault(t, f)
			token := mustToken(t, w.Open(t), site())
			if token.Life() < 59*time.Minute || w.count(mints) != 2 {
				t.Errorf("%s: life %s after %d attempts", name, token.Life(), w.count(mints))
			}
		})
	}
}

func TestOnlyWhatTokensAreMadeOfIsHandedOut(t *testing.T) {
	for name, text := range map[string]string{
		"shell": "ghs_$(touch here)", "quotes": `ghs_"; true "`, "line break": "ghs_one\nghs_two", "NUL": "ghs_\x00",
		"64 KiB": "ghs_" + strings.Repeat("a", 64<<10), "other letters": "ghs_ä", "blank": "ghs_a b",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			body, err := json.Marshal(map[string]any{
				"token": text, "expires_at": time.Now().Add(time.Hour),
				"permissions":          map[string]string{"contents": "read", "metadata": "read"},
				"repository_selection": "selected", "repositories": []map[string]any{{"id": 1, "full_name": "acme/site"}},
			})
			testkit.OK(t, err)
			w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: http.StatusCreated, Body: string(body)})
			token, err := w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 }).Token(t.Context(), site())
			wantKind(t, err, ghapp.ErrUnreachable)
			if token != nil || err != nil && strings.Contains(err.Error(), text) {
				t.Errorf("it leaves: %v", err)
			}
		})
	}
}
