package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

// brokered reports whether a broker has the App's key.
func (a *appChain) brokered() bool { return a.settings.Broker.Text != "" }

// brokerLinks stand in the place of the key's: the broker, who asks it, and that each means the
// other.
func (a *appChain) brokerLinks() []link {
	return []link{
		{name: "broker", check: a.checkBroker},
		{name: "identity", needs: []string{"broker"}, check: a.checkIdentity},
	}
}

// checkBroker asks for the audience, which is all that a broker tells everybody.
func (a *appChain) checkBroker(ctx context.Context) Finding {
	at := fmt.Sprintf("%s (%s)", a.settings.Broker.Text, a.settings.Broker.Source)
	a.x.names.url(a.settings.Broker.Text)
	reach, err := a.x.Reach(a.settings)
	if err != nil {
		return broken(err, "%s", at)
	}
	if a.client, a.who, err = a.x.Broker(a.settings, reach); err != nil {
		return broken(err, "%s", at)
	}
	anyone := a.settings
	anyone.Audience.Text = "" // asks the broker, whatever is configured
	probe, _, err := a.x.Broker(anyone, reach)
	if err != nil {
		return broken(err, "%s", at)
	}
	said, err := probe.Audience(ctx)
	configured := a.settings.Audience
	switch {
	case err != nil && configured.Text != "" && ghapp.KindOf(err) == ghapp.ErrBrokerUnreachable && isAnswer(err):
		return note("%s; it does not say for whom tokens are to be: %s (%s) is used", at, configured.Text, configured.Source)
	case err != nil:
		return broken(err, "%s", at)
	case configured.Text != "" && configured.Text != said:
		return warn(&diag.TroubleError{Trouble: diag.AudienceOther, Subject: said,
			Text: fmt.Sprintf("the audience is %s (%s), and the broker says %s", configured.Text, configured.Source, said)},
			"%s", at)
	}
	a.audience = said
	return ok("%s takes tokens for %s", at, said)
}

// isAnswer reports whether somebody answered who may be a broker that does not name its audience.
func isAnswer(err error) bool {
	refusal, ok := errors.AsType[*broker.RefusalError](err)
	return ok && refusal.Status < 500
}

// checkIdentity gets the token that proves who asks, and shows what is in it: a broker that
// refuses it does not say why.
func (a *appChain) checkIdentity(ctx context.Context) Finding {
	from := "found by itself"
	if a.settings.Identity.Text != "" {
		from = a.settings.Identity.Source.String()
	}
	at := fmt.Sprintf("%s (%s)", a.who, from)
	token, err := a.who.Token(ctx, a.client.Audience)
	if err != nil && ghapp.KindOf(err) == "" {
		err = &ghapp.Error{Kind: ghapp.ErrIdentity, Op: "prove who asks", Err: err}
	}
	if err != nil {
		return broken(err, "%s", at)
	}
	claims, err := identity.Read(token)
	if err != nil {
		return broken(&ghapp.Error{Kind: ghapp.ErrIdentity, Op: "prove who asks", Err: err}, "%s", at)
	}
	a.x.names.repository(repositoryIn(claims.Subject))
	text := fmt.Sprintf("%s: %s by %s, for %s", at, claims.Subject, claims.Issuer, strings.Join(claims.Audience, ", "))
	if !claims.ExpiresAt.IsZero() {
		text += ", good for " + minutes(time.Until(claims.ExpiresAt))
	}
	if a.audience != "" && !slices.Contains(claims.Audience, a.audience) {
		return broken(&diag.TroubleError{Trouble: diag.AudienceWrong, Subject: a.audience,
			Text: "the token is for somebody else than the broker, which takes those for " + a.audience}, "%s", text)
	}
	return ok("%s", text)
}

// repositoryIn is the repository in the subject of a CI system's token, or "".
func repositoryIn(subject string) string {
	for part := range strings.SplitSeq(subject, ":") {
		if r, err := ghapp.ParseRepository(part); err == nil && r.String() == part {
			return part
		}
	}
	return ""
}

// brokeredLinks are what the broker gives, and what that opens. Where no repository is named
// there is nothing to ask for.
func (a *appChain) brokeredLinks() []link {
	needs := []string{"identity", linkHost, linkClock}
	if a.repository.Name == "" {
		return []link{{name: "token", needs: needs, check: func(context.Context) Finding {
			return note("not asked for: name a repository to see whether the broker gives one for that")
		}}}
	}
	return []link{
		{name: "token", needs: needs, check: a.checkBrokered},
		{name: "git service", needs: []string{"token"}, check: a.checkGitService},
		{name: "rate limit", needs: []string{"token"}, check: a.checkRateLimit},
	}
}

func (a *appChain) checkBrokered(ctx context.Context) Finding {
	c := a.host.reach
	c.Broker, c.MaxWait = a.client, requestWait
	app, err := ghapp.New(c)
	if err != nil {
		return broken(err, "%s cannot be used", a.settings.Broker.Text)
	}
	a.app = app
	return a.checkToken(ctx)
}
