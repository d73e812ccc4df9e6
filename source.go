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
	w, err := a.want(r)
	return &source{app: a, want: w, err: err}
}

var _ Invalidator = (*source)(nil)

type source struct {
	app    *App
	want   want
	err    error
	lease  atomic.Pointer[lease]
	flight singleflight.Group
}

// Format implements [fmt.Formatter], as that of [App] does.
func (s *source) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "tokens for %s", s.want.object()) }

// lease is a token and until when it may be handed out without looking further.
// The limits are readings of the monotonic clock, which is cheap to ask. It stands
// still while a machine sleeps, so the wall clock is asked too, once a second.
type lease struct {
	token *Token
	until time.Duration // since App.start: when the token begins to age
	check atomic.Int64  // since App.start: when to ask the wall clock next
}

const wallCheck = time.Second

// Token returns the source's token.
func (s *source) Token(ctx context.Context) (*Token, error) {
	now := time.Since(s.app.start)
	if l := s.lease.Load(); l != nil && now < l.until && int64(now) < l.check.Load() && !l.token.refused.Load() {
		return l.token, nil
	}
	return s.renewLease(ctx)
}

func (s *source) renewLease(ctx context.Context) (*Token, error) {
	if s.err != nil {
		return nil, s.err
	}
	now := time.Since(s.app.start)
	if l := s.lease.Load(); l != nil && now < l.until && l.token.serves(s.want.minLife) && !l.token.aging() {
		l.check.Store(int64(now + wallCheck))
		return l.token, nil
	}
	// Merged here already, since a crowd that is merged by the App first has to work
	// out, each for itself, the key to be merged under.
	return merge(ctx, &s.flight, "", func(ctx context.Context) (*Token, error) {
		t, err := s.app.token(ctx, s.want)
		if err != nil {
			return nil, err
		}
		reserve := max(t.whole()/agingShare, s.want.minLife)
		l := &lease{token: t, until: time.Since(s.app.start) + t.Life() - reserve}
		if s.want.permissions == nil {
			l.until = min(l.until, time.Since(s.app.start)+grantLife)
		}
		l.check.Store(int64(time.Since(s.app.start) + wallCheck))
		s.lease.Store(l)
		return t, nil
	})
}

// Invalidate tells the App that GitHub refused a token; see [App.Invalidate].
func (s *source) Invalidate(ctx context.Context, refused *Token) error {
	if s.err != nil {
		return s.err
	}
	// The App may hold another one by now, while this source still leases the old.
	if refused.refused != nil && !refused.Propagating() {
		refused.refused.Store(true)
	}
	return s.app.drop(ctx, s.want, refused.Secret)
}
