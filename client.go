package ghapp

import (
	"context"
	"errors"
	"net/http"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Registration is a new App, and the only copy of its private key.
type Registration struct {
	AppInfo
	PEM Secret
}

// Register trades the code at the end of the browser's part of the App Manifest flow
// for the App and its private key. GitHub answers once for each code, within an hour
// (https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest).
// c needs neither Issuer nor Signer.
//
// A code that GitHub does not know, or knows no more, gives [ErrRefused] with the
// Status 404.
func Register(ctx context.Context, c Config, code Secret) (*Registration, error) {
	const op = "register the App"
	client, err := c.withoutApp(op)
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
	return &Registration{AppInfo: *newInfo(&made.App), PEM: NewSecret(made.PEM)}, nil
}

// FindApp asks GitHub for an App by its slug, the last part of its page's address. c
// needs neither Issuer nor Signer. GitHub tells of public Apps alone: for all others
// the error has the Kind [ErrAppUnknown].
func FindApp(ctx context.Context, c Config, slug string) (*AppInfo, error) {
	op := "find the App " + slug
	client, err := c.withoutApp(op)
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

// withoutApp is a client for what GitHub tells everybody.
func (c Config) withoutApp(op string) (*api.Client, error) {
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err == nil {
		var client *api.Client
		if client, err = c.client(host); err == nil {
			return client, nil
		}
	}
	return nil, &Error{Kind: ErrInvalid, Op: op, Err: err}
}
