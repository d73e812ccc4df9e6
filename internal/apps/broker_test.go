package apps

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestAppOfABrokerIsOpenedWithoutAKey(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{Repositories: []string{"site"}})
	b := testapp.NewBroker(t, app.Open(t))
	proof, home := b.JWT(t, "a machine", b.URL), t.TempDir()
	environ := []string{"HOME=" + home, "XDG_CACHE_HOME=" + home, "GHAPP_BROKER=" + b.URL, "GHAPP_IDENTITY=env:PROOF",
		"PROOF=" + proof, "COPY=x " + proof + " y", "PATH=/bin"}
	o := New(Options{Environ: environ, NoCache: true})
	session := testkit.Must(o.Open(t.Context(), ghapp.RepositoryName{Owner: "acme"}))(t)
	token := testkit.Must(session.App.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
	testkit.Diff(t, token.Repositories, []string{"acme/site"})
	testkit.Equal(t, b.Forms()[0].Get("subject_token"), proof)

	child := childenv.For(environ, o.Own())
	testkit.Lacks(t, strings.Join(child, "\n"), proof, "PROOF=")
	testkit.Equal(t, slices.Contains(child, "GHAPP_BROKER="+b.URL), true, "a child is told of the broker")

	_, err := o.Key(t.Context(), session.Settings, nil)
	testkit.Fails(t, err, "there is a key")
	unset := New(Options{Environ: environ[:3], NoCache: true})
	_, err = unset.Open(t.Context(), ghapp.RepositoryName{})
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrIdentity)
	testkit.ErrorContains(t, err, "GHAPP_IDENTITY is not set", b.URL)
}

// Apps with a key and Apps with a broker stand side by side, each with its own tokens.
func TestSecretsOfIdentitiesInTheFileAreNoChilds(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file := filepath.Join(home, "config.yaml")
	testkit.OK(t, os.WriteFile(file, []byte("apps:\n  own: {app: 1, key: /k.pem}\n  ci: {broker: https://broker.example, "+
		"identity: "+strconv.Quote("gitlab:CI_TOKEN")+", owners: [acme]}\n"), 0o600))
	environ := []string{"HOME=" + home, "GHAPP_CONFIG=" + file, "CI_TOKEN=canary-of-gitlab", "PATH=/bin"}
	o := New(Options{Environ: environ, NoCache: true})
	testkit.Lacks(t, strings.Join(childenv.For(environ, o.Own()), "\n"), "canary")
	testkit.OK(t, os.WriteFile(file, []byte("apps: ["), 0o600))
	// Of a configuration that cannot be read, any may be one.
	environ = append(environ[:2], "ACTIONS_ID_TOKEN_REQUEST_TOKEN=canary-of-actions")
	broken := New(Options{Environ: environ, NoCache: true})
	testkit.Lacks(t, strings.Join(childenv.For(environ, broken.Own()), "\n"), "canary")
}
