package ghapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// keyRefusal is GitHub's word that it does not take a key, or does not know the App, as it
// is remembered: git asks for a credential at every turn, and a key that is refused is
// refused each time.
type keyRefusal struct {
	At      time.Time `json:"at"`
	Kind    Kind      `json:"kind"`
	Status  int       `json:"status"`
	Message string    `json:"message"`
}

func (r *keyRefusal) valid(life time.Duration) bool {
	age := time.Since(r.At)
	return (r.Kind == ErrKeyMismatch || r.Kind == ErrAppUnknown) && age >= 0 && age < life
}

func (a *App) keyRefusalKey() string {
	return cacheKey("key that is refused", a.host.API, a.issuer, a.fingerprint())
}

// asKnown is [asApp] for what is asked on the way to a token, unless GitHub has refused the
// App's key a moment ago, here or in another process.
func asKnown[T any](ctx context.Context, a *App, op string, call func(api.Authorization) (T, error)) (T, error) {
	if r := a.keyRefused(ctx); r != nil {
		var none T
		age := time.Since(r.At).Round(time.Second)
		return none, &Error{Kind: r.Kind, Op: op, Status: r.Status, Message: r.Message,
			Err: fmt.Errorf("that was %s ago, and is asked again %s after it", age, a.believe)}
	}
	return asApp(a, op, call)
}

// keyRefused is the refusal that is remembered, or nil.
func (a *App) keyRefused(ctx context.Context) *keyRefusal {
	if a.believe <= 0 || a.fingerprint() == "" {
		return nil // another key may stand behind its name by now
	}
	if r := a.refusal.Load(); r != nil && r.of == a.fingerprint() && r.valid(a.believe) {
		return &r.keyRefusal
	}
	if a.found == nil {
		return nil
	}
	text, err := a.found.Get(ctx, a.keyRefusalKey())
	var r keyRefusal
	if err != nil || text == nil || json.Unmarshal(text, &r) != nil || !r.valid(a.believe) {
		return nil
	}
	return &r
}

// refusalOf is a refusal of the key with this fingerprint.
type refusalOf struct {
	keyRefusal
	of string
}

// noteKeyRefusal remembers err, if it is a refusal of the key that is not remembered yet.
func (a *App) noteKeyRefusal(ctx context.Context, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status == 0 || a.believe <= 0 || a.fingerprint() == "" || a.keyRefused(ctx) != nil {
		return
	}
	r := keyRefusal{At: time.Now(), Kind: e.Kind, Status: e.Status, Message: e.Message}
	if !r.valid(a.believe) {
		return
	}
	a.refusal.Store(&refusalOf{r, a.fingerprint()})
	if a.found == nil {
		return
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = a.found.Update(ctx, a.keyRefusalKey(), func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		a.log.Debug("that the key is refused is not remembered", "error", err)
	}
}
