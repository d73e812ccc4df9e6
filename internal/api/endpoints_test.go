package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// calls are the methods and URLs of what was sent, without the API root.
func (w *wire) calls() []string {
	var list []string
	for _, m := range w.messages() {
		list = append(list, m.Method+" "+strings.TrimPrefix(m.URL, "https://ghes.example/api/v3"))
	}
	return list
}

func TestEndpoints(t *testing.T) {
	for name, test := range map[string]struct {
		call func(context.Context, *Client) error
		body string
		want string
	}{
		"App": {func(ctx context.Context, c *Client) error { _, err := c.App(ctx, asCanary); return err },
			theApp, "GET /app"},
		"Installation": {func(ctx context.Context,
			c *Client) error {
			_, err := c.Installation(ctx, asCanary, 5)
			return err
		}, `{"id":5}`, "GET /app/installations/5"},
		"AccountInstallation": {func(ctx context.Context, c *Client) error {
			_, err := c.AccountInstallation(ctx, asCanary, "acme")
			return err
		}, `{"id":5}`, "GET /users/acme/installation"},
		"RepositoryInstallation": {func(ctx context.Context, c *Client) error {
			_, _, err := c.RepositoryInstallation(ctx, asCanary, "acme", "site")
			return err
		}, `{"id":5}`, "GET /repos/acme/site/installation"},
		"escaped": {func(ctx context.Context, c *Client) error {
			_, _, err := c.RepositoryInstallation(ctx, asCanary, "a/../b", "x?y#z")
			return err
		}, `{"id":5}`, "GET /repos/a%2F..%2Fb/x%3Fy%23z/installation"},
		"CreateToken": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateToken(ctx, asCanary, 5, TokenScope{})
			return err
		}, `{}`, "POST /app/installations/5/access_tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{handler: says(200, test.body)}
			testkit.OK(t, test.call(t.Context(), newClient(t, w)))
			testkit.Diff(t, w.calls(), []string{test.want})
			testkit.Equal(t, w.messages()[0].Authorization, "Bearer "+canary, "Authorization")
		})
	}
}

func TestAccountInstallationServesUsersAndOrganizations(t *testing.T) {
	only := func(path string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v3"+path {
				says(404, `{"message":"Not Found"}`)(w, r)
				return
			}
			says(200,
				`{"id":5,"account":{"login":"acme"},"target_type":"Organization","suspended_at":"2026-11-01T00:00:00Z"}`)(w, r)
		}
	}
	w := &wire{handler: only("/orgs/acme/installation")}
	found, err := newClient(t, w).AccountInstallation(t.Context(), asCanary, "acme")
	if err != nil || found.ID != 5 || found.Account.Login != "acme" ||
		!found.SuspendedAt.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, %v", found, err)
	}
	testkit.Diff(t, w.calls(), []string{"GET /users/acme/installation", "GET /orgs/acme/installation"})
	// Only 404 leads on: a refusal is a refusal.
	refusing := &wire{handler: says(401, `{"message":"A JSON web token could not be decoded"}`)}
	if _, err := newClient(t, refusing).AccountInstallation(t.Context(), asCanary, "acme"); !IsStatus(err, 401) ||
		len(refusing.messages()) != 1 {
		t.Errorf("error %v after %d requests", err, len(refusing.messages()))
	}
}

func TestRepositoryThatMovedIsKnownByItsID(t *testing.T) {
	w := &wire{handler: onceAt("/api/v3/repos/acme/old/installation", 301,
		"https://ghes.example/api/v3/repositories/4711/installation", `{"id":5}`)}
	c := newClient(t, w)
	found, id, err := c.RepositoryInstallation(t.Context(), asCanary, "acme", "old")
	if err != nil || found.ID != 5 || id != 4711 {
		t.Errorf("%+v, %d, %v", found, id, err)
	}
	if _, id, err = c.RepositoryInstallation(t.Context(), asCanary, "acme", "new"); err != nil || id != 0 {
		t.Errorf("a repository that has not moved: ID %d, %v", id, err)
	}
}

func TestScopeOfAMintIsSentAsItIs(t *testing.T) {
	for want, scope := range map[string]TokenScope{
		`{"repositories":["site"],"permissions":{"contents":"read"}}`: {Repositories: []string{"site"},
			Permissions: map[string]string{"contents": "read"}},
		`{"repository_ids":[7]}`: {RepositoryIDs: []int64{7}},
		`{}`:                     {},
	} {
		w := &wire{handler: says(201,
			`{"token":"t","expires_at":"2026-11-22T11:00:00Z","permissions":{"contents":"read"},"repository_selection":"selected","repositories":[{"id":7,"full_name":"acme/site"}]}`)}
		grant := testkit.Must(newClient(t, w).CreateToken(t.Context(), asCanary, 5, scope))(t)
		if got := w.messages()[0]; got.Body != want || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("body %s, want %s", got.Body, want)
		}
		wantGrant := &Grant{Token: "t", ExpiresAt: time.Date(2026, 11, 22, 11, 0, 0, 0,
			time.UTC), Permissions: map[string]string{"contents": "read"},
			RepositorySelection: "selected", Repositories: []Repository{{ID: 7, FullName: "acme/site"}}}
		testkit.Diff(t, grant, wantGrant)
	}
}

