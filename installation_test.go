package ghapp_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestEveryFormOfAnInstallationIsUnderstood(t *testing.T) {
	for _, host := range []string{"github.com", "git.acme.example", "acme.ghe.com", "git.acme.example:8443"} {
		w := newWorld(t)
		id := w.Installation.ID
		app := w.Open(t, func(c *ghapp.Config) { c.Host = host })
		for _, of := range []string{
			"acme", "ACME", " acme\n", "acme/site", "Acme/Site", "acme/site.git",
			"https://HOST/acme/site", "https://HOST/acme/site.git", "git@HOST:acme/site.git", "ssh://git@HOST/acme/site.git",
			fmt.Sprint(id),
			fmt.Sprintf("https://HOST/settings/installations/%d", id),
			fmt.Sprintf("https://HOST/settings/installations/%d/", id),
			fmt.Sprintf("https://HOST/organizations/acme/settings/installations/%d", id),
			fmt.Sprintf("https://HOST/apps/deployer/installations/%d", id),
			fmt.Sprintf("https://HOST/github-apps/deployer/installations/%d", id),
			fmt.Sprintf("https://HOST/enterprises/acme/settings/installations/%d", id),
			fmt.Sprintf("https://HOST/organizations/acme/settings/installations/%d?tab=x#permissions", id),
			fmt.Sprintf("HOST/settings/installations/%d", id),
			fmt.Sprintf(" https://HOST/settings/installations/%d \n", id),
		} {
			name := host
			if strings.HasPrefix(of, "git@") || strings.HasPrefix(of, "ssh:") {
				if strings.Contains(host, ":") {
					continue // the port of an ssh URL is not that of the web
				}
			}
			of = strings.ReplaceAll(of, "HOST", name)
			found, err := app.FindInstallation(t.Context(), of)
			if err != nil {
				t.Errorf("%q: %v", of, err)
				continue
			}
			if found.ID != id || found.Account != "acme" || found.AccountType != "Organization" || found.AllRepositories ||
				found.AppID != w.Registration.ID ||
				found.AppSlug != w.Registration.Slug || !found.SuspendedAt.IsZero() ||
				found.Permissions["contents"] != "read" || found.URL == "" {
				t.Errorf("%q: %+v", of, found)
			}
		}
	}
}

func TestInstallationOnAnotherHostIsRefused(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	for _, of := range []string{
		"https://git.acme.example/settings/installations/5", "https://github.com.evil.example/settings/installations/5",
		"evil.example/settings/installations/5",
		"https://github.com@evil.example/settings/installations/5", "https://github.com:8443/settings/installations/5",
		"https://acme.ghe.com/acme/site", "git@git.acme.example:acme/site.git",
		"ssh://git@notssh.github.com/acme/site", "ssh://git@ssh.github.com.evil.example/acme/site",
	} {
		_, err := app.FindInstallation(t.Context(), of)
		wantKind(t, err, ghapp.ErrWrongHost)
	}
	testkit.Equal(t, len(w.calls()), 0, "requests")
}

func TestWhatNamesNoInstallation(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	for _, of := range []string{
		"", " ", "0", "00", "99999999999999999999", "-5", "a b", "acme/site/tree/main",
		"https://github.com/settings/installations/", "https://github.com/apps/deployer/installations/new",
		"https://github.com/settings/installations/5/x", "https://github.com/settings/installations/x5",
		"https://github.com/organizations/acme/settings/installations/%zz",
		"acme\x1b[31m", "ac..me", "acmé", "-acme", "http://github.com:81/acme/site",
		"ftp://github.com/acme/site", "https://github.com/acme",
	} {
		_, err := app.FindInstallation(t.Context(), of)
		wantKind(t, err, ghapp.ErrInvalid)
		testkit.Lacks(t, err.Error(), "\x1b")
	}
	testkit.Equal(t, len(w.calls()), 0, "requests")
}

