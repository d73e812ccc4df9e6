package ghapp

import (
	"context"
	"maps"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// grantLife is how long a process goes on with what it knows an installation to have
// granted. Owners accept more, or less, while tokens with all of it live for an hour.
const grantLife = time.Minute

// grant is what an installation has granted.
type grant struct {
	permissions Permissions
	at          time.Duration // since App.start
}

// grantedNow asks GitHub what an installation has granted, where a token with all of its
// permissions is in memory or in the store: without one it is minted, which tells. It is
// nil where that is not known, and then any token is as good as it was.
func (a *App) grantedNow(ctx context.Context, w want, p place) Permissions {
	if !a.holds(ctx, a.key(w, p)) {
		return nil
	}
	if held, ok := a.grants.Load(p.Installation); ok {
		if g := held.(grant); time.Since(a.start)-g.at < grantLife {
			return g.permissions
		}
	}
	found, err := asApp(a, "read what the installation has granted", func(auth api.Authorization) (*api.Installation, error) {
		return a.api.Installation(ctx, auth, p.Installation)
	})
	if err != nil {
		a.log.Debug("a token with all permissions may have those of earlier", "error", err)
		return nil
	}
	a.grants.Store(p.Installation, grant{found.Permissions, time.Since(a.start)})
	return found.Permissions
}

// holds reports whether there is a token under a key, good or not.
func (a *App) holds(ctx context.Context, key string) bool {
	if held, ok := a.tokens.Load(key); ok && held.(*entry).token.Load() != nil {
		return true
	}
	if a.store == nil {
		return false
	}
	text, err := a.store.Get(ctx, key)
	return err == nil && decodeToken(text) != nil
}

// current reports whether a token with all permissions has those that are granted by now.
// A host whose tokens do not list what its installations do is asked once: what the
// installation had then is compared.
func (w want) current(t *Token) bool {
	return w.granted == nil || maps.Equal(t.Permissions, w.granted) || maps.Equal(t.listed, w.granted)
}
