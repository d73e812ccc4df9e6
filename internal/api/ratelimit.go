package api

import (
	"context"
	"net/http"

	"github.com/ghapp-dev/ghapp/secret"
)

// RateLimit is a budget of requests in an hour.
type RateLimit struct {
	Limit     int `json:"limit"`
	Remaining int `json:"remaining"`
	// Reset is in seconds since 1970, UTC, on GitHub's clock, and at most [LongestWait] ahead.
	Reset int64 `json:"reset"`
}

// RateLimit is GET /rate_limit by an installation's token, which costs nothing of the
// budget: the part of it that is for REST.
func (c *Client) RateLimit(ctx context.Context, token secret.Text) (*RateLimit, error) {
	var body struct {
		Resources struct {
			Core RateLimit `json:"core"`
		} `json:"resources"`
	}
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/rate_limit", auth: WithToken(token)}, &body)
	limit := &body.Resources.Core
	now := c.Clock.Now()
	limit.Reset = now.Add(untilReset(limit.Reset, now)).Unix()
	limit.Limit, limit.Remaining = max(limit.Limit, 0), max(limit.Remaining, 0)
	return limit, err
}
