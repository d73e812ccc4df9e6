package gitsession

import (
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// An enterprise owns no repositories, and what is suspended gives no token.
func TestAnyTokenIsOfAnInstallationThatCanBeUsed(t *testing.T) {
	github := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	defer github.Close()
	app := github.AddApp(githubtest.AppOptions{})
	app.AddKey(&testkit.Key(t).PublicKey)
	github.AddAccount("big", githubtest.Enterprise)
	ours := testkit.Must(ghapp.New(ghapp.Config{Client: ghapp.Client{Transport: github.RoundTripper()},
		Issuer: app.ClientID, Signer: signer.FromCryptoSigner(testkit.Key(t))}))(t)
	app.Install("big", githubtest.InstallOptions{})
	none, err := anyToken(t.Context(), ours)
	if none != nil || err != nil {
		t.Errorf("a token of an enterprise: %v, %v", none, err)
	}
	app.Install("asleep", githubtest.InstallOptions{}).Suspend()
	app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	token := testkit.Must(anyToken(t.Context(), ours))(t)
	testkit.Diff(t, token.Permissions, ghapp.Permissions{"metadata": "read"})
}

// A name of one and the address of another would be nobody.
func TestIdentityLeavesAnAuthorAloneWhoIsSet(t *testing.T) {
	bot := &ghapp.Identity{Name: "bot", Email: "1+bot@users.noreply.github.com"}
	got := IdentityVariables(bot, childenv.Lookup([]string{"GIT_AUTHOR_EMAIL=me@example.com", "GIT_COMMITTER_NAME="}))
	testkit.Diff(t, got, []string{"GIT_COMMITTER_NAME=bot", "GIT_COMMITTER_EMAIL=1+bot@users.noreply.github.com"})
}