func TestNotInstalledIsTyped(t *testing.T) {
	w := newWorld(t)
	w.GitHub.AddAccount("other", githubtest.Organization)
	w.GitHub.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	app := w.Open(t)
	for _, of := range []string{"other", "nobody", "acme/hidden", "acme/nothing", "other/site", "99",
		"https://github.com/settings/installations/99"} {
		_, err := app.FindInstallation(t.Context(), of)
		e := wantKind(t, err, ghapp.ErrNotInstalled)
		if e.Status != 404 || !strings.Contains(e.Error(), "cannot find the installation of ") {
			t.Errorf("%s: error %q", of, e)
		}
	}
}

func TestUserAndOrganizationAreFoundAlike(t *testing.T) {
	w := newWorld(t)
	w.GitHub.AddAccount("octocat", githubtest.User)
	w.Registration.Install("octocat", githubtest.InstallOptions{All: true})
	found, err := w.Open(t).FindInstallation(t.Context(), "octocat")
	if err != nil || found.AccountType != "User" || !found.AllRepositories {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestNeverTheFirstInstallation(t *testing.T) {
	// The App has exactly one installation, but not on the owner asked for.
	w := newWorld(t)
	app := w.Open(t)
	_, err := app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"other/site"}})
	wantKind(t, err, ghapp.ErrNotInstalled)
	if n := w.count("/app/installations"); n != 0 || w.GitHub.Mints() != 0 {
		t.Errorf("%d listings, %d mints", n, w.GitHub.Mints())
	}
}

func TestOneLookupServesAllRepositoriesOfAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Installation.SelectAll()
		w.fault(t, githubtest.Fault{Match: "GET /users/*/installation", Delay: time.Second})
		app := w.Open(t)
		var group sync.WaitGroup
		for n := range 20 {
			w.GitHub.AddRepository(fmt.Sprint("acme/r", n), githubtest.RepositoryOptions{})
			group.Go(func() { mustToken(t, app, ghapp.TokenRequest{Repositories: []string{fmt.Sprint("Acme/R", n)}}) })
		}
		group.Wait()
		mustToken(t, app, ghapp.TokenRequest{Repositories: []string{"acme/site", "acme/docs"}})
		mustToken(t, app, ghapp.TokenRequest{AllRepositories: true, Installation: "ACME"})
		testkit.Equal(t, w.count(lookUps), 1, "lookups for 22 tokens of one owner")
		time.Sleep(25 * time.Hour)
		mustToken(t, app, site())
		testkit.Equal(t, w.count(lookUps), 2, "lookups after a day")
	})
}

func TestLookupThatLandedMeanwhileIsNotMadeAgain(t *testing.T) {
	// One caller still reads the store when another's lookup lands.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &hesitantStore{Store: newMemory(), pauses: []time.Duration{time.Minute}}
		app := w.Open(t, func(c *ghapp.Config) { c.Store = store })
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { mustToken(t, app, ghapp.TokenRequest{AllRepositories: true, Installation: "acme"}) })
			synctest.Wait()
		}
		group.Wait()
		testkit.Equal(t, w.count(lookUps), 1, "lookups")
	})
}

// hesitantStore reads at once, and hands over only after a pause while there are any.
type hesitantStore struct {
	ghapp.Store
	mu     sync.Mutex
	pauses []time.Duration
}

func (s *hesitantStore) Get(ctx context.Context, key string) ([]byte, error) {
	entry, err := s.Store.Get(ctx, key)
	s.mu.Lock()
	var pause time.Duration
	if len(s.pauses) > 0 {
		pause, s.pauses = s.pauses[0], s.pauses[1:]
	}
	s.mu.Unlock()
	time.Sleep(pause)
	return entry, err
}

func TestFirstTokenTakesTwoCallsAndALaterOneNone(t *testing.T) {
	w := newWorld(t)
	store := newMemory()
	share := func(c *ghapp.Config) { c.Store = store }
	app := w.Open(t, share)
	mustToken(t, app, site())
	want := []string{"GET /users/acme/installation",
		fmt.Sprintf("POST /app/installations/%d/access_tokens", w.Installation.ID)}
	testkit.Diff(t, w.calls(), want)
	mustToken(t, app, site())
	mustToken(t, w.Open(t, share), site())
	if n := len(w.calls()); n != 2 {
		t.Errorf("%d calls later", n-2)
	}
}

