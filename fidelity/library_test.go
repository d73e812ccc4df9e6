package fidelity

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// library is our App. It makes no second attempt at a request.
func (w *world) library(t *testing.T, change func(*ghapp.Config)) *ghapp.App {
	t.Helper()
	config := ghapp.Config{
		Client: ghapp.Client{Host: w.server.URL, APIURL: w.base(), APIVersion: w.version,
			Transport: w.server.Client().Transport, MaxWait: -1},
		Issuer: w.app.ClientID,
		Signer: signer.FromCryptoSigner(w.key),
	}
	if change != nil {
		change(&config)
	}
	app := testkit.Must(ghapp.New(config))(t)
	return app
}

// collect is what a listing gives, by name.
func collect[T any](t *testing.T, list iter.Seq2[T, error], name func(T) string) []string {
	t.Helper()
	var names []string
	for item, err := range list {
		testkit.OK(t, err)
		names = append(names, name(item))
	}
	return names
}

func fullName(r *ghapp.RepositoryInfo) string { return r.FullName }

func TestLibraryAsksAsGitHubDescribes(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			manyInstallations(t, w)
			ctx, app := t.Context(), w.library(t, nil)

			info, err := app.Info(ctx)
			if err != nil || info.ID != w.app.ID || info.ClientID != w.app.ClientID || info.Slug != w.app.Slug {
				t.Errorf("App %+v, %v", info, err)
			}
			accounts := collect(t, app.Installations(ctx), func(i *ghapp.InstallationInfo) string {
				return fmt.Sprint(i.Account, " ", i.AccountType, " ", !i.SuspendedAt.IsZero())
			})
			if diff := cmp.Diff([]string{"acme Organization false", "octocat User false", "conglomerate Enterprise false",
				"sleepy Organization true"}, accounts); diff != "" {
				t.Error(diff)
			}
			for _, of := range []string{"acme", "acme/site", "ACME/Docs", w.fill("{id}"),
				w.server.URL + w.fill("/organizations/acme/settings/installations/{id}")} {
				if found, err := app.FindInstallation(ctx, of); err != nil || found.ID != w.installation.ID {
					t.Errorf("installation of %s: %+v, %v", of, found, err)
				}
			}
			for _, request := range []ghapp.TokenRequest{
				{Repositories: []string{"acme/site"}},
				{Repositories: []string{"acme/site", "acme/docs"}, Permissions: ghapp.Permissions{"contents": "write"}},
				{AllRepositories: true, Installation: "acme", AllPermissions: true},
			} {
				token := testkit.Must(app.Token(ctx, request))(t)
				want := request.Repositories
				if request.AllRepositories {
					want = []string{"acme/site", "acme/docs"}
				}
				testkit.Diff(t, collect(t, app.Repositories(ctx, token), fullName), want)
				testkit.OK(t, app.Revoke(ctx, token))
			}
			testkit.Equal(t, mints(w.verify(t)), 3, "mints")
		})
	}
}

func TestLibraryFollowsPages(t *testing.T) {
	w := newWorld(t, flavours[0])
	ctx, app := t.Context(), w.library(t, nil)
	w.installation.SelectAll()
	for n := range 200 {
		w.AddRepository(fmt.Sprintf("acme/more-%d", n), githubtest.RepositoryOptions{})
		w.app.Install(fmt.Sprintf("org-%d", n), githubtest.InstallOptions{})
	}
	if found := collect(t, app.Installations(ctx),
		func(i *ghapp.InstallationInfo) string { return i.Account }); len(found) != 201 {
		t.Errorf("%d installations", len(found))
	}
	token := testkit.Must(app.Token(ctx, ghapp.TokenRequest{AllRepositories: true, Installation: "acme"}))(t)
	testkit.Equal(t, len(collect(t, app.Repositories(ctx, token), fullName)), 204, "repositories")
	w.verify(t)
}

func TestLibraryFollowsARename(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			rename(t, w)
			ctx, app := t.Context(), w.library(t, nil)
			testkit.Equal(t, testkit.Must(app.FindInstallation(ctx, "acme/site"))(t).ID, w.installation.ID)
			token := testkit.Must(app.Token(ctx, ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
			testkit.Diff(t, token.Repositories, []string{"acme/home"})
			if !slices.ContainsFunc(w.verify(t), isMoved) {
				t.Error("no redirect was followed")
			}
		})
	}
}

