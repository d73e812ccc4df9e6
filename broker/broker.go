// Package broker is a client of a token broker: a service that has the private key of a GitHub
// App, and gives out installation access tokens to machines that prove who they are, by the
// token exchange of OAuth 2.0 (RFC 8693). ghapp-server is one.
//
//	who, err := identity.Open("github-actions", identity.Options{})
//	client, err := broker.New(broker.Config{URL: "https://broker.example.com", Identity: who})
//	token, err := client.Token(ctx, ghapp.TokenRequest{Repositories: []string{"acme/site"}})
//
// A Client asks the broker each time. With [ghapp.Config] in the place of a key it is an App
// that keeps tokens, renews them, and shares them with other processes:
//
//	app, err := ghapp.New(ghapp.Config{Broker: client})
package broker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/secret"
)

// Identity proves to a broker who asks. Those of package identity are what CI systems, clouds
// and clusters hand out. It is safe for concurrent use.
type Identity interface {
	// Token gets a JSON Web Token. Where the audience in it can be chosen, audience tells
	// which it is to be; it may ask the broker.
	Token(ctx context.Context, audience func(context.Context) (string, error)) (secret.Text, error)
	// Subject tells this identity from others that the same user may have, such as two jobs
	// on one machine. It holds no secret, and asks nobody.
	Subject() string
	// String names the identity as people write it, such as github-actions.
	String() string
}

// Config says which broker, and who asks it.
type Config struct {
	// URL is that of the broker, https://broker.example.com; what it serves is below. http://
	// is allowed for a loopback host, for tests. Required.
	URL string
	// Identity proves who asks. Required.
	Identity Identity
	// Audience is whom the identity's token is to be for. Empty: the broker says so, and then
	// it must be an address on the host of URL, so that no broker gets a token that is good
	// elsewhere.
	Audience string
	// GitHub is where the repositories are. It is asked for nothing, but to revoke a token
	// that reaches further than it was asked for.
	GitHub ghapp.Client

	// Transport sends the requests to the broker. Nil: net/http's, with the environment's proxy.
	Transport http.RoundTripper
	// UserAgent goes before our own in the User-Agent header; may be empty.
	UserAgent string
	// MaxWait bounds the waiting between the attempts at one exchange. 0: 20 seconds.
	// Negative: no second attempt.
	MaxWait time.Duration
}

// Client asks one broker. It is safe for concurrent use. [New] makes one.
type Client struct {
	config   Config
	base     *url.URL
	host     api.Host
	http     *http.Client
	audience atomic.Pointer[string] // that the broker has named; nil: it has not been asked
}

var _ ghapp.Broker = (*Client)(nil)

// New checks the configuration. It asks nobody. The error has the Kind [ghapp.ErrInvalid].
func New(c Config) (*Client, error) {
	fail := func(err error) (*Client, error) {
		return nil, &ghapp.Error{Kind: ghapp.ErrInvalid, Op: "use this broker", Err: err}
	}
	base, err := ParseURL(c.URL)
	if err != nil {
		return fail(err)
	}
	host, err := api.ParseHost(c.GitHub.Host, c.GitHub.APIURL)
	switch {
	case err != nil:
		return fail(err)
	case c.Identity == nil:
		return fail(errors.New("nothing is named that proves who asks"))
	}
	if c.Transport == nil {
		c.Transport = api.NewTransport(nil)
	}
	if c.MaxWait == 0 {
		c.MaxWait = 20 * time.Second
	}
	return &Client{config: c, base: base, host: host, http: &http.Client{
		Transport: c.Transport,
		// The identity's token and GitHub's are for this host alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ParseURL reads the URL of a broker.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil || u.Opaque != "":
		return nil, errors.New("the broker's address is not a URL") // there may be a password in it
	case u.Scheme == "" || u.Host == "":
		return nil, errors.New("the broker's address is to begin with https://")
	case u.User != nil:
		return nil, errors.New("the broker's address has a user name or password in it: leave that out")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the broker's address has a query: leave that out")
	}
	// Its path is its own; all else is as that of a host.
	host, err := api.ParseHost(u.Scheme+"://"+u.Host, "")
	if err != nil {
		return nil, errors.New("the broker's " + err.Error())
	}
	checked, err := url.Parse(host.Origin)
	if err != nil {
		return nil, err
	}
	checked.Path = strings.TrimRight(u.Path, "/")
	return checked, nil
}

// String names the broker, and as whom it is asked.
func (c *Client) String() string { return "the broker " + c.base.String() + " (as " + c.name() + ")" }

func (c *Client) name() string { return c.config.Identity.String() }

// Subject is the broker and the identity, for [ghapp.Broker].
func (c *Client) Subject() string {
	return strings.Join([]string{c.base.String(), c.config.Audience, c.name(), c.config.Identity.Subject()}, "\x00")
}
