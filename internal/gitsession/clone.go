package gitsession

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// CloneRequest says what to clone, and where to.
type CloneRequest struct {
	Repository ghapp.RepositoryName
	// Dir, Branch, Depth and Extra are those of [gitcmd.CloneOptions].
	Dir    string
	Branch string
	Depth  int
	Extra  []string
	// Persist leaves the name of the credential helper in the clone's configuration.
	Persist bool
	// Output is where git prints to.
	Output Output
	// Moved is told of a repository that has another name by now. Nil: nobody is.
	Moved func(from, to ghapp.RepositoryName)
}

// Clone is a clone that can be made. [PlanClone] makes one.
type Clone struct {
	Dir      string // the absolute path to which it goes
	Origin   string // of the host, such as https://github.com
	Settings config.AppSettings

	request CloneRequest
	session *Session
	git     *gitcmd.Runner
	options gitcmd.CloneOptions
	asked   *askedFor
	router  *apps.Router       // once it runs
	wanted  ghapp.TokenRequest // likewise
}

// PlanClone finds out what a clone takes: the App, and the directory. What is wrong with
// either is told before GitHub is asked for anything.
func PlanClone(o *apps.Opener, request CloneRequest) (*Clone, error) {
	settings, err := o.Settings(request.Repository)
	if err != nil {
		return nil, err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return nil, &fault.SettingError{Err: err}
	}
	session, err := Listen(o)
	if err != nil {
		return nil, err
	}
	c := &Clone{
		Origin: host.Origin, Settings: settings, request: request, session: session,
		git: session.Git(request.Output), asked: &askedFor{origin: host.Origin},
	}
	c.options = gitcmd.CloneOptions{
		Scope:  gitcmd.Scope{Origin: host.Origin, Helper: Helper(o.LookupEnv), CAFile: settings.CAFile.Text},
		URL:    host.Origin + "/" + request.Repository.String() + ".git",
		Dir:    request.Dir,
		Branch: request.Branch, Depth: request.Depth, Extra: request.Extra,
		Asked: c.asked.watch,
	}
	if request.Persist {
		c.options.Persist = Sections(o, host.Origin, settings, gitsetup.Local, request.Repository.Owner)
	}
	if c.Dir, err = c.git.Destination(c.options); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return c, nil
}

// Close ends what was planned and is not to run.
func (c *Clone) Close() error { return c.session.Close() }

// Run makes the clone, once more where what has kept it from succeeding has an end, and
// writes what is to stay in its configuration.
func (c *Clone) Run(ctx context.Context) error {
	app, token, err := c.authorize(ctx)
	if err != nil {
		return err
	}
	return c.session.Serve(ctx, c.router, func() error {
		err := c.first(ctx, app, token)
		if err != nil {
			if err = c.retry(ctx, app, token, err); err == nil {
				err = noWiki(c.request.Repository, c.git.Clone(ctx, c.options))
			}
		}
		return c.router.Explained(err)
	})
}

// authorize gets a token for the repository, which is nil where it is read without one.
func (c *Clone) authorize(ctx context.Context) (*ghapp.App, *ghapp.Token, error) {
	o, repository := c.session.opener, c.request.Repository
	managed, err := o.App(ctx, repository)
	if err != nil {
		return nil, nil, err
	}
	opened := managed.Current()
	c.wanted = ghapp.TokenRequest{Repositories: []string{repository.String()}, Installation: opened.Installation()}
	token, refused := opened.App.Token(ctx, c.wanted)
	c.router = o.Router(managed, func(a *gitauth.Answerer) {
		a.Permissions = nil // a clone reads
		a.HandedOut = c.session.Tokens.Add
		a.Granted = c.asked.granted
	})
	switch {
	case refused == nil:
		c.follow(currentName(token, repository))
	case !errors.Is(refused, ghapp.ErrIPAllowList) || !c.router.First().Public(ctx, repository, refused):
		return nil, nil, refused
	}
	return opened.App, token, nil
}

// first clones. A token in its first seconds, of which nobody knows whether GitHub's git
// service has it yet, is given to git all the same: most are taken, and that is known to all
// from then on. Where it is refused the clone is made once more, and waits for it.
func (c *Clone) first(ctx context.Context, app *ghapp.App, token *ghapp.Token) error {
	if token == nil {
		return c.git.Clone(ctx, c.options)
	}
	repository := currentName(token, c.request.Repository)
	repository.Wiki = false // git asks for the token of the repository
	if token.Settled(repository.String()) {
		return c.git.Clone(ctx, c.options)
	}
	answerer, log := c.router.First(), c.session.opener.Log
	shown := &withheld{to: c.git.Stderr}
	git := *c.git
	if git.Stderr != nil {
		git.Stderr = shown
	}
	answerer.Untried(repository)
	err := git.Clone(ctx, c.options)
	answerer.Untried(ghapp.RepositoryName{})
	switch {
	case err == nil:
		taken := func(context.Context) (bool, error) { return true, nil }
		if err := app.Settle(ctx, token, repository.String(), taken); err != nil {
			log.Debug("other processes are not told that the token is known", "error", err)
		}
	case ctx.Err() == nil && mayBeTooNew(err):
		log.Debug("git was refused with a new token; cloning once more", "error", err)
		c.router.Forget()
		return c.git.Clone(ctx, c.options)
	}
	shown.flush()
	return err
}