func TestLibraryTransportWaitsForANewTokenAndFollowsARename(t *testing.T) {
	w := newWorld(t, flavours[0])
	w.SetPropagationDelay(500 * time.Millisecond)
	source := w.library(t, nil).TokenSource(ghapp.TokenRequest{Repositories: []string{"acme/site"}})
	client := &http.Client{Transport: &ghapp.Transport{Source: source, Base: w.transport()}}
	for _, before := range []func(*testing.T, *world){func(*testing.T, *world) {}, rename} {
		before(t, w)
		answer := testkit.Must(client.Get(w.base() + "/repos/acme/site"))(t)
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s, %v", answer.Status, err)
		}
		testkit.OK(t, answer.Body.Close())
	}
	if list := w.verify(t); mints(list) != 1 || !slices.ContainsFunc(list, isMoved) {
		t.Errorf("over the wire went %v", list)
	}
}

func TestLibraryCorrectsItsClock(t *testing.T) {
	for _, offset := range []time.Duration{-20 * time.Minute, -2 * time.Minute, 20 * time.Minute} {
		t.Run(offset.String(), func(t *testing.T) {
			w := newWorld(t, flavours[0])
			w.SetClockOffset(offset)
			app := w.library(t, nil)
			testkit.Must(app.Info(t.Context()))(t)
			if off := app.Status().ClockOffset - offset; off.Abs() > 5*time.Second {
				t.Errorf("measured %s, want %s", app.Status().ClockOffset, offset)
			}
			w.verify(t)
		})
	}
}

// minting asks for a token.
func minting(request ghapp.TokenRequest) func(context.Context, *ghapp.App) error {
	return func(ctx context.Context, app *ghapp.App) error {
		_, err := app.Token(ctx, request)
		return err
	}
}

var forSite = ghapp.TokenRequest{Repositories: []string{"acme/site"}}

// listing reads what a token for acme/site reaches.
func listing(ctx context.Context, app *ghapp.App) error {
	token, err := app.Token(ctx, forSite)
	if err != nil {
		return err
	}
	for _, err := range app.Repositories(ctx, token) {
		return err
	}
	return nil
}

// revokingTwice ends a token that is no longer new twice.
func revokingTwice(ctx context.Context, app *ghapp.App) error {
	token, err := app.Token(ctx, forSite)
	if err != nil {
		return err
	}
	old := *token
	old.MintedAt = old.MintedAt.Add(-time.Minute)
	if err := app.Revoke(ctx, &old); err != nil {
		return err
	}
	return app.Revoke(ctx, &old)
}

// What GitHub says, and what the library takes it for.
func TestLibraryIsRefused(t *testing.T) {
	asIs := func(*testing.T, *world) {}
	for _, c := range []struct {
		name    string
		arrange func(*testing.T, *world)
		config  func(*world, *ghapp.Config)
		ask     func(context.Context, *ghapp.App) error
		kind    ghapp.Kind
	}{
		{"wrong key", asIs, func(w *world, c *ghapp.Config) { c.Signer = signer.FromCryptoSigner(w.wrong) },
			minting(forSite), ghapp.ErrKeyMismatch},
		{"App without a key", withoutKey, nil, minting(forSite), ghapp.ErrKeyMismatch},
		{"App of another host", asIs, func(_ *world, c *ghapp.Config) { c.Issuer = "1" },
			minting(forSite), ghapp.ErrAppUnknown},
		{"mistyped client ID", asIs, func(_ *world, c *ghapp.Config) { c.Issuer += "x" },
			minting(forSite), ghapp.ErrAppUnknown},
		{"suspended", suspend, nil, minting(forSite), ghapp.ErrSuspended},
		{"uninstalled", uninstall, nil, minting(forSite), ghapp.ErrNotInstalled},
		{"behind an IP allow list", behindAllowList, nil, minting(forSite), ghapp.ErrIPAllowList},
		{"repository not selected", asIs, nil, minting(ghapp.TokenRequest{Repositories: []string{"acme/private"}}),
			ghapp.ErrRepositoryNotSelected},
		{"permission not granted", asIs, nil,
			minting(ghapp.TokenRequest{Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"issues": "read"}}),
			ghapp.ErrPermission},
		{"limit", limited(0), nil, listing, ghapp.ErrRateLimited},
		{"secondary limit", fault(githubtest.SecondaryLimit(listReachable, time.Minute)), nil, listing, ghapp.ErrRateLimited},
		{"429", failing(429), nil, listing, ghapp.ErrRateLimited},
		{"GitHub down", failing(503), nil, listing, ghapp.ErrUnreachable},
		{"token revoked", asIs, nil, revokingTwice, ghapp.ErrTokenRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, flavours[0])
			c.arrange(t, w)
			app := w.library(t, func(config *ghapp.Config) {
				if c.config != nil {
					c.config(w, config)
				}
			})
			testkit.ErrorIs(t, c.ask(t.Context(), app), c.kind)
			w.verify(t)
		})
	}
}
