package fidelity

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v92/github"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// versioned names the API version of the world, where the client lets none be set.
type versioned struct {
	world *world
	base  http.RoundTripper
}

func (v versioned) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-GitHub-Api-Version", v.world.version)
	return v.base.RoundTrip(request)
}

// transport is what Go clients reach the stand-in by.
func (w *world) transport() http.RoundTripper { return versioned{w, w.server.Client().Transport} }

// appsTransport is ghinstallation's, for the App.
func (w *world) appsTransport() *ghinstallation.AppsTransport {
	apps := ghinstallation.NewAppsTransportFromPrivateKey(w.transport(), w.app.ID, w.key)
	apps.BaseURL = w.base()
	return apps
}

// gogithub is go-github over a transport that authorizes; nil is one that does not.
func (w *world) gogithub(t *testing.T, transport http.RoundTripper,
	options ...github.ClientOptionsFunc) *github.Client {
	t.Helper()
	if transport == nil {
		transport = w.transport()
	}
	base := w.base() + "/"
	client, err := github.NewClient(append(options, github.WithTransport(transport), github.WithURLs(&base, &base))...)
	testkit.OK(t, err)
	return client
}

// must gives the value of a call of go-github's.
func must[T any](t *testing.T) func(T, *github.Response, error) T {
	t.Helper()
	return func(value T, _ *github.Response, err error) T {
		t.Helper()
		testkit.OK(t, err)
		return value
	}
}

// gogithubWithToken is go-github with a token for everything.
func (w *world) gogithubWithToken(t *testing.T) *github.Client {
	t.Helper()
	token := must[*github.InstallationToken](t)(
		w.gogithub(t, w.appsTransport()).Apps.CreateInstallationToken(t.Context(), w.installation.ID, nil))
	return w.gogithub(t, nil, github.WithAuthToken(token.GetToken()))
}

func names(repositories []*github.Repository) []string {
	var list []string
	for _, r := range repositories {
		list = append(list, r.GetName())
	}
	return list
}

func TestGoGitHubFindsInstallations(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			manyInstallations(t, w)
			ctx, apps := t.Context(), w.gogithub(t, w.appsTransport()).Apps

			app := must[*github.App](t)(apps.Get(ctx, ""))
			if app.GetID() != w.app.ID || app.GetClientID() != w.app.ClientID || app.GetSlug() != w.app.Slug ||
				app.GetInstallationsCount() != 4 {
				t.Errorf("App %+v", app)
			}
			var accounts, asleep []string
			for installation, err := range apps.ListInstallationsIter(ctx, &github.ListOptions{PerPage: 1}) {
				testkit.OK(t, err)
				account := installation.GetAccount().GetLogin()
				accounts = append(accounts, account+" "+installation.GetTargetType())
				if installation.SuspendedAt != nil {
					asleep = append(asleep, account)
				}
			}
			if diff := cmp.Diff([]string{"acme Organization", "octocat User", " Enterprise", "sleepy Organization"},
				accounts); diff != "" {
				t.Error(diff)
			}
			testkit.Diff(t, asleep, []string{"sleepy"})
			_, page, err := apps.ListInstallations(ctx, &github.ListOptions{PerPage: 3})
			if err != nil || page.NextPage != 2 || page.LastPage != 2 || page.FirstPage != 0 || page.PrevPage != 0 {
				t.Errorf("page %+v, %v", page, err)
			}

			type find func() (*github.Installation, *github.Response, error)
			for name, find := range map[string]find{
				"ID": func() (*github.Installation, *github.Response, error) {
					return apps.GetInstallation(ctx, w.installation.ID)
				},
				"organization": func() (*github.Installation, *github.Response, error) {
					return apps.GetOrganizationInstallation(ctx, "acme")
				},
				"user": func() (*github.Installation, *github.Response, error) { return apps.GetUserInstallation(ctx, "acme") },
				"repository": func() (*github.Installation, *github.Response, error) {
					return apps.GetRepositoryInstallation(ctx, "acme", "site")
				},
				"repository by ID": func() (*github.Installation, *github.Response, error) {
					return apps.GetRepositoryInstallationByID(ctx, w.Repository("acme/site").ID)
				},
			} {
				found := must[*github.Installation](t)(find())
				if found.GetID() != w.installation.ID || found.GetAppID() != w.app.ID ||
					found.GetRepositorySelection() != "selected" ||
					found.GetPermissions().GetContents() != "write" {
					t.Errorf("installation by %s: %+v", name, found)
				}
			}
			w.verify(t)
		})
	}
}

