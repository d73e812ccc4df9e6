package exchange

import (
	"context"
	"errors"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// End ends a token for an owner's repositories at GitHub, as an order wants it, whoever has it: who is
// in the record's issuer and subject. One that has ended already is no error.
func (e *Exchange) End(ctx context.Context, token secret.Text, owner string, record audit.Record) error {
	err := e.apps(e.Policy()).revoke(ctx, policy.Grant{Owner: owner}, &ghapp.Token{Secret: token})
	if err != nil && !errors.Is(err, ghapp.ErrTokenRefused) {
		return err
	}
	record.Event, record.HashedToken = audit.Revoked, audit.HashToken(token)
	return e.Audit.Append(ctx, record)
}

// apps are the Apps for a policy, and for what orders have ended since: nothing of before is handed out
// by them.
func (e *Exchange) apps(p *policy.Policy) *generation {
	generation := p.Generation()
	if e.Orders != nil {
		generation = e.Orders.Generation(generation)
	}
	return e.Apps.of(generation)
}
