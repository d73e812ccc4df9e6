package ghapp

import (
	"context"
	"errors"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Drop tells that GitHub refused a token of this request (401), so that the next
// call of Token gets another. A token that has just been minted stays: GitHub does
// not know it everywhere yet, and a new one would start that anew. A token other
// than the one held has been dropped already. The error is the store's.
func (a *App) Drop(ctx context.Context, r TokenRequest, refused Secret) error {
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
		if dropErr := a.dropAt(ctx, a.key(w, p), refused); err == nil {
			err = dropErr
		}
	}
	return err
}

func (a *App) dropAt(ctx context.Context, key string, refused Secret) error {
	is := func(t *Token) bool {
		return t != nil && t.Secret.Reveal() == refused.Reveal() && !t.Young()
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

// Revoke ends a token at GitHub and everywhere here. It succeeds only where GitHub
// says so: a token that has expired, or was revoked before, gives [ErrTokenRefused].
func (a *App) Revoke(ctx context.Context, t *Token) error {
	if t.refused != nil {
		t.refused.Store(true)
	}
	for _, a := range a.ofEachKey() {
		a.tokens.Range(func(key, held any) bool {
			current := held.(*entry).token.Load()
			if current == nil || current.Secret.Reveal() != t.Secret.Reveal() {
				return true
			}
			current.refused.Store(true)
			if a.store != nil {
				err := a.store.Update(ctx, key.(string), func(_ context.Context, old []byte) ([]byte, error) {
					if kept := decodeToken(old); kept != nil && kept.Secret.Reveal() != t.Secret.Reveal() {
						return old, nil
					}
					return nil, nil
				})
				if err != nil {
					a.log.Warn("a revoked token stays in the cache", "error", err)
				}
			}
			return true
		})
	}
	return revoke(ctx, a.api, t)
}

// RevokeToken ends a token of whichever App: a token is revoked by presenting it,
// so of c only what says how to reach GitHub is used. See [App.Revoke].
func RevokeToken(ctx context.Context, c Config, token Secret) error {
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: "revoke the token", Err: err}
	}
	client, err := c.client(host)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: "revoke the token", Err: err}
	}
	return revoke(ctx, client, &Token{Secret: token})
}

func revoke(ctx context.Context, client *api.Client, t *Token) error {
	return explain("revoke the token", t.waitOut(ctx, func() error { return client.RevokeToken(ctx, t.Secret) }))
}
