package ghapp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// RateLimit is an installation's hourly budget of REST requests
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
type RateLimit struct {
	Unlimited bool // as on a GitHub Enterprise Server that sets none; the rest is zero then
	Limit     int
	Remaining int
	Reset     time.Time // when it is refilled, on GitHub's clock
}

// RateLimit returns what is left of the budget of a token's installation. Asking costs
// nothing of it. A refusal of a token in its first seconds is waited out.
func (a *App) RateLimit(ctx context.Context, t *Token) (*RateLimit, error) {
	var found *api.RateLimit
	err := t.waitOut(ctx, func() (err error) {
		found, err = a.api.RateLimit(ctx, t.Secret)
		if api.IsStatus(err, http.StatusNotFound) {
			err = errUnlimited
		}
		return err
	})
	switch {
	case errors.Is(err, errUnlimited):
		return &RateLimit{Unlimited: true}, nil
	case err != nil:
		return nil, explain("read the rate limit", err)
	}
	return &RateLimit{Limit: found.Limit, Remaining: found.Remaining, Reset: time.Unix(found.Reset, 0)}, nil
}

// errUnlimited is the answer of a server without limits.
var errUnlimited = errors.New("there is no limit")