func TestReinstalledAppIsFoundAnew(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			w := newWorld(t)
			store := newMemory()
			share := func(c *ghapp.Config) {
				if stored {
					c.Store = store
				}
			}
			app := w.Open(t, share)
			old := mustToken(t, app, site())
			w.Installation.Uninstall()
			w.Installation = w.Registration.Install("acme", githubtest.InstallOptions{Repositories: []string{"site", "docs"}})
			if stored {
				app = w.Open(t, share) // the next process believes what the last one wrote
			}
			w.GitHub.ResetRequests()
			token := mustToken(t, app, ghapp.TokenRequest{Repositories: []string{"acme/docs"}})
			if token.Installation != w.Installation.ID || token.Installation == old.Installation {
				t.Errorf("installation %d, want %d", token.Installation, w.Installation.ID)
			}
			if lookups, tries := w.count(lookUps), w.count(mints); lookups != 1 || tries != 2 {
				t.Errorf("%d lookups and %d mints, want 1 and 2: %v", lookups, tries, w.calls())
			}
			// And remembered.
			w.GitHub.ResetRequests()
			mustToken(t, w.Open(t, share), ghapp.TokenRequest{Repositories: []string{"acme/docs"}})
			if n := len(w.calls()); stored && n != 0 {
				t.Errorf("the next process makes %d calls", n)
			}
		})
	}
	t.Run("gone for good", func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		mustToken(t, app, site())
		w.Installation.Uninstall()
		_, err := app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/docs"}})
		wantKind(t, err, ghapp.ErrNotInstalled)
	})
	t.Run("named by its number", func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		w.Installation.Uninstall()
		r := site()
		r.Installation = fmt.Sprint(w.Installation.ID)
		_, err := app.Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrNotInstalled)
	})
}

func TestMissIsRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		r := ghapp.TokenRequest{AllRepositories: true, Installation: "other"}
		for range 20 {
			_, err := app.Token(t.Context(), r)
			wantKind(t, err, ghapp.ErrNotInstalled)
		}
		if n := len(w.calls()); n != 2 { // users, then orgs
			t.Errorf("%d requests for 20 misses in a row, want 2", n)
		}
		w.Registration.Install("other", githubtest.InstallOptions{All: true})
		time.Sleep(9 * time.Second)
		_, err := app.Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrNotInstalled)
		time.Sleep(2 * time.Second)
		mustToken(t, app, r) // eleven seconds after the first miss
	})
}

func TestFailedLookupIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 })
	w.fault(t, githubtest.Fault{Match: "GET /users/*/installation", Status: 502, Times: 1})
	_, err := app.Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrUnreachable)
	mustToken(t, app, site())
}

func TestSuspendedInstallationIsNamed(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	w.Installation.Suspend()
	found, err := app.FindInstallation(t.Context(), "acme")
	if err != nil || found.SuspendedAt.IsZero() {
		t.Errorf("%+v, %v", found, err)
	}
	_, err = app.Token(t.Context(), site())
	if e := wantKind(t, err, ghapp.ErrSuspended); !strings.Contains(e.Error(), "suspended since 20") ||
		w.count(mints) != 0 {
		t.Errorf("error %q after %d attempts to mint", e, w.count(mints))
	}
	byNumber := site()
	byNumber.Installation = fmt.Sprint(w.Installation.ID)
	for _, r := range []ghapp.TokenRequest{site(), byNumber} {
		_, err = app.Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrSuspended)
	}
	// As soon as that ends it works: a suspension is not remembered.
	w.Installation.Unsuspend()
	mustToken(t, app, site())
	// Suspended after it was found.
	w.Installation.Suspend()
	_, err = app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/docs"}})
	wantKind(t, err, ghapp.ErrSuspended)
}

func TestEnterpriseInstallationIsNamed(t *testing.T) {
	w := newWorld(t)
	w.GitHub.AddAccount("acme-corp", githubtest.Enterprise)
	enterprise := w.Registration.Install("acme-corp", githubtest.InstallOptions{All: true})
	app := w.Open(t)
	found, err := app.FindInstallation(t.Context(), fmt.Sprint(enterprise.ID))
	if err != nil || found.Account != "acme-corp" || found.AccountType != "Enterprise" {
		t.Errorf("%+v, %v", found, err)
	}
	r := site()
	r.Installation = fmt.Sprint(enterprise.ID)
	_, err = app.Token(t.Context(), r)
	e := wantKind(t, err, ghapp.ErrEnterprise)
	if !strings.Contains(e.Error(), "organization") {
		t.Errorf("error %q names no way out", e)
	}
}

