package ghapp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Token returns an installation access token for what r asks: from memory, from
// the store, or from GitHub. Concurrent calls for the same are merged into one
// mint; each caller leaves when its own context ends, and none ends the mint for
// the others. A token near its end is renewed while it still serves.
//
// The Kinds of its errors: [ErrInvalid], [ErrNotInstalled], [ErrSuspended],
// [ErrEnterprise], [ErrRepositoryNotSelected], [ErrPermission], [ErrTooBroad],
// [ErrWrongHost], and those of [App.Info].
func (a *App) Token(ctx context.Context, r TokenRequest) (*Token, error) {
	w, err := a.want(r)
	if err != nil {
		return nil, err
	}
	return a.token(ctx, w)
}

func (a *App) token(ctx context.Context, w want) (*Token, error) {
	return withKey(ctx, a, func(a *App) (*Token, error) { return a.tokenOfKey(ctx, w) })
}

func (a *App) tokenOfKey(ctx context.Context, w want) (*Token, error) {
	t, err := a.tokenAsked(ctx, w)
	if err != nil {
		a.noteKeyRefusal(ctx, err)
	}
	return t, err
}

func (a *App) tokenAsked(ctx context.Context, w want) (*Token, error) {
	p, err := a.placeOf(ctx, w)
	if err != nil {
		return nil, err
	}
	if w.permissions == nil {
		w.granted = a.grantedNow(ctx, w, p)
	}
	t, err := a.tokenAt(ctx, w, p)
	if err == nil || !errors.Is(err, ErrNotInstalled) && !errors.Is(err, ErrRepositoryNotSelected) || w.target.id != 0 {
		return t, err
	}
	// What was remembered may be wrong: the App was installed anew, or the
	// repository moved. Look again, once.
	if p.remembered {
		a.forget(ctx, a.placeKey(w.target))
		if moved, ok := w.single(); ok {
			a.forget(ctx, a.placeKey(moved))
		}
		if p, err = a.placeOf(ctx, w); err != nil {
			return nil, err
		}
		if t, err = a.tokenAt(ctx, w, p); err == nil || !errors.Is(err, ErrRepositoryNotSelected) {
			return t, err
		}
	}
	if moved, ok := w.single(); ok && p.Repository == 0 {
		if p, lookErr := a.locate(ctx, moved); lookErr == nil && p.Repository != 0 {
			return a.tokenAt(ctx, w, p)
		}
	}
	return nil, err
}

// single is the one repository asked for: only then a move can be followed.
func (w want) single() (target, bool) {
	if len(w.names) != 1 {
		return target{}, false
	}
	return target{owner: w.owner, name: w.names[0]}, true
}

// placeOf finds where to mint: the installation of the owner, or, where a single
// repository is known to have moved, or its owner has none, that of the repository
// itself.
func (a *App) placeOf(ctx context.Context, w want) (place, error) {
	single, one := w.single()
	if one && w.target.id == 0 {
		if p, ok := a.recall(ctx, a.placeKey(single)); ok && p.Repository != 0 {
			return p, nil
		}
	}
	p, err := a.locate(ctx, w.target)
	if one && errors.Is(err, ErrNotInstalled) {
		if moved, lookErr := a.locate(ctx, single); lookErr == nil {
			return moved, nil
		}
	}
	return p, err
}

// entry is a token in memory, and when a failed renewal may be tried again.
type entry struct {
	token atomic.Pointer[Token]
	retry atomic.Int64 // nanoseconds since App.start
}

// renewalPause lies between two attempts to renew a token that still serves.
const renewalPause = 30 * time.Second

func (a *App) tokenAt(ctx context.Context, w want, p place) (*Token, error) {
	key := a.key(w, p)
	held, _ := a.tokens.LoadOrStore(key, &entry{})
	e := held.(*entry)
	if t := e.token.Load(); t.serves(w.minLife) && w.current(t) {
		if t.aging() {
			a.renew(ctx, key, e, w, p)
		}
		return t, nil
	}
	for {
		own := false // whether it was our own asking, or that of a caller content with less
		t, err := merge(ctx, &a.flight, key, func(ctx context.Context) (*Token, error) {
			own = true
			return a.obtain(ctx, key, e, w, p)
		})
		switch {
		case err != nil:
			return nil, err
		case t.serves(w.minLife) && w.current(t):
			return t, nil
		case own:
			return nil, &Error{Kind: ErrInvalid, Op: "mint an installation access token for " + w.object(),
				Err: fmt.Errorf("a life of %s is needed, but this host's tokens live %s", w.minLife, t.whole())}
		}
	}
}

