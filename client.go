package ghapp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/secret"
)

// DefaultAPIVersion is the REST API version asked for where [Client] names none
// (https://docs.github.com/en/rest/about-the-rest-api/api-versions).
const DefaultAPIVersion = "2022-11-28"

// Client says how to reach GitHub, and does what needs no App. The zero value reaches
// github.com. It is safe for concurrent use while it is not changed.
type Client struct {
	// Host is github.com where empty, or a GitHub Enterprise Server, or NAME.ghe.com.
	// http:// before a loopback host is allowed, for tests.
	Host string
	// APIURL is derived from Host where empty.
	APIURL string
	// APIVersion is sent as X-GitHub-Api-Version. Empty: [DefaultAPIVersion].
	APIVersion string
	// OmitAPIVersion leaves that header out, for a GitHub Enterprise Server that knows
	// no versions.
	OmitAPIVersion bool

	// Transport sends the requests. Nil: net/http's, with the environment's proxy.
	Transport http.RoundTripper
	// UserAgent goes before our own in the User-Agent header; may be empty.
	UserAgent string
	// MaxWait bounds the waiting between the attempts at one request. 0: one
	// minute. Negative: no second attempt.
	MaxWait time.Duration
	// Log is told of retries, renewals and a wrong clock. Nil: nothing is logged.
	Log *slog.Logger
}

// open is the REST client for what needs no App.
func (c Client) open(op string) (*api.Client, error) {
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err == nil {
		var client *api.Client
		if client, err = c.rest(host); err == nil {
			return client, nil
		}
	}
	return nil, &Error{Kind: ErrInvalid, Op: op, Err: err}
}

// rest is the REST client for a host.
func (c Client) rest(host api.Host) (*api.Client, error) {
	switch {
	case c.OmitAPIVersion:
		c.APIVersion = ""
	case c.APIVersion == "":
		c.APIVersion = DefaultAPIVersion
	}
	agent := "ghapp"
	if c.UserAgent != "" {
		agent = c.UserAgent + " " + agent
	}
	return api.New(api.Options{
		Host: host, Transport: c.Transport, UserAgent: agent, Version: c.APIVersion, MaxWait: c.MaxWait, Log: c.Log,
	})
}

// Revoke ends a token of any App at GitHub: a token is revoked by presenting it. See
// [App.Revoke]; where a [Store] may have the token, [Purge] drops it there.
func (c Client) Revoke(ctx context.Context, token secret.Text) error {
	client, err := c.open("revoke the token")
	if err != nil {
		return err
	}
	return revoke(ctx, client, &Token{Secret: token})
}

// Registration is a new App, and the only copy of its private key.
type Registration struct {
	AppInfo
	PEM secret.Text
}

// Register trades the code at the end of the browser's part of the App Manifest flow
// for the App and its private key. GitHub answers once for each code, within an hour
// (https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest).
//
// A code that GitHub does not know, or knows no more, gives [ErrRefused] with the
// Status 404.
func (c Client) Register(ctx context.Context, code secret.Text) (*Registration, error) {
	const op = "register the App"
	client, err := c.open(op)
	if err != nil {
		return nil, err
	}
	made, err := client.ConvertManifest(ctx, code)
	switch {
	case err != nil:
		return nil, explain(op, err)
	case made.PEM == "":
		return nil, &Error{Kind: ErrUnreachable, Op: op, Err: errors.New("the answer holds no private key")}
	}
	return &Registration{AppInfo: *newInfo(&made.App), PEM: secret.New(made.PEM)}, nil
}

// FindApp asks GitHub for an App by its slug, the last part of its page's address.
// GitHub tells of public Apps alone: for all others the error has the Kind
// [ErrAppUnknown].
func (c Client) FindApp(ctx context.Context, slug string) (*AppInfo, error) {
	op := "find the App " + slug
	client, err := c.open(op)
	if err != nil {
		return nil, err
	}
	app, err := client.NamedApp(ctx, slug)
	if err == nil {
		return newInfo(app), nil
	}
	err = explain(op, err)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		e.Kind = ErrAppUnknown
	}
	return nil, err
}