func TestRepositoryThatMovedIsFollowedByItsID(t *testing.T) {
	for name, move := range map[string]func(*testing.T, *world){
		"renamed": func(t *testing.T, w *world) {
			testkit.OK(t, w.GitHub.Rename("acme/site", "shop"))
		},
		"transferred": func(t *testing.T, w *world) {
			testkit.OK(t, w.GitHub.Transfer("acme/site", "globex"))
			w.Registration.Install("globex", githubtest.InstallOptions{Repositories: []string{"site"}})
		},
		"transferred from an owner without an installation": func(t *testing.T, w *world) {
			w.Installation.Uninstall()
			testkit.OK(t, w.GitHub.Transfer("acme/site", "globex"))
			w.Registration.Install("globex", githubtest.InstallOptions{Repositories: []string{"site"}})
		},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", owner known ", known), func(t *testing.T) {
				w := newWorld(t)
				app := w.Open(t)
				if known {
					mustToken(t, app, ghapp.TokenRequest{Repositories: []string{"acme/docs"}})
				}
				id := w.GitHub.Repository("acme/site").ID
				move(t, w)
				token := mustToken(t, app, site())
				minted := w.GitHub.Tokens()[w.GitHub.Mints()-1]
				moved := map[bool]string{true: "acme/shop", false: "globex/site"}[name == "renamed"]
				if diff := cmp.Diff([]string{moved}, token.Repositories); diff != "" || len(minted.Repositories) != 1 {
					t.Errorf("repositories (-want +got):\n%s", diff)
				}
				requests := w.GitHub.Requests()
				if body, want := requests[len(requests)-1].Body,
					fmt.Sprintf(`{"repository_ids":[%d],"permissions":{"contents":"read"}}`, id); body != want {
					t.Errorf("body %s, want %s", body, want)
				}
				// It is remembered, and the token is cached.
				w.GitHub.ResetRequests()
				if again := mustToken(t, app, site()); again != token || len(w.calls()) != 0 {
					t.Errorf("requests of the second call: %v", w.calls())
				}
			})
		}
	}
}

func TestRepositoryThatIsNotSelectedIsNamed(t *testing.T) {
	w := newWorld(t)
	w.GitHub.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	app := w.Open(t)
	for range 2 { // the second time with the owner remembered
		for _, name := range []string{"acme/hidden", "acme/nothing"} {
			_, err := app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{name}})
			e := wantKind(t, err, ghapp.ErrRepositoryNotSelected)
			testkit.Diff(t, detail[ghapp.RepositoryError](e).Repositories, []string{name})
		}
	}
	_, err := app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site", "acme/nothing"}})
	wantKind(t, err, ghapp.ErrRepositoryNotSelected)
}

func TestInstallationWithoutAnIDIsNone(t *testing.T) {
	for _, body := range []string{"{}", "null", `{"id":0}`} {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: "GET /users/*/installation", Status: 200, Body: body})
		_, err := w.Open(t).Token(t.Context(), site())
		wantKind(t, err, ghapp.ErrUnreachable)
		testkit.Equal(t, w.count(mints), 0, "%s", body)
	}
}

func TestDamagedMemoryOfALookupIsLookedUpAnew(t *testing.T) {
	w := newWorld(t)
	store := newMemory()
	share := func(c *ghapp.Config) { c.Store = store }
	mustToken(t, w.Open(t, share), site())
	for _, damage := range []string{"", "{", "null", "[]", `{"installation":0}`, `{"installation":5}`,
		`{"installation":5,"found_at":"2999-01-01T00:00:00Z"}`, "\x00\xff"} {
		store.each(func([]byte) []byte { return []byte(damage) })
		w.GitHub.ResetRequests()
		if token := mustToken(t, w.Open(t, share), site()); token.Installation != w.Installation.ID ||
			w.count(lookUps) != 1 || w.count(mints) != 1 {
			t.Errorf("%q: installation %d, requests %v", damage, token.Installation, w.calls())
		}
	}
}
