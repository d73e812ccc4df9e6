package ghapp_test

import (
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestRepositoryOfThatNameAndAnotherIDIsNotAskedFor(t *testing.T) {
	t.Parallel()
	a := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{})
	old := a.GitHub.AddRepository("acme/site", githubtest.RepositoryOptions{}).ID
	lib := a.GitHub.AddRepository("acme/lib", githubtest.RepositoryOptions{}).ID
	a.Installation.SelectAll()
	app := a.Open(t)
	ask := func(ids ...int64) (*ghapp.Token, error) {
		return app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site", "acme/lib"}, RepositoryIDs: ids})
	}
	testkit.Must(ask(old, lib))(t)
	testkit.Must(ask(old, 0))(t)
	testkit.Equal(t, a.GitHub.Mints(), 2, "mints: what is known of the repositories is part of what is asked for")
	testkit.OK(t, a.GitHub.DeleteRepository("acme/site"))
	anew := a.GitHub.AddRepository("acme/site", githubtest.RepositoryOptions{}).ID
	app = a.Open(t)
	testkit.ErrorIs(t, testkit.ErrorOf(ask(old, lib)), ghapp.ErrRepositoryNotSelected)
	testkit.ErrorIs(t, testkit.ErrorOf(ask(old, 0)), ghapp.ErrTooBroad)
	testkit.Must(ask(anew, lib))(t)
	testkit.OK(t, a.GitHub.Rename("acme/site", "renamed"))
	token := testkit.Must(a.Open(t).Token(t.Context(),
		ghapp.TokenRequest{Repositories: []string{"acme/site"}, RepositoryIDs: []int64{anew}}))(t)
	testkit.Diff(t, token.Repositories, []string{"acme/renamed"})
	for _, ids := range [][]int64{{old}, {-1, lib}, {old, lib, lib}} {
		testkit.ErrorIs(t, testkit.ErrorOf(ask(ids...)), ghapp.ErrInvalid)
	}
	for _, token := range a.GitHub.Tokens()[2:3] {
		testkit.Equal(t, token.Revoked, true, "a token that reaches another repository")
	}
}
