package ghapp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// rejectedLife is how long a rejected key is not tried again, by any process, where
// another one serves.
const rejectedLife = time.Minute

// keyring are the keys of an App: the newest, and the one before it, which is used while
// GitHub rejects the newest. It is not changed once it is made; [App.Rotate] makes another.
type keyring struct {
	newest   *signedClient
	previous *previousKey // nil: there is one key
	replaced bool         // by Rotate: the one before goes when the newest has served
	heldBy   Broker       // that has the key, of which there is none here; nil: the key is here
}

// noKey is the error of what takes the key, where that is not here.
func (k *keyring) noKey() error {
	return &Error{Kind: ErrNoKey, Op: "act as the App itself",
		Err: fmt.Errorf("its private key is not on this machine: %s has it, and gives out tokens alone", k.heldBy)}
}

// previousKey is the key before the newest, and what is known of the newest. What is cached
// stands under the key that it came with.
type previousKey struct {
	open     func(context.Context) (*signedClient, error)
	client   atomic.Pointer[signedClient] // once it was needed
	inflight singleflight.Group
	rejected atomic.Int64 // when GitHub last rejected the newest key, in Unix seconds; 0: not known
}

// withKey calls fn with the newest key, and where GitHub does not take that, with the one
// before.
func withKey[T any](ctx context.Context, k *keyring, fn func(*signedClient) (T, error)) (T, error) {
	var none T
	switch {
	case k.heldBy != nil:
		return none, k.noKey()
	case k.previous == nil:
		return fn(k.newest)
	}
	var rejection error
	if !k.rejectedLately(ctx) {
		value, err := fn(k.newest)
		if !errors.Is(err, ErrKeyMismatch) {
			return value, err
		}
		rejection = err
	}
	before, err := k.before(ctx)
	var value T
	if err == nil {
		value, err = fn(before)
	} else {
		k.newest.log.Warn("the key before cannot be used", "error", err)
		err = ErrKeyMismatch
	}
	switch {
	case errors.Is(err, ErrKeyMismatch) && rejection != nil:
		return none, rejection
	case errors.Is(err, ErrKeyMismatch):
		return fn(k.newest)
	case rejection != nil && err == nil:
		k.noteRejected(ctx)
	}
	return value, err
}

// before is the client of the key before the newest.
func (k *keyring) before(ctx context.Context) (*signedClient, error) {
	p := k.previous
	if before := p.client.Load(); before != nil {
		return before, nil
	}
	return merge(ctx, &p.inflight, "", func(ctx context.Context) (*signedClient, error) {
		// Another call may have ended between the look above and this one.
		if before := p.client.Load(); before != nil {
			return before, nil
		}
		before, err := p.open(ctx)
		if err == nil {
			p.client.Store(before)
		}
		return before, err
	})
}

// all are the clients that tokens may have come from: one whose key cannot be opened never
// got a token.
func (k *keyring) all(ctx context.Context) []*signedClient {
	clients := []*signedClient{k.newest}
	if k.previous != nil {
		if before, err := k.before(ctx); err == nil {
			clients = append(clients, before)
		}
	}
	return clients
}

func (c *signedClient) rejectedKey() string {
	return cacheKey("refused key", c.host.API, c.issuer, c.fingerprint())
}

// rejectedLately reports whether GitHub rejected the newest key a moment ago, here or in
// another process.
func (k *keyring) rejectedLately(ctx context.Context) bool {
	at := k.previous.rejected.Load()
	if at == 0 && k.newest.store != nil {
		var seen time.Time
		if text, err := k.newest.store.Get(ctx, k.newest.rejectedKey()); err == nil && seen.UnmarshalText(text) == nil {
			at = seen.Unix()
		}
		k.previous.rejected.CompareAndSwap(0, max(at, 1))
	}
	return time.Since(time.Unix(at, 0)).Abs() < rejectedLife
}

func (k *keyring) noteRejected(ctx context.Context) {
	now, c := time.Now(), k.newest
	k.previous.rejected.Store(now.Unix())
	c.log.Warn("GitHub does not take the newest key; the one before it is used",
		"refused", c.fingerprint(), "used", k.previous.client.Load().fingerprint())
	if c.store == nil {
		return
	}
	text, err := now.MarshalText()
	if err == nil {
		err = c.store.Update(ctx, c.rejectedKey(), func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		c.log.Warn("that the newest key is refused is not remembered", "error", err)
	}
}

// inUse is the client of the key that signs now, and the fingerprint of the newest where
// that is rejected, or "".
func (k *keyring) inUse() (c *signedClient, rejected string) {
	if k.previous == nil || time.Since(time.Unix(k.previous.rejected.Load(), 0)).Abs() >= rejectedLife {
		return k.newest, ""
	}
	if before := k.previous.client.Load(); before != nil {
		return before, k.newest.fingerprint()
	}
	return k.newest, k.newest.fingerprint()
}
