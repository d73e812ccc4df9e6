package ghapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/wait"
	"github.com/ghapp-dev/ghapp/secret"
)

// tokenCache keeps tokens: in memory, and in the store, where other processes find them.
// It is the same for every key of the App; an entry's key says which one it came with.
type tokenCache struct {
	shared Store // may be nil
	clock  *api.Clock
	log    *slog.Logger

	start  time.Time // what monotonic readings are relative to
	memory sync.Map  // cache key -> *cacheEntry
}

// cacheEntry is a token in memory, and when a failed renewal may be tried again.
type cacheEntry struct {
	token atomic.Pointer[Token]
	retry atomic.Int64 // nanoseconds since tokenCache.start
}

// tokenQuery is a token that is looked for, and who gives it where there is none.
type tokenQuery struct {
	spec     tokenSpec
	from     tokenGiver
	inflight *singleflight.Group
	key      string // of the cache
}

// tokenGiver gives new tokens for one tokenSpec: GitHub to the App in an installation, or a
// broker.
type tokenGiver interface {
	mint(ctx context.Context) (*Token, error)
	// key is that of the cache, as it is now.
	key() string
}

func newTokenQuery(spec tokenSpec, from tokenGiver, inflight *singleflight.Group) tokenQuery {
	return tokenQuery{spec: spec, from: from, inflight: inflight, key: from.key()}
}

// accepts reports whether a token is what is looked for.
func (q tokenQuery) accepts(t *Token) bool { return t.validFor(q.spec.minLife) && q.spec.current(t) }

// renewalPause lies between two attempts to renew a token that is still valid.
const renewalPause = 30 * time.Second

// get returns the token from memory, from the store, or from GitHub.
func (c *tokenCache) get(ctx context.Context, q tokenQuery) (*Token, error) {
	held, _ := c.memory.LoadOrStore(q.key, &cacheEntry{})
	e := held.(*cacheEntry)
	if t := e.token.Load(); q.accepts(t) {
		if t.needsRefresh() {
			c.refresh(ctx, e, q)
		}
		return t, nil
	}
	for {
		own := false // whether this call has asked, or shares the answer of one that wants less
		t, err := merge(ctx, q.inflight, q.key, func(ctx context.Context) (*Token, error) {
			own = true
			return c.loadOrMint(ctx, e, q)
		})
		switch {
		case err != nil:
			return nil, err
		case q.accepts(t):
			return t, nil
		case own:
			return nil, &Error{Kind: ErrInvalid, Op: "mint an installation access token for " + q.spec.object(),
				Err: fmt.Errorf("a life of %s is needed, but this host's tokens live %s", q.spec.minLife, t.lifetime())}
		}
	}
}

// refresh replaces a token that is near its end, without anyone waiting for it.
func (c *tokenCache) refresh(ctx context.Context, e *cacheEntry, q tokenQuery) {
	now, retry := int64(time.Since(c.start)), e.retry.Load()
	if now < retry || !e.retry.CompareAndSwap(retry, now+int64(renewalPause)) {
		return
	}
	detached := context.WithoutCancel(ctx)
	go func() {
		_, err := merge(detached, q.inflight, q.key, func(ctx context.Context) (*Token, error) {
			return c.loadOrMint(ctx, e, q)
		})
		if err != nil {
			c.notRenewed(q, err)
		}
	}()
}

func (c *tokenCache) notRenewed(q tokenQuery, err error) {
	c.log.Warn("a token could not be renewed; it serves on while it lives", "for", q.spec.object(), "error", err)
}

// loadOrMint gets a token that needs no refresh, from the store or from GitHub, and keeps
// it.
func (c *tokenCache) loadOrMint(ctx context.Context, e *cacheEntry, q tokenQuery) (*Token, error) {
	// The call before this one may have ended since the caller looked.
	if t := e.token.Load(); q.accepts(t) && !t.needsRefresh() {
		return t, nil
	}
	t := c.load(ctx, e, q)
	if t == nil {
		var err error
		if t, err = c.mint(ctx, e, q); err != nil {
			return nil, err
		}
	}
	e.token.Store(t)
	c.memory.Store(q.key, e) // it may have been swept while we asked
	c.sweep()
	return t, nil
}

// load returns the store's token, if it needs no refresh, or nil. A store that cannot be
// read has none.
func (c *tokenCache) load(ctx context.Context, e *cacheEntry, q tokenQuery) *Token {
	if c.shared == nil {
		return nil
	}
	text, err := c.shared.Get(ctx, q.key)
	if err != nil {
		return nil
	}
	return c.fresh(text, e, q)
}

