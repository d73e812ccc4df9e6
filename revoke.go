package ghapp

import (
	"context"
	"errors"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/secret"
)

// Invalidate tells that GitHub refused a token of this request (401), so that the next
// call of Token gets another. A token that has just been minted stays: GitHub does
// not know it everywhere yet, and a new one would start that anew; but not one that is
// [Token.Settled] for a repository of this request. A token other than the one held has
// been dropped already. The error is the store's.
func (a *App) Invalidate(ctx context.Context, r TokenRequest, refused secret.Text) error {
	spec, err := newTokenSpec(r, a.host)
	if err != nil {
		return err
	}
	return a.invalidate(ctx, spec, refused)
}

func (a *App) invalidate(ctx context.Context, spec tokenSpec, refused secret.Text) error {
	if a.broker != nil {
		return a.tokens.invalidate(ctx, a.broker.giver(a, spec).key(), spec, refused)
	}
	var failed error
	known := a.installations.known(ctx, spec)
	for _, c := range a.keys.Load().all(ctx) {
		for _, at := range known {
			failed = errors.Join(failed, a.tokens.invalidate(ctx, spec.key(c, at), spec, refused))
		}
	}
	return failed
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
func (a *App) Forget(ctx context.Context, token secret.Text) error {
	return a.tokens.forget(ctx, token)
}

// Purge drops a token from a store, if that is a [Purger]. The error is the store's.
func Purge(ctx context.Context, store Store, token secret.Text) error {
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

func revoke(ctx context.Context, client *api.Client, t *Token) error {
	return explain("revoke the token", t.waitOut(ctx, func() error { return client.RevokeToken(ctx, t.Secret) }))
}
