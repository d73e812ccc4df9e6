package apps

import (
	"context"
	"errors"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// Answerer answers for the host of a session, with other Apps of the configuration where a
// submodule's owner has one of its own.
func (o *Opener) Answerer(s *Session) *gitauth.Answerer {
	return &gitauth.Answerer{
		Origin:    s.App.Status().Origin,
		Transport: s.Transport,
		Store:     s.Store,
		Log:       o.Log,
		Permissions: func(r ghapp.RepositoryName) ghapp.Permissions {
			settings, err := o.Settings(ghapp.RepositoryName{Host: s.App.Status().Host, Owner: r.Owner})
			if err != nil {
				return nil // and App has said so before
			}
			return settings.GitPermissions(r)
		},
		App: func(ctx context.Context, owner string) (*ghapp.App, string, error) {
			settings, err := o.Settings(ghapp.RepositoryName{Host: s.App.Status().Host, Owner: owner})
			if err != nil {
				return nil, "", err
			}
			if settings.Name == s.Settings.Name {
				return s.App, s.Installation(), nil
			}
			other, err := o.Start(ctx, settings)
			if err != nil {
				return nil, "", err
			}
			return other.App, other.Installation(), nil
		},
	}
}

// Router answers git while a command runs: for the host that the command is about, and
// for others that the configuration has an App for, which git asks about where its
// configuration names ghapp, as after git-setup. A question about yet another host is
// left unanswered, so that git goes on to the helpers it has for that.
type Router struct {
	opener  *Opener
	prepare func(*gitauth.Answerer) // for such a command
	first   *gitauth.Answerer       // as it was in the beginning

	mu     sync.Mutex
	now    *routed            // for the first's host
	others map[string]*routed // by origin
}

// routed is an App with the key that the configuration had for it.
type routed struct {
	*gitauth.Answerer
	session *Session
}

// Router answers for the host of a session first. prepare has each Answerer do what the
// command wants of it.
func (o *Opener) Router(s *Session, prepare func(*gitauth.Answerer)) *Router {
	r := &Router{opener: o, prepare: prepare, first: o.Answerer(s), others: map[string]*routed{}}
	r.now = &routed{r.first, s}
	prepare(r.first)
	return r
}

// First answers for the host of the session, with the key that this had in the beginning.
func (r *Router) First() *gitauth.Answerer { return r.first }

// Credential implements [agent.Handler].
func (r *Router) Credential(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	r.mu.Lock()
	a := r.now
	r.mu.Unlock()
	found, err := a.Credential(ctx, op, asked)
	if errors.Is(err, gitauth.ErrNotOurs) {
		if a, err = r.other(ctx, asked); err == nil {
			found, err = a.Credential(ctx, op, asked)
		}
	}
	if KeyFailed(err) {
		if newer := r.renewed(ctx, a, asked); newer != nil {
			found, err = newer.Credential(ctx, op, asked)
		}
	}
	if errors.Is(err, gitauth.ErrNotOurs) {
		return nil, nil
	}
	return found, err
}

// other answers for the host of a question that is not the first's. The error is
// [gitauth.ErrNotOurs] where the configuration does not know the host.
func (r *Router) other(ctx context.Context, asked *credential.Credential) (*routed, error) {
	settings, err := r.opener.SettingsAsked(asked)
	if err != nil {
		return nil, err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return nil, &diag.SettingError{Err: err}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.others[host.Origin]; known != nil {
		return known, nil
	}
	session, err := r.opener.Start(ctx, settings)
	if err != nil {
		return nil, err
	}
	a := &routed{r.opener.Answerer(session), session}
	r.prepare(a.Answerer)
	r.others[host.Origin] = a
	return a, nil
}

// renewed takes the key that the configuration has by now, if it is another than the
// one that did not serve: a command may run for longer than a key lives. It is nil where
// there is none. No key is asked for twice.
func (r *Router) renewed(ctx context.Context, failed *routed, asked *credential.Credential) *routed {
	r.mu.Lock()
	defer r.mu.Unlock()
	origin, known := failed.Origin, r.now
	if origin != r.first.Origin {
		known = r.others[origin]
	}
	if known != failed {
		return known // somebody else has done so
	}
	choose := func(o *Opener) (config.AppSettings, error) { return o.SettingsAsked(asked) }
	again, session := r.opener.Rekeyed(ctx, failed.session, choose)
	if session == nil {
		return nil
	}
	a := &routed{again.Answerer(session), session}
	r.prepare(a.Answerer)
	a.Permissions = failed.Permissions
	if origin == r.first.Origin {
		r.now = a
	} else {
		r.others[origin] = a
	}
	return a
}

// Explained puts the reason that git was not told in the place of what git made of it.
func (r *Router) Explained(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	refusal := r.now.Refusal()
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
	r.now.Forget()
	for _, other := range r.others {
		other.Forget()
	}
}

// KeyFailed reports whether an error may end with another key.
func KeyFailed(err error) bool {
	return errors.Is(err, ghapp.ErrKeyMismatch) || errors.Is(err, ghapp.ErrKey)
}

// Rekeyed opens an App anew whose key has failed, with the key that the configuration
// has by now, and returns the Opener that has read it too. Both are nil where that is the
// same key.
func (o *Opener) Rekeyed(ctx context.Context, failed *Session, choose func(*Opener) (config.AppSettings, error)) (*Opener, *Session) {
	again := o.Fresh()
	settings, err := choose(again)
	if err != nil {
		return nil, nil
	}
	before := failed.Settings
	samePrevious := settings.PreviousKey.Reveal() == before.PreviousKey.Reveal()
	if settings.Key.Reveal() == before.Key.Reveal() && samePrevious && keyuri.FilePath(settings.Key.Text) == "" {
		return nil, nil
	}
	session, err := again.Connect(ctx, settings)
	if err != nil {
		o.Log.Warn("the key in the configuration has changed and cannot be used", "error", diag.OneLine(err))
		return nil, nil
	}
	if session.App.Status().Fingerprint == failed.App.Status().Fingerprint && samePrevious {
		return nil, nil
	}
	o.Tell("App %s signs with its new key %s.", session.App.Status().Issuer, session.App.Status().Fingerprint)
	return again, session
}
