package api

import (
	"context"
	"net/http"

	"github.com/ghapp-dev/ghapp/internal/redact"
)

// RateLimit is a budget of requests in an hour.
type RateLimit struct {
	Limit     int   `json:"limit"`
	Remaining int   `json:"remaining"`
	Reset     int64 `json:"reset"` // seconds since 1970, UTC, on GitHub's clock
}

// RateLimit is GET /rate_limit by an installation's token, which costs nothing of the
// budget: the part of it that is for REST.
func (c *Client) RateLimit(ctx context.Context, token redact.Secret) (*RateLimit, error) {
	var body struct {
		Resources struct {
			Core RateLimit `json:"core"`
		} `json:"resources"`
	}
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/rate_limit", auth: WithToken(token)}, &body)
	return &body.Resources.Core, err
}
