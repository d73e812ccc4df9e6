package ghapp

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// settled are the repositories, in lower case, for which GitHub's git service has taken
// a token once. It is safe for concurrent use; nil is one that stays empty.
type settled struct {
	mu    sync.Mutex
	names map[string]bool
}

func newSettled(names ...string) *settled {
	s := &settled{names: map[string]bool{}}
	for _, name := range names {
		s.add(name)
	}
	return s
}

func (s *settled) add(name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[strings.ToLower(name)] = true
}

func (s *settled) has(name string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[strings.ToLower(name)]
}

func (s *settled) list() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.names))
}

// Settled reports whether GitHub's git service can be expected to know the token for a
// repository, owner/name: the token is not [Token.Propagating] any more, or was taken there
// once, as [App.Settle] has found out.
func (t *Token) Settled(repository string) bool { return t.settled.has(repository) || !t.Propagating() }

// FromStore reports whether the token was read from the [Store], where another process may
// have put it: who minted a token a moment ago knows that a refusal comes too early, and
// not too late.
func (t *Token) FromStore() bool { return t.read }

// Settle has try find out whether GitHub's git service knows a new token for a repository,
// owner/name, unless that is known already, and remembers it for all who share the [Store]:
// of many callers, in many processes, one tries, and the others wait for what it finds.
// try is to wait while the token spreads, and to report whether the service took it.
//
// The error is that of try, or of the Kind [ErrTokenRefused] where the Store has another
// token in the place of this one by now, or none. One of that Kind, from try, has the Store
// drop the token.
func (a *App) Settle(ctx context.Context, t *Token, repository string,
	try func(context.Context) (taken bool, err error)) error {
	if t.Settled(repository) {
		return nil
	}
	key := cacheKey(t.Secret.Reveal(), strings.ToLower(repository))
	taken, err := merge(ctx, &a.settling, key, func(ctx context.Context) (bool, error) {
		return a.tokens.settle(ctx, t, repository, try)
	})
	if taken {
		t.settled.add(repository)
	}
	return err
}

func (c *tokenCache) settle(ctx context.Context, t *Token, repository string,
	try func(context.Context) (bool, error)) (taken bool, err error) {
	if c.shared == nil || t.key == "" {
		return try(ctx)
	}
	ran := false
	var found error // by trying
	err = c.shared.Update(ctx, t.key, func(ctx context.Context, old []byte) ([]byte, error) {
		ran = true
		kept := decodeToken(old)
		switch {
		case kept == nil || kept.Secret.Reveal() != t.Secret.Reveal():
			found = &Error{Kind: ErrTokenRefused, Op: "use the token for " + repository,
				Err: errors.New("another process has dropped it")}
		case kept.settled.has(repository):
			taken = true
		default:
			taken, found = try(ctx)
		}
		switch {
		case kept != nil && KindOf(found) == ErrTokenRefused && kept.Secret.Reveal() == t.Secret.Reveal():
			return nil, nil // before the next one waits for it in vain
		case found != nil || !taken || kept.settled.has(repository):
			return old, nil
		}
		kept.settled.add(repository)
		return kept.encode()
	})
	switch {
	case !ran && ctx.Err() != nil:
		return false, err
	case !ran:
		return try(ctx)
	case err != nil:
		c.log.Debug("other processes are not told that the token is known", "error", err)
	}
	return taken, found
}

// Refuses asks GitHub's REST API, once and without waiting, whether it refuses a token
// (401). Of a new token it does so until the token has spread, and of one that is dead
// for good. Asking costs nothing of the rate limit
// (https://docs.github.com/en/rest/rate-limit/rate-limit). No answer is no refusal.
func (a *App) Refuses(ctx context.Context, t *Token) bool {
	_, err := a.api.RateLimit(ctx, t.Secret)
	return api.IsStatus(err, http.StatusUnauthorized)
}
