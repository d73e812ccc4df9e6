package ghapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// refusedKey is GitHub's word that it does not take a key, or does not know the App, as it
// is remembered: git asks for a credential at every turn, and a key that is refused is
// refused each time.
type refusedKey struct {
	At      time.Time `json:"at"`
	Kind    Kind      `json:"kind"`
	Status  int       `json:"status"`
	Message string    `json:"message"`

	fingerprint string // of the key
}

func (r *refusedKey) valid(life time.Duration) bool {
	age := time.Since(r.At)
	return (r.Kind == ErrKeyMismatch || r.Kind == ErrAppUnknown) && age >= 0 && age < life
}

// withAcceptedKey is [withJWT] for what is asked on the way to a token, unless GitHub has
// refused the key a moment ago, here or in another process.
func withAcceptedKey[T any](ctx context.Context, c *signedClient, op string,
	call func(api.Authorization) (T, error)) (T, error) {
	if r := c.knownRefused(ctx); r != nil {
		var none T
		age := time.Since(r.At).Round(time.Second)
		return none, &Error{Kind: r.Kind, Op: op, Status: r.Status, Message: r.Message,
			Err: fmt.Errorf("that was %s ago, and is asked again %s after it", age, c.believe)}
	}
	return withJWT(c, op, call)
}

func (c *signedClient) refusedKeyEntry() string {
	return cacheKey("key that is refused", c.host.API, c.issuer, c.fingerprint())
}

// knownRefused is the refusal of the key that is remembered, or nil.
func (c *signedClient) knownRefused(ctx context.Context) *refusedKey {
	if c.believe <= 0 || c.fingerprint() == "" {
		return nil // another key may stand behind its name by now
	}
	if r := c.refused.Load(); r != nil && r.fingerprint == c.fingerprint() && r.valid(c.believe) {
		return r
	}
	if c.store == nil {
		return nil
	}
	text, err := c.store.Get(ctx, c.refusedKeyEntry())
	var r refusedKey
	if err != nil || text == nil || json.Unmarshal(text, &r) != nil || !r.valid(c.believe) {
		return nil
	}
	return &r
}

// noteRefusedKey remembers err, if it is a refusal of the key that is not remembered yet.
func (c *signedClient) noteRefusedKey(ctx context.Context, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status == 0 || c.believe <= 0 || c.fingerprint() == "" || c.knownRefused(ctx) != nil {
		return
	}
	r := &refusedKey{At: time.Now(), Kind: e.Kind, Status: e.Status, Message: e.Message, fingerprint: c.fingerprint()}
	if !r.valid(c.believe) {
		return
	}
	c.refused.Store(r)
	if c.store == nil {
		return
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = c.store.Update(ctx, c.refusedKeyEntry(), func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		c.log.Debug("that the key is refused is not remembered", "error", err)
	}
}
