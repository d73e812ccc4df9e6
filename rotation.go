package ghapp

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"sync/atomic"
	"time"
)

// fingerprinter returns the fingerprint that GitHub's settings page shows for a
// Signer's key, SHA-256 of the public key's SubjectPublicKeyInfo, or "" for one that
// does not tell its key. It is asked again each time: behind the name of a key in a
// key service another key may stand one day.
func fingerprinter(s Signer) func() string {
	named, ok := s.(interface{ Public() crypto.PublicKey })
	if !ok {
		return func() string { return "" }
	}
	type print struct {
		of   *rsa.PublicKey
		text string
	}
	var last atomic.Pointer[print]
	return func() string {
		key, ok := named.Public().(*rsa.PublicKey)
		if !ok || key == nil {
			return ""
		}
		if p := last.Load(); p != nil && p.of == key {
			return p.text
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return ""
		}
		sum := sha256.Sum256(der)
		text := "SHA256:" + base64.StdEncoding.EncodeToString(sum[:])
		last.Store(&print{key, text})
		return text
	}
}

// previous is the key before an App's own, and what is known of the own one. An App
// with two keys is two Apps: all that is cached stands under the key that it came with.
type previous struct {
	open    func(context.Context) (Signer, error)
	app     atomic.Pointer[App] // once it was needed
	refused atomic.Int64        // when GitHub last refused the App's own key, in Unix seconds; 0: not known
}

// refusalLife is how long a refused key is not tried again, by any process.
const refusalLife = time.Minute

// withKey calls fn with a, and where GitHub does not take its key, with an App that
// has the key before.
func withKey[T any](ctx context.Context, a *App, fn func(*App) (T, error)) (T, error) {
	if a.previous == nil {
		return fn(a)
	}
	var none T
	var refusal error
	if !a.refusedLately(ctx) {
		value, err := fn(a)
		if !errors.Is(err, ErrKeyMismatch) {
			return value, err
		}
		refusal = err
	}
	before, err := a.before(ctx)
	var value T
	if err == nil {
		value, err = fn(before)
	} else {
		a.log.Warn("the key before cannot be used", "error", err)
		err = ErrKeyMismatch
	}
	switch {
	case errors.Is(err, ErrKeyMismatch) && refusal != nil:
		return none, refusal
	case errors.Is(err, ErrKeyMismatch):
		return fn(a)
	case refusal != nil && err == nil:
		a.noteRefusal(ctx)
	}
	return value, err
}

// before is an App that differs from a in its key.
func (a *App) before(ctx context.Context) (*App, error) {
	if before := a.previous.app.Load(); before != nil {
		return before, nil
	}
	return merge(ctx, &a.flight, "previous key", func(ctx context.Context) (*App, error) {
		// Another flight may have ended between the look above and this one.
		if before := a.previous.app.Load(); before != nil {
			return before, nil
		}
		s, err := a.previous.open(ctx)
		if err != nil {
			return nil, err
		}
		before := &App{
			host: a.host, issuer: a.issuer, fingerprint: fingerprinter(s), signer: s,
			api: a.api, store: a.store, found: a.found, log: a.log, start: a.start, believe: a.believe,
		}
		a.previous.app.Store(before)
		return before, nil
	})
}

// ofEachKey are the Apps that tokens may have come from here: a, and the one with the
// key before, if that was needed.
func (a *App) ofEachKey() []*App {
	apps := []*App{a}
	if a.previous != nil {
		if before := a.previous.app.Load(); before != nil {
			apps = append(apps, before)
		}
	}
	return apps
}

func (a *App) refusalKey() string {
	return cacheKey("refused key", a.host.API, a.issuer, a.fingerprint())
}

// refusedLately reports whether GitHub refused the key a moment ago, here or in
// another process.
func (a *App) refusedLately(ctx context.Context) bool {
	at := a.previous.refused.Load()
	if at == 0 && a.found != nil {
		var seen time.Time
		if text, err := a.found.Get(ctx, a.refusalKey()); err == nil && seen.UnmarshalText(text) == nil {
			at = seen.Unix()
		}
		a.previous.refused.CompareAndSwap(0, max(at, 1))
	}
	return time.Since(time.Unix(at, 0)).Abs() < refusalLife
}

func (a *App) noteRefusal(ctx context.Context) {
	now := time.Now()
	a.previous.refused.Store(now.Unix())
	a.log.Warn("GitHub does not take the newest key; the one before it is used", "refused", a.fingerprint(), "used", a.previous.app.Load().fingerprint())
	if a.found == nil {
		return
	}
	text, err := now.MarshalText()
	if err == nil {
		err = a.found.Update(ctx, a.refusalKey(), func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		a.log.Warn("that the newest key is refused is not remembered", "error", err)
	}
}

// RejectedKey is the fingerprint of the newest of two keys where GitHub has refused it
// within the last minute and takes the one before; otherwise it is "".
func (a *App) RejectedKey() string {
	if a.previous == nil || time.Since(time.Unix(a.previous.refused.Load(), 0)).Abs() >= refusalLife {
		return ""
	}
	return a.fingerprint()
}
