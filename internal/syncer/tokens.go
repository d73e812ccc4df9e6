//go:build unix

package syncer

import (
	"context"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/secret"
)

// appTokens gets tokens of an App for as long as a process watches.
type appTokens struct {
	app       *apps.App
	handedOut func(token secret.Text) // is told of each

	mu      sync.Mutex
	of      *apps.Session                // whose sources they are
	sources map[string]ghapp.TokenSource // by the repositories
}

// token returns a token for just these repositories.
func (a *appTokens) token(ctx context.Context, repositories ...string) (*ghapp.Token, error) {
	var token *ghapp.Token
	err := a.app.Do(ctx, func(s *apps.Session) (err error) {
		token, err = a.source(s, repositories).Token(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.handedOut(token.Secret)
	return token, nil
}

// source is where tokens come from with the key of a Session.
func (a *appTokens) source(s *apps.Session, repositories []string) ghapp.TokenSource {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of != s {
		a.of, a.sources = s, map[string]ghapp.TokenSource{}
	}
	name := strings.Join(repositories, "\n")
	source := a.sources[name]
	if source == nil {
		source = s.App.TokenSource(request(s, repositories))
		a.sources[name] = source
	}
	return source
}

// request is for just these repositories.
func request(s *apps.Session, repositories []string) ghapp.TokenRequest {
	return ghapp.TokenRequest{Repositories: repositories, Installation: s.Installation()}
}

// invalidate tells of a token that was refused.
func (a *appTokens) invalidate(ctx context.Context, refused *ghapp.Token, repositories ...string) error {
	s := a.app.Current()
	return s.App.Invalidate(ctx, request(s, repositories), refused.Secret)
}

// tokensFor is a source of tokens for several repositories.
type tokensFor struct {
	*appTokens
	repositories []string
}

// Token implements [ghapp.TokenSource].
func (t tokensFor) Token(ctx context.Context) (*ghapp.Token, error) {
	return t.token(ctx, t.repositories...)
}

// Invalidate is told of a token that GitHub refused.
func (t tokensFor) Invalidate(ctx context.Context, refused *ghapp.Token) error {
	return t.invalidate(ctx, refused, t.repositories...)
}
