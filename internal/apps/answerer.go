package apps

import (
	"context"
	"errors"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
)

// Answerer answers for the host of an App, with other Apps of the configuration where a
// submodule's owner has one of its own.
func (o *Opener) Answerer(app *App) *gitauth.Answerer {
	s := app.Current()
	of := func(owner string) ghapp.RepositoryName {
		return ghapp.RepositoryName{Host: s.App.Status().Host, Owner: owner}
	}
	return &gitauth.Answerer{
		Origin:    s.App.Status().Origin,
		Transport: s.Transport,
		Store:     s.Store,
		Log:       o.Log,
		Permissions: func(r ghapp.RepositoryName) ghapp.Permissions {
			settings, err := o.Settings(of(r.Owner))
			if err != nil {
				return nil // and App has said so before
			}
			return settings.GitPermissions(r)
		},
		App: func(ctx context.Context, owner string) (*ghapp.App, string, error) {
			settings, err := o.Settings(of(owner))
			if err != nil {
				return nil, "", err
			}
			other, err := o.appOr(ctx, app, settings, of(owner))
			if err != nil {
				return nil, "", err
			}
			s := other.Session(ctx)
			return s.App, s.Installation(), nil
		},
	}
}

// appOr is the App of these settings, which may be app.
func (o *Opener) appOr(ctx context.Context, app *App, settings config.AppSettings,
	r ghapp.RepositoryName) (*App, error) {
	if settings.Name == app.settings.Name {
		return app, nil
	}
	return o.openOnce(ctx, settings, r)
}

// Router answers git while a command runs: for the host that the command is about, and
// for others that the configuration has an App for, which git asks about where its
// configuration names ghapp, as after git-setup. A question about yet another host is
// left unanswered, so that git goes on to the helpers it has for that.
type Router struct {
	opener  *Opener
	app     *App                    // of the command
	prepare func(*gitauth.Answerer) // for such a command
	first   *gitauth.Answerer

	mu     sync.Mutex
	others map[string]*gitauth.Answerer // by origin
}

// Router answers for the host of an App first. prepare has each Answerer do what the
// command wants of it.
func (o *Opener) Router(app *App, prepare func(*gitauth.Answerer)) *Router {
	r := &Router{opener: o, app: app, prepare: prepare, first: o.Answerer(app), others: map[string]*gitauth.Answerer{}}
	prepare(r.first)
	return r
}

// First answers for the host of the App.
func (r *Router) First() *gitauth.Answerer { return r.first }

// Credential implements [agent.Handler].
func (r *Router) Credential(ctx context.Context, op credential.Operation,
	asked *credential.Credential) (*credential.Credential, error) {
	answerer, app, err := r.route(ctx, asked)
	var found *credential.Credential
	if err == nil {
		err = app.Do(ctx, func(*Session) error {
			found, err = answerer.Credential(ctx, op, asked)
			return err
		})
	}
	if errors.Is(err, gitauth.ErrNotOurs) {
		return nil, nil
	}
	return found, err
}

// route finds who answers a question, and the App whose key that takes. The error is
// [gitauth.ErrNotOurs] where the configuration does not know the host.
func (r *Router) route(ctx context.Context, asked *credential.Credential) (*gitauth.Answerer, *App, error) {
	settings, err := r.opener.SettingsAsked(asked)
	if r.first.Ours(asked) {
		app := r.app
		if err == nil {
			if of, err := r.opener.appOr(ctx, r.app, settings, repositoryAsked(asked)); err == nil {
				app = of // else the Answerer meets the same error, and says what it is about
			}
		}
		return r.first, app, nil
	}
	if err != nil {
		return nil, nil, err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return nil, nil, &fault.SettingError{Err: err}
	}
	app, err := r.opener.openOnce(ctx, settings, repositoryAsked(asked))
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answerer := r.others[host.Origin]
	if answerer == nil {
		answerer = r.opener.Answerer(app)
		r.prepare(answerer)
		r.others[host.Origin] = answerer
	}
	return answerer, app, nil
}

// Explained puts the reason that git was not told in the place of what git made of it.
func (r *Router) Explained(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	refusal := r.first.Refusal()
	for _, other := range r.others {
		if refusal == nil {
			refusal = other.Refusal()
		}
	}
	if err != nil && refusal != nil {
		return refusal
	}
	return err
}

// Forget has Explained tell only of what git asks from now on.
func (r *Router) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first.Forget()
	for _, other := range r.others {
		other.Forget()
	}
}
