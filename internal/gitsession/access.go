package gitsession

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// Access is what a command of the user's may do as an App while it runs: it has a token in
// its environment, and its git asks this process for more. [Grant] makes one.
type Access struct {
	App     *ghapp.App
	Token   *ghapp.Token
	opener  *apps.Opener
	opened  *apps.Session
	request ghapp.TokenRequest
	session *Session
	router  *apps.Router
	issued  issuedTokens
}

// Grant gets the token of a command. repository chooses the App, and request says what the
// token is for. All tokens are this command's alone, since End revokes them.
func Grant(ctx context.Context, o *apps.Opener, repository ghapp.RepositoryName,
	request ghapp.TokenRequest) (_ *Access, err error) {
	a := &Access{opener: o.With(func(o *apps.Options) { o.Unshared = true }), request: request}
	managed, err := a.opener.App(ctx, repository)
	if err != nil {
		return nil, err
	}
	a.opened = managed.Current()
	a.App = a.opened.App
	if id := a.opened.Installation(); id != "" {
		a.request.Installation = id
	}
	if a.session, err = Listen(a.opener); err != nil {
		return nil, err
	}
	if a.Token, err = a.App.Token(ctx, a.request); err != nil {
		return nil, errors.Join(err, a.session.Close())
	}
	a.issued.add(a.App, a.Token)
	a.router = a.opener.Router(managed, func(answerer *gitauth.Answerer) {
		answerer.Granted = func(app *ghapp.App, _ ghapp.TokenRequest, t *ghapp.Token) { a.issued.add(app, t) }
		answerer.HandedOut = a.session.Tokens.Add
	})
	first := a.router.First()
	first.Permissions = gitMay(first.Permissions, repository.Owner, a.request, a.Token)
	return a, nil
}

// Environ is the environment of the command, with the token in it, in which git asks this
// process.
func (a *Access) Environ(ctx context.Context) ([]string, error) {
	git := gitcmd.Runner{Environ: a.session.environ(), Own: a.opener.Own()}
	environ, err := git.Environment(ctx, a.scope())
	if err != nil {
		return nil, err
	}
	return append(environ, TokenVariables(a.App, a.Token)...), nil
}

// Git runs git that is about one repository of the App's host alone, and its address: nothing
// of the user's configuration has a say in it but the way through the network. It is for work
// within [Access.Serve].
func (a *Access) Git(ctx context.Context, r ghapp.RepositoryName, to Output) (*gitcmd.Runner, gitcmd.Scope, error) {
	address := a.App.Status().Origin + "/" + r.String() + ".git"
	git := a.session.Git(to)
	git.Dir = os.TempDir()
	ambient, err := git.Ambient(ctx)
	if err != nil {
		a.opener.Log.Debug("git's configuration is passed over", "error", err)
	}
	if git.Environ, err = ambient.Environ(gitcmd.Network); err != nil {
		return nil, gitcmd.Scope{}, err
	}
	return git, gitcmd.Scope{
		Origin: a.App.Status().Origin, Helper: Helper(a.opener.LookupEnv), CAFile: a.opened.Settings.CAFile.Text,
		URLs: []string{address}, Stays: true,
	}, nil
}

// Transport reaches the App's host, as [Access.App] does.
func (a *Access) Transport() http.RoundTripper { return a.opened.Transport }

// Explained is an error of git's with what the answers to it say of its cause.
func (a *Access) Explained(err error) error { return a.router.Explained(err) }

// Serve answers the command's git while work runs.
func (a *Access) Serve(ctx context.Context, work func() error) error {
	return a.session.Serve(ctx, a.router, work)
}

// End revokes all tokens that the command and its git have got.
func (a *Access) End() {
	_ = a.session.Close()
	a.issued.revoke(a.opener.Log)
}

// scope is the whole host: the command may name whatever repository it needs. Of those that
// are known git is given a credential before it is asked for one.
func (a *Access) scope() gitcmd.Scope {
	scope := gitcmd.Scope{
		Origin: a.App.Status().Origin, Submodules: true, Helper: LastingHelper(a.opener.LookupEnv),
		CAFile: a.opened.Settings.CAFile.Text,
	}
	for _, text := range a.request.Repositories {
		if r, err := ghapp.ParseRepository(text); err == nil { // or else the token was refused
			address := scope.Origin + "/" + r.String()
			scope.URLs = append(scope.URLs, address, address+".git")
		}
	}
	return scope
}

// gitMay gives git what --permissions allows in the repositories that the token is
// for, and elsewhere what the configuration allows. Permissions that leave the contents
// out say nothing of git.
func gitMay(configured func(ghapp.RepositoryName) ghapp.Permissions, owner string, request ghapp.TokenRequest,
	token *ghapp.Token) func(ghapp.RepositoryName) ghapp.Permissions {
	given := request.Permissions
	if request.AllPermissions {
		given = token.Permissions
	}
	return func(r ghapp.RepositoryName) ghapp.Permissions {
		among := request.AllRepositories && strings.EqualFold(r.Owner, owner)
		for _, name := range token.Repositories {
			among = among || strings.EqualFold(name, r.String())
		}
		if among && given["contents"] != "" {
			return given
		}
		return configured(r)
	}
}

// TokenVariables are those in which gh, and what is made for GitHub Actions, look for
// a token (https://cli.github.com/manual/gh_help_environment).
func TokenVariables(app *ghapp.App, token *ghapp.Token) []string {
	names := []string{"GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"}
	if host := app.Status().Host; host == "github.com" || strings.HasSuffix(host, ".ghe.com") {
		names = []string{"GH_TOKEN", "GITHUB_TOKEN"}
	}
	list := []string{"GH_HOST=" + app.Status().Host}
	for _, name := range names {
		list = append(list, name+"="+token.Secret.Reveal())
	}
	return list
}
