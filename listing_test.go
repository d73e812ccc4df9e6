package ghapp_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestRepositoriesOfAToken(t *testing.T) {
	w := newWorld(t)
	w.Installation.SelectAll()
	w.GitHub.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true, Archived: true, DefaultBranch: "trunk"})
	for n := range 250 {
		w.GitHub.AddRepository(fmt.Sprintf("acme/r%03d", n), githubtest.RepositoryOptions{})
	}
	app := w.Open(t)
	seen := map[string]*ghapp.RepositoryInfo{}
	for r, err := range app.Repositories(t.Context(),
		mustToken(t, app, ghapp.TokenRequest{AllRepositories: true, Installation: "acme"})) {
		testkit.OK(t, err)
		seen[r.FullName] = r
	}
	if len(seen) != 253 || w.count("/installation/repositories") != 3 {
		t.Errorf("%d repositories in %d requests, want 253 in 3", len(seen), w.count("/installation/repositories"))
	}
	if r := seen["acme/open"]; r == nil || r.Visibility != "public" || !r.Archived || r.DefaultBranch != "trunk" ||
		r.ID == 0 || r.CloneURL != "https://github.com/acme/open.git" || r.PushedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	if r := seen["acme/site"]; r == nil || r.Visibility != "private" || r.Archived {
		t.Errorf("%+v", r)
	}
	n := 0
	for range app.Repositories(t.Context(), mustToken(t, app, site())) {
		n++
		break
	}
	testkit.Equal(t, n, 1, "repositories for a token of one")
}

func TestVisibilityWhereTheHostDoesNotTellIt(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	token := mustToken(t, app, site())
	w.fault(t, githubtest.Fault{Match: "GET /installation/repositories", Status: 200,
		Body: `{"repositories":[{"id":1,"private":true},{"id":2},{"id":3,"visibility":"internal","private":true}]}`})
	want := map[int64]string{1: "private", 2: "public", 3: "internal"}
	for r, err := range app.Repositories(t.Context(), token) {
		if err != nil || r.Visibility != want[r.ID] {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

func TestListingWaitsForAYoungToken(t *testing.T) {
	for _, status := range []int{401, 403} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.SetPropagationDelay(2 * time.Second)
			testkit.OK(t, w.GitHub.SetPropagationDelayStatus(status))
			app := w.Open(t)
			n := 0
			for r, err := range app.Repositories(t.Context(), mustToken(t, app, site())) {
				testkit.OK(t, err, "%d", status)
				if n++; r.FullName != "acme/site" {
					t.Errorf("%s", r.FullName)
				}
			}
			testkit.Equal(t, n, 1)
			testkit.Equal(t, w.GitHub.Mints(), 1)
		})
	}
}

func TestListingEndsAtTheFirstError(t *testing.T) {
	for skip, want := range []int{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Installation.SelectAll()
			for n := range 250 {
				w.GitHub.AddRepository(fmt.Sprint("acme/r", n), githubtest.RepositoryOptions{})
			}
			app := w.Open(t)
			token := mustToken(t, app, ghapp.TokenRequest{AllRepositories: true, Installation: "acme"})
			w.fault(t, githubtest.Fault{Match: "GET /installation/repositories", Status: 401,
				Skip: skip, Times: 4 - 3*min(skip, 1)})
			seen, failures := map[string]int{}, 0
			for r, err := range app.Repositories(t.Context(), token) {
				if err != nil {
					failures++
					wantKind(t, err, ghapp.ErrTokenRefused)
					continue
				}
				seen[r.FullName]++
			}
			testkit.Equal(t, failures, 1)
			testkit.Equal(t, len(seen), want)
			for name, n := range seen {
				testkit.Equal(t, n, 1, "%s came", name)
			}
		})
	}
}