func TestGoGitHubMints(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			ctx, apps := t.Context(), w.gogithub(t, w.appsTransport()).Apps
			site, docs := w.Repository("acme/site").ID, w.Repository("acme/docs").ID

			all := must[*github.InstallationToken](t)(apps.CreateInstallationToken(ctx, w.installation.ID, nil))
			if all.GetToken() == "" || all.Repositories != nil || all.GetPermissions().GetContents() != "write" {
				t.Errorf("token %+v", all)
			}
			if life := time.Until(all.GetExpiresAt().Time); life < 58*time.Minute || life > time.Hour {
				t.Errorf("token lives %s", life)
			}
			one := must[*github.InstallationToken](t)(apps.CreateInstallationToken(ctx, w.installation.ID,
				&github.InstallationTokenOptions{
					RepositoryIDs: []int64{site}, Permissions: &github.InstallationPermissions{Contents: new("read")},
				}))
			testkit.Diff(t, names(one.Repositories), []string{"site"})
			testkit.Equal(t, one.GetPermissions().GetContents(), "read")
			testkit.Equal(t, one.GetPermissions().GetMetadata(), "read")
			both := must[*github.InstallationToken](t)(apps.CreateInstallationTokenListRepos(ctx, w.installation.ID,
				&github.InstallationTokenListRepoOptions{
					RepositoryIDs: []int64{docs}, Repositories: []string{"site"},
				}))
			testkit.Diff(t, names(both.Repositories), []string{"site", "docs"})
			// The variant that always sends the list, and an empty one, which narrows
			// nothing.
			none := must[*github.InstallationToken](t)(apps.CreateInstallationTokenListRepos(ctx, w.installation.ID,
				&github.InstallationTokenListRepoOptions{
					RepositoryIDs: []int64{},
				}))
			if none.Repositories != nil {
				t.Errorf("an empty list narrowed the token to %v", names(none.Repositories))
			}
			reach := must[*github.ListRepositories](t)(
				w.gogithub(t, nil, github.WithAuthToken(none.GetToken())).Apps.ListRepos(ctx, nil))
			testkit.Equal(t, reach.GetTotalCount(), 2, "the token for an empty list reaches")
			list := w.verify(t, nullBody)
			testkit.Equal(t, string(list[len(list)-2].RequestBody), "{\"repository_ids\":[]}\n", "go-github sent")
		})
	}
}

func TestGoGitHubWorksWithAToken(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			w.installation.SelectAll()
			ctx, client := t.Context(), w.gogithubWithToken(t)

			var reach []string
			for repository, err := range client.Apps.ListReposIter(ctx, &github.ListOptions{PerPage: 3}) {
				testkit.OK(t, err)
				reach = append(reach, repository.GetFullName())
			}
			testkit.Diff(t, reach, []string{"acme/site", "acme/docs", "acme/private", "acme/public"})
			of := must[[]*github.Repository](t)(client.Repositories.ListByOrg(ctx, "acme",
				&github.RepositoryListByOrgOptions{Sort: "full_name"}))
			testkit.Diff(t, names(of), []string{"docs", "private", "public", "site"})
			rename(t, w)
			home := must[*github.Repository](t)(client.Repositories.Get(ctx, "acme", "site"))
			if home.GetFullName() != "acme/home" || home.GetCloneURL() != w.server.URL+"/acme/home.git" ||
				home.GetDefaultBranch() != "main" ||
				!home.GetPrivate() || !home.GetPermissions().GetPush() {
				t.Errorf("repository %+v", home)
			}
			core := must[*github.RateLimits](t)(client.RateLimit.Get(ctx)).GetCore()
			if core.Limit != 5000 || core.Remaining >= 5000 || core.Used != core.Limit-core.Remaining ||
				time.Until(core.Reset.Time) > time.Hour || time.Until(core.Reset.Time) < 58*time.Minute {
				t.Errorf("limits %+v", core)
			}
			if meta := must[*github.APIMeta](t)(client.Meta.Get(ctx)); meta.VerifiablePasswordAuthentication == nil {
				t.Errorf("meta %+v", meta)
			}
			if answer, err := client.Apps.RevokeInstallationToken(ctx); err != nil || answer.StatusCode != http.StatusNoContent {
				t.Errorf("revoke: %v, %v", answer, err)
			}
			_, _, err := client.Apps.ListRepos(ctx, nil)
			refusal := testkit.ErrorAs[*github.ErrorResponse](t, err)
			testkit.Equal(t, refusal.Response.StatusCode, http.StatusUnauthorized)
			testkit.Equal(t, refusal.Message, badCredentials)
			if !slices.ContainsFunc(w.verify(t, nullBody), isMoved) {
				t.Error("no redirect was followed")
			}
		})
	}
}