// mint asks GitHub for a token, and has the store keep it. Meanwhile it holds the store's
// lock, so that of many processes one mints.
func (c *tokenCache) mint(ctx context.Context, e *cacheEntry, q tokenQuery) (*Token, error) {
	if c.shared == nil {
		return q.from.mint(ctx)
	}
	var t *Token
	var mintErr error
	ran := false
	telling := time.AfterFunc(wait.Patience, func() {
		c.log.Warn("waiting for another process that gets the token", "for", q.spec.object())
	})
	defer telling.Stop()
	err := c.shared.Update(ctx, q.key, func(ctx context.Context, old []byte) (entry []byte, _ error) {
		telling.Stop()
		ran = true
		t, entry, mintErr = c.replace(ctx, old, e, q)
		return entry, mintErr
	})
	switch {
	case mintErr != nil:
		return nil, mintErr
	case err != nil:
		c.log.Warn("the token is not shared with other processes", "error", err)
		if t != nil {
			t.key = ""
		}
	}
	if !ran {
		return q.from.mint(ctx)
	}
	return t, nil
}

// replace mints the token that comes in the place of an entry, and what the entry is then.
// It returns the token of the entry where another process has just minted that, and where
// none can be minted at present, although it needs a refresh.
func (c *tokenCache) replace(ctx context.Context, old []byte, e *cacheEntry,
	q tokenQuery) (t *Token, entry []byte, err error) {
	if t = c.fresh(old, e, q); t != nil {
		return t, old, nil
	}
	t, err = q.from.mint(ctx)
	if err != nil {
		if ending := c.decode(old, e, q); ending != nil && isOutage(err) {
			c.notRenewed(q, err)
			return ending, old, nil
		}
		return nil, nil, err
	}
	if q.from.key() != q.key {
		return t, old, nil // it was signed for with another key, which the Signer has now, or for another subject
	}
	t.key = q.key
	entry, err = t.encode()
	return t, entry, err
}

// fresh is the token of an entry, if it is what is looked for and needs no refresh, or nil.
func (c *tokenCache) fresh(entry []byte, e *cacheEntry, q tokenQuery) *Token {
	if t := c.decode(entry, e, q); t != nil && !t.needsRefresh() {
		return t
	}
	return nil
}

// decode is the token of an entry, if it is what is looked for, or nil.
func (c *tokenCache) decode(entry []byte, e *cacheEntry, q tokenQuery) *Token {
	t := decodeToken(entry)
	if t == nil {
		return nil
	}
	if c.clock.Measured() {
		t.offset = c.clock.Offset()
	}
	if t.age() < -propagationDelay {
		return nil // minted in the future: the clock it was stored by has been set since
	}
	c.clock.Assume(t.offset)
	if current := e.token.Load(); current != nil && current.refused.Load() &&
		current.Secret.Reveal() == t.Secret.Reveal() {
		return nil
	}
	if !q.accepts(t) {
		return nil
	}
	t.key = q.key
	return t
}

// isOutage reports whether a mint has failed for a cause that may pass, and not because
// GitHub refused it.
func isOutage(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrKey) ||
		errors.Is(err, ErrBrokerUnreachable) || errors.Is(err, ErrIdentity) || errors.Is(err, context.DeadlineExceeded)
}

// has reports whether there is a token under a key, good or not.
func (c *tokenCache) has(ctx context.Context, key string) bool {
	if held, ok := c.memory.Load(key); ok && held.(*cacheEntry).token.Load() != nil {
		return true
	}
	if c.shared == nil {
		return false
	}
	text, err := c.shared.Get(ctx, key)
	return err == nil && decodeToken(text) != nil
}

// sweep drops the tokens that have expired, so that a process which meets many
// repositories does not grow.
func (c *tokenCache) sweep() {
	c.memory.Range(func(key, held any) bool {
		if t := held.(*cacheEntry).token.Load(); t != nil && t.Life() <= 0 {
			c.memory.CompareAndDelete(key, held)
		}
		return true
	})
}

// invalidate drops a token that GitHub refused, unless it may be too new, from one entry.
func (c *tokenCache) invalidate(ctx context.Context, key string, spec tokenSpec, refused secret.Text) error {
	is := func(t *Token) bool {
		return t != nil && t.Secret.Reveal() == refused.Reveal() &&
			(!t.Propagating() || slices.ContainsFunc(spec.repositories(), t.settled.has))
	}
	if held, ok := c.memory.Load(key); ok {
		if t := held.(*cacheEntry).token.Load(); is(t) {
			t.refused.Store(true)
		}
	}
	if c.shared == nil {
		return nil
	}
	return c.shared.Update(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
		t := decodeToken(old)
		if t != nil && c.clock.Measured() {
			t.offset = c.clock.Offset() // it may have been minted while the clock was wrong
		}
		if is(t) {
			return nil, nil
		}
		return old, nil
	})
}

// forget drops a token from all entries, however new it is.
func (c *tokenCache) forget(ctx context.Context, token secret.Text) error {
	var failed error
	c.memory.Range(func(key, held any) bool {
		current := held.(*cacheEntry).token.Load()
		if current == nil || current.Secret.Reveal() != token.Reveal() {
			return true
		}
		current.refused.Store(true)
		if c.shared != nil {
			failed = errors.Join(failed, c.shared.Update(ctx, key.(string), func(_ context.Context, old []byte) ([]byte, error) {
				if kept := decodeToken(old); kept != nil && kept.Secret.Reveal() != token.Reveal() {
					return old, nil
				}
				return nil, nil
			}))
		}
		return true
	})
	return errors.Join(failed, Purge(ctx, c.shared, token))
}