func TestRevokeSucceedsOnlyWhereGitHubSaysSo(t *testing.T) {
	w := &wire{handler: says(204, "")}
	testkit.OK(t, newClient(t, w).RevokeToken(t.Context(), secret.New(canary)))
	if m := w.messages()[0]; m.Authorization != "token "+canary || m.Method != "DELETE" ||
		m.URL != "https://ghes.example/api/v3/installation/token" {
		t.Errorf("sent %s %s with %q", m.Method, m.URL, m.Authorization)
	}
	for status, body := range map[int]string{200: "<html>Please log in to the network", 202: "{}",
		401: `{"message":"Bad credentials"}`} {
		err := newClient(t, &wire{handler: says(status, body)}).RevokeToken(t.Context(), secret.New(canary))
		testkit.Fails(t, err, "%d counts as revoked", status)
		if status == 401 && !IsStatus(err, 401) {
			t.Errorf("error %v, want GitHub's 401", err)
		}
	}
}

// paged serves total installations, by pages of per_page.
func paged(total int, link func(r *http.Request, next int) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var number, size int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &number)
		_, _ = fmt.Sscan(r.URL.Query().Get("per_page"), &size)
		number = max(number, 1)
		list := []map[string]int{}
		for id := (number-1)*size + 1; id <= min(number*size, total); id++ {
			list = append(list, map[string]int{"id": id})
		}
		if number*size < total {
			w.Header().Set("Link", link(r, number+1))
		}
		_ = json.NewEncoder(w).Encode(list)
	}
}

func absolute(r *http.Request, next int) string {
	return fmt.Sprintf(`<https://ghes.example%s?per_page=%s&page=%d>; rel="next"`, r.URL.Path,
		r.URL.Query().Get("per_page"), next)
}

// drain reads a listing to its end.
func drain[T any](seq iter.Seq2[*T, error]) (list []*T, err error) {
	for item, err := range seq {
		if err != nil {
			return list, err
		}
		list = append(list, item)
	}
	return list, nil
}

func TestAllPagesAreReadOnce(t *testing.T) {
	w := &wire{handler: paged(250, absolute)}
	list := testkit.Must(drain(newClient(t, w).Installations(t.Context(), asCanary)))(t)
	for i, found := range list {
		if found.ID != int64(i+1) {
			t.Fatalf("installation %d is number %d", found.ID, i+1)
		}
	}
	if len(list) != 250 || len(w.messages()) != 3 {
		t.Errorf("%d installations in %d requests, want 250 in 3", len(list), len(w.messages()))
	}
}

func TestReaderMayStopEarly(t *testing.T) {
	w := &wire{handler: paged(250, absolute)}
	for range newClient(t, w).Installations(t.Context(), asCanary) {
		break
	}
	testkit.Equal(t, len(w.messages()), 1, "requests")
}

func TestPagesThatGoInCirclesEndInAnError(t *testing.T) {
	w := &wire{handler: paged(250, func(r *http.Request, next int) string { return absolute(r, min(next, 2)) })}
	list, err := drain(newClient(t, w).Installations(t.Context(), asCanary))
	if _, ok := errors.AsType[*BodyError](err); !ok || len(w.messages()) > 3 {
		t.Errorf("%d installations in %d requests, error %v; an incomplete list is no success",
			len(list), len(w.messages()), err)
	}
}

func TestLinkToAnotherHostIsNeverFollowed(t *testing.T) {
	for _, target := range elsewhere {
		w := &wire{handler: says(200, `[{"id":1}]`, "Link", "<"+target+`>; rel="next"`)}
		list, err := drain(newClient(t, w).Installations(t.Context(), asCanary))
		if _, ok := errors.AsType[*RedirectError](err); !ok || len(list) != 1 || len(w.messages()) != 1 {
			t.Errorf("%s: %d installations, %d requests, error %v", target, len(list), len(w.messages()), err)
		}
	}
}

func TestTwoSlashesDoNotNameAHost(t *testing.T) {
	// On github.com the API root has no path of its own, so that a path with two
	// slashes at its start would be a reference to another host if it were resolved.
	for _, root := range []string{"https://api.github.com", "https://ghes.example/api/v3"} {
		w := &wire{handler: func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/app/installations") {
				w.Header().Set("Link", "<"+root+`//evil.example/x>; rel="next"`)
			}
			says(200, `[{"id":1}]`)(w, r)
		}}
		c := newClient(t, w, func(o *Options) { o.Host.API = root })
		testkit.Must(drain(c.Installations(t.Context(), asCanary)))(t)
		for _, m := range w.messages() {
			if u, err := url.Parse(m.URL); err != nil || !strings.HasPrefix(root, "https://"+u.Host) {
				t.Errorf("%q went to %s", m.Authorization, m.URL)
			}
		}
	}
}

func TestErrorInTheMiddleOfAListing(t *testing.T) {
	w := &wire{}
	w.handler = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "2" {
			says(404, `{"message":"Not Found"}`)(rw, r)
			return
		}
		paged(250, absolute)(rw, r)
	}
	list, err := drain(newClient(t, w).Installations(t.Context(), asCanary))
	if !IsStatus(err, 404) || len(list) != 100 {
		t.Errorf("%d installations, error %v", len(list), err)
	}
}

func TestListWithNothingInItsPlaces(t *testing.T) {
	w := &wire{handler: says(200, `[null,{"id":2}]`)}
	list, err := drain(newClient(t, w).Installations(t.Context(), asCanary))
	if err != nil || len(list) != 2 || list[0] == nil || list[1].ID != 2 {
		t.Errorf("%v, %v", list, err)
	}
	repositories, err := drain(newClient(t, &wire{handler: says(200,
		`{"repositories":[null,{"id":2,"full_name":"acme/site","private":true,"pushed_at":null}]}`)}).Repositories(
		t.Context(), secret.New(canary)))
	if err != nil || len(repositories) != 2 || repositories[0] == nil || repositories[1].FullName != "acme/site" {
		t.Errorf("%v, %v", repositories, err)
	}
}
