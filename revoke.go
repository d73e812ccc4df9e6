package ghapp

import (
	"context"
	"errors"
	"slices"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Invalidate tells that GitHub refused a token of this request (401), so that the next
// call of Token gets another. A token that has just been minted stays: GitHub does
// not know it everywhere yet, and a new one would start that anew; but not one that is
// [Token.Settled] for a repository of this request. A token other than the one held has
// been dropped already. The error is the store's.
func (a *App) Invalidate(ctx context.Context, r TokenRequest, refused Secret) error {
	w, err := a.want(r)
	if err != nil {
		return err
	}
	return a.drop(ctx, w, refused)
}

func (a *App) drop(ctx context.Context, w want, refused Secret) error {
	err := a.dropOfKey(ctx, w, refused)
	if a.previous == nil {
		return err
	}
	if before, noKey := a.before(ctx); noKey == nil { // else it never got a token
		err = errors.Join(err, before.dropOfKey(ctx, w, refused))
	}
	return err
}

func (a *App) dropOfKey(ctx context.Context, w want, refused Secret) error {
	places := make([]place, 0, 2)
	if w.target.id != 0 {
		places = append(places, place{Installation: w.target.id})
	} else {
		if p, ok := a.recall(ctx, a.placeKey(w.target)); ok && p.err == nil {
			places = append(places, p)
		}
		if single, ok := w.single(); ok {
			if p, ok := a.recall(ctx, a.placeKey(single)); ok && p.err == nil {
				places = append(places, p)
			}
		}
	}
	var err error
	for _, p := range places {
		if dropErr := a.dropAt(ctx, a.key(w, p), w, refused); err == nil {
			err = dropErr
		}
	}
	return err
}

func (a *App) dropAt(ctx context.Context, key string, w want, refused Secret) error {
	is := func(t *Token) bool {
		return t != nil && t.Secret.Reveal() == refused.Reveal() && (!t.Propagating() || slices.ContainsFunc(w.repositories(), t.settled.has))
	}
	if held, ok := a.tokens.Load(key); ok {
		if t := held.(*entry).token.Load(); is(t) {
			t.refused.Store(true)
		}
	}
	if a.store == nil {
		return nil
	}
	return a.store.Update(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
		t := decodeToken(old)
		if t != nil && a.api.Clock.Measured() {
			t.offset = a.api.Clock.Offset() // it may have been minted while the clock was wrong
		}
		if is(t) {
			return nil, nil
		}
		return old, nil
	})
}

// Purger is a [Store] that can be searched for what is in its entries. A token that is
// revoked is found there whatever it was asked for.
type Purger interface {
	Store
	// Purge removes the entries that gone says yes to. It is called with no lock held,
	// and so is gone with the lock of an entry, perhaps twice.
	Purge(ctx context.Context, gone func(entry []byte) bool) error
}

// Forget drops a token everywhere here, however new it is: no caller is given it any
// more, by this App or by others with the same [Store], if that is a [Purger]. GitHub is
// not told; see [App.Revoke]. The error is the store's.
func (a *App) Forget(ctx context.Context, token Secret) error {
	var failed error
	for _, a := range a.ofEachKey() {
		a.tokens.Range(func(key, held any) bool {
			current := held.(*entry).token.Load()
			if current == nil || current.Secret.Reveal() != token.Reveal() {
				return true
			}
			current.refused.Store(true)
			if a.store != nil {
				failed = errors.Join(failed, a.store.Update(ctx, key.(string), func(_ context.Context, old []byte) ([]byte, error) {
					if kept := decodeToken(old); kept != nil && kept.Secret.Reveal() != token.Reveal() {
						return old, nil
					}
					return nil, nil
				}))
			}
			return true
		})
	}
	return errors.Join(failed, purge(ctx, a.store, token))
}

func purge(ctx context.Context, store Store, token Secret) error {
	purger, ok := store.(Purger)
	if !ok {
		return nil
	}
	return purger.Purge(ctx, func(entry []byte) bool {
		kept := decodeToken(entry)
		return kept != nil && kept.Secret.Reveal() == token.Reveal()
	})
}

// Revoke ends a token at GitHub and everywhere here, as [App.Forget] does. It succeeds
// only where GitHub says so: a token that has expired, or was revoked before, gives
// [ErrTokenRefused].
func (a *App) Revoke(ctx context.Context, t *Token) error {
	if t.refused != nil {
		t.refused.Store(true)
	}
	// Before GitHub is told, so that nobody is given a dead one meanwhile.
	if err := a.Forget(ctx, t.Secret); err != nil {
		a.log.Warn("a revoked token stays in the cache", "error", err)
	}
	return revoke(ctx, a.api, t)
}

// RevokeToken ends a token of whichever App: a token is revoked by presenting it,
// so of c only what says how to reach GitHub is used, and the Store, where the token is
// dropped if that is a [Purger]. See [App.Revoke].
func RevokeToken(ctx context.Context, c Config, token Secret) error {
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: "revoke the token", Err: err}
	}
	client, err := c.client(host)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: "revoke the token", Err: err}
	}
	if err := purge(ctx, c.Store, token); err != nil {
		client.Log.Warn("a revoked token stays in the cache", "error", err)
	}
	return revoke(ctx, client, &Token{Secret: token})
}

func revoke(ctx context.Context, client *api.Client, t *Token) error {
	return explain("revoke the token", t.waitOut(ctx, func() error { return client.RevokeToken(ctx, t.Secret) }))
}