// go-github tells limits apart by headers and by the end of a link.
func TestGoGitHubRecognisesLimits(t *testing.T) {
	list := func(t *testing.T, arrange func(*testing.T, *world)) error {
		w := newWorld(t, flavours[0])
		client := w.gogithubWithToken(t)
		arrange(t, w)
		_, _, err := client.Apps.ListRepos(t.Context(), nil)
		w.verify(t, nullBody)
		return err
	}
	t.Run("primary", func(t *testing.T) {
		limit, ok := errors.AsType[*github.RateLimitError](list(t, limited(0)))
		if !ok || limit.Rate.Limit != 0 || limit.Rate.Remaining != 0 || limit.Rate.Resource != "core" {
			t.Fatalf("%v", limit)
		}
		if wait := time.Until(limit.Rate.Reset.Time); wait > time.Hour || wait < 58*time.Minute {
			t.Errorf("reset in %s", wait)
		}
	})
	for _, c := range []struct {
		name    string
		arrange func(*testing.T, *world)
		wait    time.Duration
	}{
		{"secondary", fault(githubtest.SecondaryLimit(listReachable, 30*time.Second)), 30 * time.Second},
		{"secondary without Retry-After", fault(githubtest.SecondaryLimit(listReachable, 0)), 0},
		{"429", failing(429), 0},
		{"429 with Retry-After", fault(githubtest.Fault{Match: listReachable, Status: 429,
			Header: http.Header{"Retry-After": {"7"}}}), 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := list(t, c.arrange)
			testkit.Equal(t, testkit.ErrorAs[*github.AbuseRateLimitError](t, err).GetRetryAfter(), c.wait)
		})
	}
	t.Run("a permission is no limit", func(t *testing.T) {
		err := list(t, failing(403))
		testkit.Equal(t, testkit.ErrorAs[*github.ErrorResponse](t, err).Message, notAccessible)
	})
}

func TestGoGitHubIsRefused(t *testing.T) {
	w := newWorld(t, flavours[0])
	ctx, apps := t.Context(), w.gogithub(t, w.appsTransport()).Apps
	sleepy := w.app.Install("sleepy", githubtest.InstallOptions{All: true})
	sleepy.Suspend()
	wrong := ghinstallation.NewAppsTransportFromPrivateKey(w.transport(), w.app.ID, w.wrong)
	token := func(id int64, options *github.InstallationTokenOptions) func() error {
		return func() error { _, _, err := apps.CreateInstallationToken(ctx, id, options); return err }
	}
	for _, c := range []struct {
		name    string
		ask     func() error
		status  int
		message string
	}{
		{"wrong key", func() error { _, _, err := w.gogithub(t, wrong).Apps.Get(ctx, ""); return err }, 401, notDecoded},
		{"no JWT", func() error { _, _, err := w.gogithub(t, nil).Apps.Get(ctx, ""); return err }, 401, notDecoded},
		{"not installed", func() error { _, _, err := apps.GetRepositoryInstallation(ctx, "acme", "private"); return err },
			404, notFound},
		{"suspended", token(sleepy.ID, nil), 403, suspended},
		{"not selected", token(w.installation.ID, &github.InstallationTokenOptions{Repositories: []string{"private"}}),
			422, notSelected},
		{"not granted", token(w.installation.ID, &github.InstallationTokenOptions{
			Permissions: &github.InstallationPermissions{Issues: new("write")}}), 422, notGranted},
		{"private", func() error { _, _, err := w.gogithub(t, nil).Repositories.Get(ctx, "acme", "site"); return err }, 404,
			notFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusal := testkit.ErrorAs[*github.ErrorResponse](t, c.ask())
			testkit.Equal(t, refusal.Response.StatusCode, c.status)
			testkit.Equal(t, refusal.Message, c.message)
			if page, err := url.Parse(refusal.DocumentationURL); err != nil || page.Host != "docs.github.com" {
				t.Errorf("documentation at %q", refusal.DocumentationURL)
			}
		})
	}
	w.verify(t, nullBody)
}