// renew replaces a token that is near its end, without anyone waiting for it.
func (a *App) renew(ctx context.Context, key string, e *entry, w want, p place) {
	now, retry := int64(time.Since(a.start)), e.retry.Load()
	if now < retry || !e.retry.CompareAndSwap(retry, now+int64(renewalPause)) {
		return
	}
	detached := context.WithoutCancel(ctx)
	go func() {
		_, err := merge(detached, &a.flight, key, func(ctx context.Context) (*Token, error) {
			return a.obtain(ctx, key, e, w, p)
		})
		if err != nil {
			a.log.Warn("a token could not be renewed; it serves on while it lives", "for", w.object(), "error", err)
		}
	}()
}

// obtain gets a token that is not aging, from the store or from GitHub, and keeps
// it. While it asks GitHub it holds the store's lock, so that of many processes
// one mints. Where none can be minted at present, an aging one does.
func (a *App) obtain(ctx context.Context, key string, e *entry, w want, p place) (*Token, error) {
	kept := func(text []byte) *Token {
		t := decodeToken(text)
		if t == nil {
			return nil
		}
		if a.api.Clock.Measured() {
			t.offset = a.api.Clock.Offset()
		}
		if t.Age() < -youth {
			return nil // minted in the future: the clock it was stored by has been set since
		}
		a.api.Clock.Assume(t.offset)
		if current := e.token.Load(); current != nil && current.refused.Load() && current.Secret.Reveal() == t.Secret.Reveal() {
			return nil
		}
		if !t.serves(w.minLife) || !w.current(t) {
			return nil
		}
		t.key = key
		return t
	}
	fresh := func(text []byte) *Token {
		if t := kept(text); t != nil && !t.aging() {
			return t
		}
		return nil
	}
	// The flight before this one may have landed since the caller looked.
	if t := e.token.Load(); t.serves(w.minLife) && !t.aging() && w.current(t) {
		return t, nil
	}
	var t *Token
	var mintErr error
	if a.store == nil {
		t, mintErr = a.mint(ctx, w, p)
	} else {
		text, err := a.store.Get(ctx, key)
		if err == nil {
			t = fresh(text)
		}
		if t == nil {
			ran := false
			err = a.store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
				ran = true
				if t = fresh(old); t != nil {
					return old, nil
				}
				t, mintErr = a.mint(ctx, w, p)
				if aging := kept(old); aging != nil && isOutage(mintErr) {
					a.log.Warn("a token could not be renewed; it serves on while it lives", "for", w.object(), "error", mintErr)
					t, mintErr = aging, nil
					return old, nil
				}
				if mintErr != nil {
					return nil, mintErr
				}
				if a.key(w, p) != key {
					return old, nil // it was signed for with another key, which the Signer has now
				}
				t.key = key
				return t.encode()
			})
			if err != nil && mintErr == nil {
				a.log.Warn("the token is not shared with other processes", "error", err)
				if t != nil {
					t.key = ""
				}
			}
			if !ran {
				t, mintErr = a.mint(ctx, w, p)
			}
		}
	}
	if mintErr != nil {
		return nil, mintErr
	}
	e.token.Store(t)
	a.tokens.Store(key, e) // it may have been swept while we asked
	a.sweep()
	return t, nil
}

// isOutage reports whether a mint has failed for a cause that may pass, and not because
// GitHub refused it.
func isOutage(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrKey) || errors.Is(err, context.DeadlineExceeded)
}

// sweep drops the tokens that have expired, so that a process which meets many
// repositories does not grow.
func (a *App) sweep() {
	a.tokens.Range(func(key, held any) bool {
		if t := held.(*entry).token.Load(); t != nil && t.Life() <= 0 {
			a.tokens.CompareAndDelete(key, held)
		}
		return true
	})
}
