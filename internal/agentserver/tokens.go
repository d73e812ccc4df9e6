package agentserver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// Shares of a token's whole life, an hour at GitHub.
const (
	// A token is renewed when between a sixth and a twelfth of its life is left,
	// before it ages for its App: when exactly is drawn, so that tokens minted at
	// once are not renewed at once.
	earliestShare, latestShare = 6, 12
	// A token that was not handed out for half of its life is left to run out.
	idleShare = 2
	// retryShare is the pause after a renewal that failed for want of GitHub: half
	// a minute.
	retryShare = 120
)

// tokens are those that were handed out and still live. Those in use are renewed
// early, so that git finds a token that is there.
type tokens struct {
	log   *slog.Logger
	renew func(ctx context.Context, host string, request ghapp.TokenRequest) (*ghapp.Token, error)

	ctx  context.Context // ends with the renewing
	stop context.CancelFunc

	mu   sync.Mutex
	held map[string]*heldToken
}

// heldToken is a token, and what for.
type heldToken struct {
	host, issuer string
	request      ghapp.TokenRequest
	token        *ghapp.Token
	used         time.Time
	uses         int64
	late         bool // that it cannot be renewed was told; refresh alone has this
}

func newTokens(log *slog.Logger, renew func(context.Context, string,
	ghapp.TokenRequest) (*ghapp.Token, error)) *tokens {
	t := &tokens{log: log, renew: renew, held: map[string]*heldToken{}}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

func (t *tokens) close() { t.stop() }

// ended reports whether they were closed.
func (t *tokens) ended() bool { return t.ctx.Err() != nil }

// issued takes note of a token that is handed out.
func (t *tokens) issued(app *ghapp.App, request ghapp.TokenRequest, token *ghapp.Token) {
	key := strings.Join([]string{app.Status().Host, app.Status().Issuer, app.Status().Broker,
		strings.ToLower(strings.Join(request.Repositories, ",")), request.Permissions.String()}, "\x00")
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.held[key]
	if h == nil {
		h = &heldToken{host: app.Status().Host, issuer: cmp.Or(app.Status().Issuer, app.Status().Broker),
			request: request}
		t.held[key] = h
		go t.refresh(key, h)
	}
	h.token, h.used = token, time.Now()
	h.uses++
}

// rejected takes note of a token that GitHub has refused, unless it is so new that
// it is handed out on.
func (t *tokens) rejected(password secret.Text) {
	t.drop(func(h *heldToken) bool {
		return h.token.Secret.Reveal() == password.Reveal() && slices.ContainsFunc(h.request.Repositories, h.token.Settled)
	})
}

// revoked takes note of a token that has been revoked.
func (t *tokens) revoked(token secret.Text) {
	t.drop(func(h *heldToken) bool { return h.token.Secret.Reveal() == token.Reveal() })
}

func (t *tokens) drop(gone func(*heldToken) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, h := range t.held {
		if gone(h) {
			delete(t.held, key)
		}
	}
}

func (t *tokens) list() []TokenStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]TokenStatus, 0, len(t.held))
	for _, h := range t.held {
		left := h.token.Life()
		if left <= 0 {
			continue
		}
		list = append(list, TokenStatus{
			Repository: strings.Join(h.request.Repositories, ","), Host: h.host, App: h.issuer, Permissions: h.token.Permissions,
			ExpiresAt: h.token.ExpiresAt, Left: int64(left / time.Second), LastUsed: h.used, Uses: h.uses,
		})
	}
	return list
}

// refresh renews one token for as long as it is used, and forgets it when it is not.
func (t *tokens) refresh(key string, h *heldToken) {
	for {
		token, _, live := t.look(key, h)
		if !live {
			return
		}
		whole := token.ExpiresAt.Sub(token.MintedAt)
		early := whole / latestShare
		early += rand.N(max(whole/earliestShare-early, 1))
		if !t.sleep(token.Life() - early) {
			return
		}
		_, used, live := t.look(key, h)
		switch {
		case !live:
			return
		case token.Life() > 0 && time.Since(used) <= whole/idleShare:
			if t.renewed(h, token) {
				continue
			}
			if !t.sleep(min(whole/retryShare, token.Life())) {
				return
			}
		default:
			if !t.sleep(token.Life()) {
				return
			}
			if t.forget(key, h, token) {
				return
			}
		}
	}
}

// look returns what is held at present, and whether it is held at all.
func (t *tokens) look(key string, h *heldToken) (token *ghapp.Token, used time.Time, live bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return h.token, h.used, t.held[key] == h
}

// renewed gets another token in the place of one; false means that it is worth
// another try. What GitHub refuses is refused again when git asks, with its reason.
func (t *tokens) renewed(h *heldToken, old *ghapp.Token) bool {
	request := h.request
	request.MinLife = old.Life() + time.Second // none that is no better
	fresh, err := t.renew(t.ctx, h.host, request)
	if err != nil && !h.late {
		t.log.Warn("a token could not be renewed early; it serves on while it lives", "for",
			strings.Join(request.Repositories, ","), "error", err)
	}
	h.late = err != nil
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		h.token = fresh
	case errors.Is(err, ghapp.ErrUnreachable), errors.Is(err, ghapp.ErrRateLimited), errors.Is(err, signer.ErrUnavailable),
		errors.Is(err, context.DeadlineExceeded):
		return false
	default:
		h.used = time.Time{} // as if nobody used it
	}
	return true
}

// forget drops a token that has run out, unless another has taken its place.
func (t *tokens) forget(key string, h *heldToken, old *ghapp.Token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.token != old {
		return false
	}
	if t.held[key] == h {
		delete(t.held, key)
	}
	return true
}

// sleep reports whether the renewing goes on after so long.
func (t *tokens) sleep(d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}
