package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Audience is whom the identity's token is to be for: what is configured, or what the broker
// says at /.well-known/ghapp. It is asked once.
func (c *Client) Audience(ctx context.Context) (string, error) {
	if c.config.Audience != "" {
		return c.config.Audience, nil
	}
	if known := c.audience.Load(); known != nil {
		return *known, nil
	}
	var said struct {
		Audience string `json:"audience"`
	}
	op := "ask the broker " + c.base.String() + " for its audience"
	if err := c.ask(ctx, request{method: http.MethodGet, path: "/.well-known/ghapp", op: op}, &said); err != nil {
		return "", err
	}
	if err := c.ownAudience(said.Audience); err != nil {
		return "", &ghapp.Error{Kind: ghapp.ErrBrokerUnreachable, Op: op, Err: err}
	}
	c.audience.Store(&said.Audience)
	return said.Audience, nil
}

// ownAudience refuses an audience that a broker may not name for itself: with a token for
// another service it could act there as whoever asks it.
func (c *Client) ownAudience(said string) error {
	if said == "" {
		return errors.New("what answers there is no broker: it names no audience")
	}
	u, err := url.Parse(said)
	if err != nil || !strings.EqualFold(u.Hostname(), c.base.Hostname()) ||
		u.Scheme != "https" && u.Scheme != c.base.Scheme {
		return fmt.Errorf("it names the audience %q, which is not on its own host; if it is right, configure it",
			text.Shorten(text.OneLine(said), 200))
	}
	return nil
}
