package ghapp

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// TokenSource hands out a token that is good for a minute at least. It is safe for
// concurrent use; the Token must not be modified. It is what [Transport] needs.
//
// One that is an [Invalidator] too is told of tokens that GitHub refused.
type TokenSource interface {
	Token(ctx context.Context) (*Token, error)
}

// Invalidator is a [TokenSource] that is told of a token that GitHub refused, so that it
// does not hand it out again. Those of [App.TokenSource] are.
type Invalidator interface {
	TokenSource
	Invalidate(ctx context.Context, refused *Token) error
}

// TokenSource returns a source of tokens for one request, renewed before they
// expire. A request that is wrong in itself shows as [ErrInvalid] of Token. The
// source's warm path takes no lock and allocates nothing.
func (a *App) TokenSource(r TokenRequest) TokenSource {
	spec, err := newTokenSpec(r, a.host)
	return &source{app: a, spec: spec, err: err}
}

var _ Invalidator = (*source)(nil)

type source struct {
	app      *App
	spec     tokenSpec
	err      error
	warm     atomic.Pointer[warmToken]
	inflight singleflight.Group
}

// Format implements [fmt.Formatter], as that of [App] does.
func (s *source) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "tokens for %s", s.spec.object()) }

// warmToken is a token and until when it may be handed out without looking further.
// The limits are readings of the monotonic clock, which is cheap to ask. It stands
// still while a machine sleeps, so the wall clock is asked too, once a second.
type warmToken struct {
	token *Token
	until time.Duration // since tokenCache.start: when the token needs a refresh
	check atomic.Int64  // since tokenCache.start: when to ask the wall clock next
}

const wallCheck = time.Second

// Token returns the source's token.
func (s *source) Token(ctx context.Context) (*Token, error) {
	now := time.Since(s.app.tokens.start)
	if w := s.warm.Load(); w != nil && now < w.until && int64(now) < w.check.Load() && !w.token.refused.Load() {
		return w.token, nil
	}
	return s.renewWarm(ctx)
}

func (s *source) renewWarm(ctx context.Context) (*Token, error) {
	if s.err != nil {
		return nil, s.err
	}
	now := time.Since(s.app.tokens.start)
	if w := s.warm.Load(); w != nil && now < w.until && w.token.validFor(s.spec.minLife) && !w.token.needsRefresh() {
		w.check.Store(int64(now + wallCheck))
		return w.token, nil
	}
	// Merged here already, since a crowd that is merged by the App first has to work
	// out, each for itself, the key to be merged under.
	return merge(ctx, &s.inflight, "", func(ctx context.Context) (*Token, error) {
		t, err := s.app.token(ctx, s.spec)
		if err != nil {
			return nil, err
		}
		reserve := max(t.lifetime()/refreshShare, s.spec.minLife)
		w := &warmToken{token: t, until: time.Since(s.app.tokens.start) + t.Life() - reserve}
		if s.spec.permissions == nil {
			w.until = min(w.until, time.Since(s.app.tokens.start)+grantLife)
		}
		w.check.Store(int64(time.Since(s.app.tokens.start) + wallCheck))
		s.warm.Store(w)
		return t, nil
	})
}

// Invalidate tells the App that GitHub refused a token; see [App.Invalidate].
func (s *source) Invalidate(ctx context.Context, refused *Token) error {
	if s.err != nil {
		return s.err
	}
	// The App may hold another one by now, while this source still has the old.
	if refused.refused != nil && !refused.Propagating() {
		refused.refused.Store(true)
	}
	return s.app.invalidate(ctx, s.spec, refused.Secret)
}
