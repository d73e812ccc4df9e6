package exchange_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
)

// TestOrderEndsTheTokensThatAreOutAndNoneOfThemIsHandedOutAgain goes through the engine, the exchange
// and GitHub.
func TestOrderEndsTheTokensThatAreOutAndNoneOfThemIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rules)
	e := testkit.Must(engine.Open(t.Context(), engine.Options{}))(t)
	t.Cleanup(e.Close)
	w.Orders, w.Ledger, w.Once = e, e, e
	w.Apps.Store = func(generation string) ghapp.Store { return e.Store(generation) }
	e.OnRevoke(func(ctx context.Context, token secret.Text, u engine.Use) error {
		issuer, subject, _ := strings.Cut(u.Identity, " ")
		return w.End(ctx, token, u.Owner, audit.Record{Issuer: issuer, Subject: subject, Rule: u.Rule})
	})
	// Another replica, which has the token in its own memory.
	replica := &exchange.Exchange{
		Policy: w.Policy, Audit: w.audit, Orders: e, Ledger: e, Once: e,
		Apps: &exchange.Apps{Options: w.Apps.Options, Store: w.Apps.Store},
	}
	before := w.token(t, w.siteRequest())
	shared := testkit.Must(replica.Token(t.Context(), w.siteRequest()))(t)
	testkit.Equal(t, shared.Token.Reveal(), before.Token.Reveal(), "the token of both")
	other := w.token(t, w.ask(nil, "acme/lib"))
	w.audit.events()

	order := testkit.Must(e.Give(t.Context(), engine.Target{Repository: "acme/site"}, true, "a leak"))(t)
	record := w.audit.last(t)
	testkit.Equal(t, w.audit.events(), "revoked")
	testkit.Equal(t, record.HashedToken, audit.HashToken(before.Token))
	testkit.Equal(t, record.Subject, w.run(nil).Subject)
	for _, token := range w.github.Tokens() {
		testkit.Equal(t, token.Revoked, token.Token == before.Token.Reveal(), "revoked, of %v", token.Repositories)
	}
	w.refused(t, w.siteRequest(), exchange.Refused, order.ID)
	testkit.OK(t, e.TakeBack(t.Context(), order.ID))
	after := w.token(t, w.siteRequest())
	elsewhere := testkit.Must(replica.Token(t.Context(), w.siteRequest()))(t)
	testkit.Equal(t, elsewhere.Token.Reveal(), after.Token.Reveal(), "the token of both")
	if after.Token.Reveal() == before.Token.Reveal() || other.Token.Reveal() == after.Token.Reveal() {
		t.Error("a token of before is handed out")
	}
}
