package cli

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/signer"
)

// appSet are the Apps of one reading of the configuration, each opened once.
type appSet struct {
	opener *apps.Opener // with that configuration
	store  ghapp.Store
	since  time.Time
	minted *atomic.Int64
	tokens *tokens

	opening singleflight.Group
	mu      sync.Mutex
	open    map[string]*identity
}

// openApps reads the configuration and opens the Apps in it. It fails if none can be
// opened; one of several that cannot be is told, and tried again when it is needed.
func openApps(ctx context.Context, opener *apps.Opener, minted *atomic.Int64) (*appSet, error) {
	loaded, err := opener.Load()
	if err != nil {
		return nil, err
	}
	a := &appSet{opener: opener, store: opener.Store(), since: time.Now(), minted: minted, open: map[string]*identity{}}
	a.tokens = newTokens(opener.Log, a.renew)
	// At once: whoever holds a key may take long to answer.
	list := selectors(loaded)
	failures := make([]error, len(list))
	var opening sync.WaitGroup
	for n, selector := range list {
		opening.Go(func() {
			settings, err := loaded.App(selector)
			if err == nil {
				_, err = a.identity(ctx, settings)
			}
			failures[n] = err
		})
	}
	opening.Wait()
	failures = slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	if len(a.open) == 0 {
		return nil, failures[0]
	}
	for _, err := range failures {
		opener.Log.Warn("an App cannot be used as yet", "error", err)
	}
	return a, nil
}

// selectors ask for each App of the configuration; there is one at least.
func selectors(loaded *config.Config) []config.Selector {
	var list []config.Selector
	var owner string
	for _, entry := range loaded.List() {
		switch entry.Key {
		case "app": // the first of each App's
			owner = ""
		case "owners":
			owner, _, _ = strings.Cut(entry.Value, ", ")
		case "host":
			list = append(list, config.Selector{Host: entry.Value, Owner: owner})
		}
	}
	return list
}

// identity returns the App of these settings. While one is opened, which may take its
// time, the others answer.
func (a *appSet) identity(ctx context.Context, settings config.AppSettings) (*identity, error) {
	var parts []string
	for _, v := range []config.Value{settings.App, settings.Key, settings.PreviousKey, settings.KeyTimeout, settings.Host, settings.APIURL, settings.APIVersion, settings.CAFile, settings.Installation} {
		parts = append(parts, v.Reveal())
	}
	name := strings.Join(parts, "\x00")
	if i := a.opened(name); i != nil {
		return i, nil
	}
	result := a.opening.DoChan(name, func() (any, error) {
		if i := a.opened(name); i != nil {
			return i, nil
		}
		i, err := a.openIdentity(context.WithoutCancel(ctx), settings)
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.open[name] = i
		return i, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*identity), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (a *appSet) opened(name string) *identity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open[name]
}

// openIdentity opens the App of these settings. ctx is not cancelled.
func (a *appSet) openIdentity(ctx context.Context, settings config.AppSettings) (*identity, error) {
	opener := a.opener
	i := &identity{
		name: settings.Name, path: keyuri.FilePath(settings.Key.Text), log: opener.Log, tell: opener.Tell, turn: make(chan struct{}, 1),
		load: func() (signer.Signer, error) { return opener.Key(ctx, settings, a.store) },
	}
	i.with = func(key signer.Signer) (*keyed, error) { return a.withKey(i, settings, key) }
	if err := i.begin(); err != nil {
		return nil, err
	}
	opener.WarnOfKey(ctx, settings)
	return i, nil
}

// withKey makes the App of these settings with a key. It belongs to an identity.
func (a *appSet) withKey(i *identity, settings config.AppSettings, key signer.Signer) (*keyed, error) {
	opener := a.opener
	reach, err := opener.ReachFor(settings)
	if err != nil {
		return nil, err
	}
	connections := &http.Client{Transport: reach.Transport}
	reach.Transport = mintCounter{reach.Transport, a.minted}
	reach.Issuer, reach.Signer, reach.Store = settings.App.Text, key, a.store
	reach.FallbackSigner = opener.PreviousKey(settings, a.store)
	reach.RefusalLife = apps.GitRefusalLife
	app, err := ghapp.New(reach)
	if err != nil {
		return nil, &diag.SettingError{Err: err}
	}
	own := &apps.Session{App: app, Settings: settings, Transport: reach.Transport, Store: a.store}
	k := &keyed{app: app, answerer: opener.Answerer(own), hangUp: connections.CloseIdleConnections}
	k.answerer.Granted = a.tokens.granted
	k.answerer.App = func(ctx context.Context, owner string) (*ghapp.App, string, error) {
		settings, err := opener.Settings(ghapp.RepositoryName{Host: app.Status().Host, Owner: owner})
		if err != nil {
			return nil, "", err
		}
		other, err := a.identity(ctx, settings)
		switch {
		case err != nil:
			return nil, "", err
		case other == i:
			return app, own.Installation(), nil
		}
		return other.newest(ctx).app, settings.Installation.Text, nil
	}
	return k, nil
}

// answer answers one operation of git's.
func (a *appSet) answer(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	defer func() {
		if a.tokens.ended() { // meanwhile, so nobody uses this connection again
			a.hangUp()
		}
	}()
	settings, err := a.opener.SettingsAsked(asked)
	if err != nil {
		return nil, err
	}
	i, err := a.identity(ctx, settings)
	if err != nil {
		return nil, err
	}
	answer, err := i.answer(ctx, op, asked)
	if _, password := asked.Login(); op == credential.Erase && err == nil {
		a.tokens.erased(password)
	}
	return answer, err
}

// renew gets a token anew for a repository that it was handed out for.
func (a *appSet) renew(ctx context.Context, host string, request ghapp.TokenRequest) (*ghapp.Token, error) {
	owner, _, _ := strings.Cut(request.Repositories[0], "/")
	settings, err := a.opener.Settings(ghapp.RepositoryName{Host: host, Owner: owner})
	if err != nil {
		return nil, err
	}
	i, err := a.identity(ctx, settings)
	if err != nil {
		return nil, err
	}
	return i.newest(ctx).app.Token(ctx, request)
}

func (a *appSet) list() []appStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []appStatus
	for _, name := range slices.Sorted(maps.Keys(a.open)) {
		list = append(list, a.open[name].status())
	}
	return list
}

// forget drops a token that somebody revokes.
func (a *appSet) forget(ctx context.Context, token ghapp.Secret) error {
	a.tokens.forgotten(token)
	a.mu.Lock()
	open := slices.Collect(maps.Values(a.open))
	a.mu.Unlock()
	var failed error
	for _, i := range open {
		for _, k := range i.keys() {
			failed = errors.Join(failed, k.app.Forget(ctx, token))
		}
	}
	return failed
}

// close ends what goes on by itself. Who is being answered is answered on.
func (a *appSet) close() {
	a.tokens.close()
	a.hangUp()
}

// hangUp closes the connections that are not in use.
func (a *appSet) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range a.open {
		i.hangUp()
	}
}

// mintCounter counts the tokens that GitHub mints.
type mintCounter struct {
	http.RoundTripper
	minted *atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (m mintCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := m.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode == http.StatusCreated && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/access_tokens") {
		m.minted.Add(1)
	}
	return answer, err
}