// mayBeTooNew reports whether git may have failed because its token was too new.
func mayBeTooNew(err error) bool {
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok || e.Submodule != "" || ofIPAllowList(e) {
		return false
	}
	return e.Reason == gitcmd.Unauthorized || e.Reason == gitcmd.Forbidden || e.Reason == gitcmd.RepositoryNotFound
}

func ofIPAllowList(e *gitcmd.Error) bool { return api.Classify(e.Remote) == api.IPAllowList }

// retry finds out whether a clone that has failed can be made once more, and changes the
// options for that. If not, it returns the reason for the failure.
func (c *Clone) retry(ctx context.Context, app *ghapp.App, token *ghapp.Token, failed error) error {
	answerer, repository := c.router.First(), c.request.Repository
	e, ok := errors.AsType[*gitcmd.Error](failed)
	switch {
	case !ok || e.Submodule != "":
	case e.Reason == gitcmd.Unauthorized && answerer.Erased():
		c.session.opener.Log.Warn("GitHub refused a token from the cache; cloning once more, with a new one")
		return nil
	case e.Reason == gitcmd.Redirected:
		moved, err := answerer.Moved(ctx, repository)
		if err != nil {
			return err
		}
		if c.follow(moved) {
			return nil
		}
	case e.Reason == gitcmd.RepositoryNotFound && token != nil && !token.Propagating():
		return c.renew(ctx, app, token)
	case e.Reason == gitcmd.RepositoryNotFound:
		return noWiki(repository, failed)
	case e.Reason == gitcmd.Forbidden && ofIPAllowList(e):
		refusal := &ghapp.Error{Kind: ghapp.ErrIPAllowList, Op: "clone " + repository.String(),
			Status: 403, Message: e.Remote}
		if answerer.Public(ctx, repository, refusal) {
			return nil
		}
		return refusal
	}
	return failed
}

// renew has the clone be made once more with a new token: one is asked for by names, and is for the
// repositories that had them then. A repository that was deleted, and made anew since, is not reached with it.
func (c *Clone) renew(ctx context.Context, app *ghapp.App, token *ghapp.Token) error {
	c.session.opener.Log.Debug("GitHub does not know the repository with a token of before; cloning with a new one")
	if err := app.Forget(ctx, token.Secret); err != nil {
		return err
	}
	c.router.Forget()
	next, err := app.Token(ctx, c.wanted)
	if err == nil {
		c.follow(currentName(next, c.request.Repository))
	}
	return err
}

// noWiki gives the failure to find a wiki the hint of that.
func noWiki(repository ghapp.RepositoryName, failed error) error {
	e, ok := errors.AsType[*gitcmd.Error](failed)
	if !ok || e.Submodule != "" || e.Reason != gitcmd.RepositoryNotFound || !repository.Wiki {
		return failed
	}
	return &fault.ExitError{Code: fault.Refused, Err: failed, Hint: diag.NoWiki}
}

// follow has the repository cloned under another name, into the directory that its old
// name stands for, and reports whether that name is another.
func (c *Clone) follow(to ghapp.RepositoryName) bool {
	from := c.request.Repository
	if strings.EqualFold(from.String(), to.String()) {
		return false
	}
	if c.request.Moved != nil {
		c.request.Moved(from, to)
	}
	c.options.URL, c.options.Dir = c.Origin+"/"+to.String()+".git", c.Dir
	return true
}

// currentName is the name that GitHub has the repository under, as it said when it minted
// the token.
func currentName(token *ghapp.Token, r ghapp.RepositoryName) ghapp.RepositoryName {
	if len(token.Repositories) != 1 {
		return r
	}
	current, err := ghapp.ParseRepository(token.Repositories[0])
	if err != nil {
		return r
	}
	current.Wiki = r.Wiki // a token is the repository's
	return current
}

// askedFor knows which repositories of a host git asks a credential for. It is safe for
// concurrent use.
type askedFor struct {
	origin  string
	mu      sync.Mutex
	waiting map[string][]chan struct{} // by repository, in lower case
}

// watch implements [gitcmd.CloneOptions].Asked.
func (a *askedFor) watch(address string) <-chan struct{} {
	signal := make(chan struct{})
	path := strings.TrimSuffix(strings.TrimRight(strings.TrimPrefix(address, a.origin+"/"), "/"), ".git")
	path = strings.TrimSuffix(path, ".wiki") // for which a token is its repository's
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string][]chan struct{}{}
	}
	a.waiting[strings.ToLower(path)] = append(a.waiting[strings.ToLower(path)], signal)
	return signal
}

// granted is what an answerer tells of a token before git has it.
func (a *askedFor) granted(app *ghapp.App, r ghapp.TokenRequest, _ *ghapp.Token) {
	if app.Status().Origin != a.origin {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name := strings.ToLower(r.Repositories[0])
	for _, signal := range a.waiting[name] {
		close(signal)
	}
	delete(a.waiting, name)
}
