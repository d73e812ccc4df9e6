package gitsession

import (
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// An enterprise owns no repositories, and what is suspended gives no token.
func TestAnyTokenIsOfAnInstallationThatCanBeUsed(t *testing.T) {
	app := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{})
	app.Installation.Suspend()
	app.GitHub.AddAccount("big", githubtest.Enterprise)
	app.Registration.Install("big", githubtest.InstallOptions{})
	ours := app.Open(t)
	none, err := anyToken(t.Context(), ours)
	if none != nil || err != nil {
		t.Errorf("a token of an enterprise: %v, %v", none, err)
	}
	app.Registration.Install("octo", githubtest.InstallOptions{Repositories: []string{"site"}})
	token := testkit.Must(anyToken(t.Context(), ours))(t)
	testkit.Diff(t, token.Permissions, ghapp.Permissions{"metadata": "read"})
}

// A name of one and the address of another would be nobody.
func TestIdentityLeavesAnAuthorAloneWhoIsSet(t *testing.T) {
	bot := &ghapp.Identity{Name: "bot", Email: "1+bot@users.noreply.github.com"}
	got := IdentityVariables(bot, childenv.Lookup([]string{"GIT_AUTHOR_EMAIL=me@example.com", "GIT_COMMITTER_NAME="}))
	testkit.Diff(t, got, []string{"GIT_COMMITTER_NAME=bot", "GIT_COMMITTER_EMAIL=1+bot@users.noreply.github.com"})
}
