//go:build unix

package cli

import (
	"context"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
)

// appSession is an App for as long as a process watches, which may be longer than a key
// lives: where its key does not serve any more, it takes the one that the configuration
// has by now.
type appSession struct {
	keeper     *keeper
	repository ghapp.RepositoryName // for which the App was chosen

	mu      sync.Mutex
	now     *apps.Session
	sources map[string]ghapp.TokenSource // by the repositories
}

// token returns a token for just these repositories.
func (a *appSession) token(ctx context.Context, repositories ...string) (*ghapp.Token, error) {
	source, with := a.source(repositories)
	token, err := source.Token(ctx)
	if apps.KeyFailed(err) && a.renewed(ctx, with) {
		source, _ = a.source(repositories)
		token, err = source.Token(ctx)
	}
	if err == nil {
		a.keeper.handedOut(token.Secret)
	}
	return token, err
}

// source is where tokens come from, and the session that it belongs to.
func (a *appSession) source(repositories []string) (ghapp.TokenSource, *apps.Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := strings.Join(repositories, "\n")
	source := a.sources[name]
	if source == nil {
		source = a.now.App.TokenSource(a.request(repositories))
		a.sources[name] = source
	}
	return source, a.now
}

// request is for just these repositories. The lock is held.
func (a *appSession) request(repositories []string) ghapp.TokenRequest {
	return ghapp.TokenRequest{Repositories: repositories, Installation: a.now.Installation()}
}

// drop tells of a token that was refused.
func (a *appSession) drop(ctx context.Context, refused *ghapp.Token, repositories ...string) error {
	a.mu.Lock()
	app, request := a.now.App, a.request(repositories)
	a.mu.Unlock()
	return app.Invalidate(ctx, request, refused.Secret)
}

// renewed takes the key that the configuration has by now, and reports whether that is
// another than the one that failed.
func (a *appSession) renewed(ctx context.Context, failed *apps.Session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != failed {
		return true // somebody else has done so
	}
	_, newer := a.keeper.command.apps().Rekeyed(ctx, failed, func(o *apps.Opener) (config.AppSettings, error) { return o.Settings(a.repository) })
	if newer == nil {
		return false
	}
	a.now, a.sources = newer, map[string]ghapp.TokenSource{}
	return true
}

// tokensFor is a source of tokens for several repositories.
type tokensFor struct {
	*appSession
	repositories []string
}

// Token implements [ghapp.TokenSource].
func (t tokensFor) Token(ctx context.Context) (*ghapp.Token, error) {
	return t.token(ctx, t.repositories...)
}

// Invalidate is told of a token that GitHub refused.
func (t tokensFor) Invalidate(ctx context.Context, refused *ghapp.Token) error {
	return t.drop(ctx, refused, t.repositories...)
}
