package ghapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/ghtoken"
)

// Broker has the key of an App, and gives out tokens to those who prove who they are, by rules
// of its own. A client of package broker asks one over the network. It is safe for concurrent
// use.
type Broker interface {
	// Token gets a token for what r asks, of whose Repositories each is owner/name, in lower
	// case. It is asked where neither this process nor the [Store] has one. The token
	// is compared with r; one that reaches further is revoked. Its times are on this
	// machine's clock. The errors are of the Kinds of [App.Token].
	Token(ctx context.Context, r TokenRequest) (*Token, error)
	// Subject says for whom its tokens are: tokens for different subjects are kept apart in
	// a [Store]. It holds no secret, and asks nobody.
	Subject() string
	// String names the broker, and as whom it is asked, for people.
	String() string
}

// brokerAccess is an App's broker, and who asks it at present.
type brokerAccess struct {
	Broker
	inflight singleflight.Group
}

// exchange has a broker give tokens for one tokenSpec.
type exchange struct {
	*brokerAccess
	app  *App
	spec tokenSpec
}

func (b *brokerAccess) giver(a *App, spec tokenSpec) exchange { return exchange{b, a, spec} }

// brokered gets a token from memory, from the store, or from the broker.
func (a *App) brokered(ctx context.Context, spec tokenSpec) (*Token, error) {
	switch {
	case spec.permissions == nil:
		return nil, badRequest("all permissions are asked for, which a broker does not give: name those that are needed")
	case len(spec.ids) > 0:
		return nil, badRequest("repositories are asked for by their IDs, and a broker by names: leave the IDs out")
	case spec.owner == "" || spec.target.id != 0:
		return nil, badRequest("an installation is named by its ID, and a broker finds installations by owners: " +
			"name the owner")
	}
	return a.tokens.get(ctx, newTokenQuery(spec, a.broker.giver(a, spec), &a.broker.inflight))
}

// key is the cache key of the token; see [tokenSpec.key].
func (e exchange) key() string {
	return cacheKey(append([]string{"token of a broker", e.app.host.API, e.Subject(), e.spec.owner,
		e.spec.extent(), e.spec.rights()}, e.spec.names...)...)
}

// mint gets a new token and compares it with what was asked for.
func (e exchange) mint(ctx context.Context) (*Token, error) {
	given, err := e.Broker.Token(ctx, e.spec.request())
	if err != nil {
		return nil, err
	}
	minted := given.MintedAt
	if minted.IsZero() {
		minted = given.ExpiresAt.Add(-tokenLife)
	}
	offset := e.app.api.Clock.Offset()
	t := &Token{
		Secret: given.Secret, ExpiresAt: given.ExpiresAt.Add(offset), MintedAt: minted.Add(offset),
		Permissions: given.Permissions, Repositories: given.Repositories, Installation: given.Installation,
		API: e.app.host.API, offset: offset, refused: new(atomic.Bool), settled: newSettled(),
	}
	if wrong := checkBrokered(t, e.spec); wrong != nil {
		wrong.Op = e.op()
		if wrong.Kind == ErrTooBroad {
			if revoked := e.app.api.RevokeToken(ctx, t.Secret); revoked != nil {
				wrong.Err = fmt.Errorf("%w; and it could not be revoked: %w", wrong.Err, explain("revoke it", revoked))
			}
		}
		return nil, wrong
	}
	e.app.log.Debug("got from the broker", "for", e.spec.object(), "broker", e.String(),
		"permissions", t.Permissions.String(), "expires", t.ExpiresAt)
	return t, nil
}

func (e exchange) op() string { return "get a token for " + e.spec.object() + " from " + e.String() }

// CheckToken compares a token that a [Broker] gave with what was asked for. An error of the
// Kind [ErrTooBroad] means that it can do more, or reaches further: it is not to be used. An
// [App] does so by itself, and revokes the token.
func (c Client) CheckToken(r TokenRequest, t *Token) error {
	const op = "use the token"
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: op, Err: err}
	}
	spec, err := newTokenSpec(r, host)
	if err != nil {
		return err
	}
	if wrong := checkBrokered(t, spec); wrong != nil {
		wrong.Op = op
		return wrong
	}
	return nil
}

// checkBrokered compares a broker's token with what was asked for.
func checkBrokered(t *Token, spec tokenSpec) *Error {
	switch {
	case !ghtoken.Valid(t.Secret.Reveal()):
		// Not to be revoked either: it is no header's value.
		return &Error{Kind: ErrBrokerUnreachable, Err: errors.New("what came as a token is none of GitHub's")}
	case t.Life() <= 0:
		return &Error{Kind: ErrBrokerUnreachable, Err: errors.New("the token had run out when it came")}
	case t.Life() > tokenLife+time.Minute:
		return &Error{Kind: ErrTooBroad, Err: fmt.Errorf("the token is said to live %s, which none of GitHub's does",
			t.Life().Round(time.Second))}
	}
	if err := checkPermissions(t.Permissions, spec.permissions); err != nil {
		return err
	}
	grant := &api.Grant{}
	for _, name := range t.Repositories {
		grant.Repositories = append(grant.Repositories, api.Repository{FullName: name})
	}
	if err := checkRepositories(grant, spec, installationRef{}); err != nil {
		return err
	}
	return checkWhole(t, spec)
}

// checkWhole refuses a token that reaches less than was asked for: GitHub gives none, and who
// mirrors all repositories of an owner would take the others for gone.
func checkWhole(t *Token, spec tokenSpec) *Error {
	asked := spec.repositories()
	if spec.all && t.Repositories != nil {
		return &Error{Kind: ErrRepositoryNotSelected, Err: fmt.Errorf("all repositories of %s were asked for, "+
			"and %d were granted", spec.owner, len(t.Repositories))}
	}
	for _, name := range asked {
		if !slices.ContainsFunc(t.Repositories, func(granted string) bool { return strings.EqualFold(granted, name) }) {
			return &Error{Kind: ErrRepositoryNotSelected, Detail: &RepositoryError{asked},
				Err: fmt.Errorf("the token does not reach %s, which was asked for", name)}
		}
	}
	return nil
}
