package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
)

// lent is a token that was minted to look at it, and ends with the doctor.
type lent struct {
	app   *ghapp.App
	token *ghapp.Token
}

// revokeTimeout bounds the end of such tokens.
const revokeTimeout = 15 * time.Second

// tokenLinks are a token and what it opens.
func (a *appChain) tokenLinks() []link {
	if a.repository.Name == "" {
		return []link{
			{name: "token", needs: []string{"installations"}, check: a.checkToken},
			{name: "rate limit", needs: []string{"token"}, check: a.checkRateLimit},
		}
	}
	return []link{
		{name: "cached token", needs: []string{"permissions", "repository"}, check: a.checkCached},
		{name: "token", needs: []string{"permissions", "repository"}, check: a.checkToken},
		{name: "git service", needs: []string{"token"}, check: a.checkGitService},
		{name: "token formats", needs: []string{"git service"}, check: a.checkFormats},
		{name: "rate limit", needs: []string{"token"}, check: a.checkRateLimit},
	}
}

// request is what the token is asked for: what git would be given, or, where there is
// no repository, as good as nothing.
func (a *appChain) request() ghapp.TokenRequest {
	if a.repository.Name == "" {
		return ghapp.TokenRequest{AllRepositories: true, Installation: fmt.Sprint(a.installation.ID),
			Permissions: ghapp.Permissions{"metadata": "read"}}
	}
	return ghapp.TokenRequest{Repositories: []string{a.repository.String()}, Permissions: a.wanted(),
		Installation: a.settings.Installation.Text}
}

// token returns the doctor's own token, which is minted once.
func (a *appChain) token(ctx context.Context) (*ghapp.Token, error) {
	token, err := a.app.Token(ctx, a.request())
	if err == nil && !a.brokered() { // whose tokens others have too
		a.lend(a.app, token)
	}
	return token, err
}

func (a *appChain) lend(app *ghapp.App, token *ghapp.Token) {
	for _, l := range a.lent {
		if l.token == token {
			return
		}
	}
	a.lent = append(a.lent, lent{app, token})
}

func (a *appChain) checkToken(ctx context.Context) Finding {
	token, err := a.token(ctx)
	if err != nil {
		return broken(err, "none is given")
	}
	reach := "all repositories"
	if token.Repositories != nil {
		reach = strings.Join(token.Repositories, ", ")
	}
	return ok("for %s, %s, good for %s", reach, token.Permissions, minutes(token.Life()))
}

func minutes(d time.Duration) string { return fmt.Sprintf("%.0f min", d.Minutes()) }

// answerer tries tokens at the git service, and counts the attempts.
func (a *appChain) answerer(attempts *atomic.Int32) *gitauth.Answerer {
	return &gitauth.Answerer{Origin: a.app.Status().Origin,
		Transport: counted{a.host.reach.Transport, attempts}, Log: a.host.reach.Log}
}

// counted counts requests.
type counted struct {
	http.RoundTripper
	count *atomic.Int32
}

// RoundTrip implements [http.RoundTripper].
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.count.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

func (a *appChain) checkGitService(ctx context.Context) Finding {
	token, err := a.token(ctx)
	if err != nil {
		return broken(err, "there is no token any more")
	}
	var attempts atomic.Int32
	begun := time.Now()
	if err := a.answerer(&attempts).Trial(ctx, token, a.repository); err != nil {
		a.unknown = errors.Is(err, ghapp.ErrTokenUnknown)
		return broken(err, "%s does not take the token for %s", a.app.Status().Origin, a.repository)
	}
	if wiki := a.repository; a.x.Wiki {
		wiki.Wiki = true
		if err := a.answerer(&atomic.Int32{}).Trial(ctx, token, wiki); err != nil {
			if e, ok := errors.AsType[*ghapp.Error](err); ok && e.Status == http.StatusNotFound {
				err = &fault.ExitError{Code: fault.Refused, Err: err, Hint: diag.NoWiki}
			}
			return broken(err, "%s does not have %s", a.app.Status().Origin, wiki)
		}
	}
	text := fmt.Sprintf("%s takes the token for %s", a.app.Status().Origin, a.repository)
	if n := attempts.Load(); n > 2 { // a repository that was renamed takes two
		return note("%s, once it knew it: after %s and %d attempts", text, time.Since(begun).Round(time.Second), n)
	}
	return ok("%s", text)
}

// checkCached tries the token that the commands would use.
func (a *appChain) checkCached(ctx context.Context) Finding {
	if a.x.store == nil {
		return Finding{}
	}
	app, err := a.open(func(c *ghapp.Config) {
		c.Store, c.Transport, c.MaxWait = kept{a.x.store}, mintless{c.Transport}, -1
	})
	if err != nil {
		return broken(err, "%s cannot be used", a.settings.App.Text)
	}
	// The age of a token is judged by GitHub's clock, which an answer tells.
	if _, err := app.Info(ctx); err != nil {
		return broken(err, "%s is not recognized any more", a.settings.App.Text)
	}
	token, err := app.Token(ctx, a.request())
	if err != nil {
		return ok("none for %s", a.repository)
	}
	text := fmt.Sprintf("minted %s ago, good for %s",
		minutes(token.ExpiresAt.Sub(token.MintedAt)-token.Life()), minutes(token.Life()))
	var attempts atomic.Int32
	err = a.answerer(&attempts).Trial(ctx, token, a.repository)
	switch {
	case err == nil:
		return ok("%s", text)
	case !errors.Is(err, ghapp.ErrTokenRefused):
		return note("%s; %v", text, err) // what is wrong is not the token, or it is too new to say
	}
	stale := &diag.TroubleError{Trouble: diag.TokenStale, Text: err.Error()}
	if err := app.Invalidate(ctx, a.request(), token.Secret); err != nil {
		stale.Hint = "the cache does not let go of it (" + err.Error() + "); --no-cache does without the cache"
	}
	return warn(stale, "%s, and refused", text)
}

// checkFormats asks for a token in each of the two formats there are, and tries them
// (https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/).
func (a *appChain) checkFormats(ctx context.Context) Finding {
	first, err := a.token(ctx)
	if err != nil {
		return broken(err, "there is no token any more")
	}
	other := "enabled"
	if isLong(first) {
		other = "disabled"
	}
	app, err := a.open(func(c *ghapp.Config) { c.Transport = override{c.Transport, other} })
	if err != nil {
		return broken(err, "%s cannot be used", a.settings.App.Text)
	}
	second, err := app.Token(ctx, a.request())
	if err != nil {
		return broken(err, "the second is not given")
	}
	a.lend(app, second)
	if isLong(first) == isLong(second) {
		return ok("one, of %d characters: the server knows no other", len(first.Secret.Reveal()))
	}
	text := fmt.Sprintf("of %d characters and of %d", len(first.Secret.Reveal()), len(second.Secret.Reveal()))
	var attempts atomic.Int32
	if err := a.answerer(&attempts).Trial(ctx, second, a.repository); err != nil {
		return warn(&diag.TroubleError{Trouble: diag.TokenFormat, Text: err.Error()},
			"%s, of which the second is refused", text)
	}
	return ok("%s, both are taken", text)
}

// isLong tells a token of the format of 2026, which has a JSON Web Token in it.
func isLong(t *ghapp.Token) bool { return strings.Count(t.Secret.Reveal(), ".") == 2 }

// override asks for the format of the tokens that are minted.
type override struct {
	http.RoundTripper
	stateless string
}

// RoundTrip implements [http.RoundTripper].
func (o override) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		r = r.Clone(r.Context())
		r.Header.Set("X-GitHub-Stateless-S2S-Token", o.stateless)
	}
	return o.RoundTripper.RoundTrip(r)
}

// lowShare is the part of the budget below which a warning is due.
const lowShare = 10

func (a *appChain) checkRateLimit(ctx context.Context) Finding {
	token, err := a.token(ctx)
	if err != nil {
		return broken(err, "there is no token any more")
	}
	budget, err := a.app.RateLimit(ctx, token)
	if a.unknown && errors.Is(err, ghapp.ErrTokenRefused) {
		return note("it cannot be read with a token that GitHub does not know yet")
	}
	if err != nil {
		return broken(err, "it cannot be read")
	}
	if budget.Unlimited {
		return ok("none")
	}
	reset := budget.Reset.Add(-a.app.Status().ClockOffset)
	text := fmt.Sprintf("%d of %d requests left, refilled at %s", budget.Remaining, budget.Limit,
		reset.Local().Format(time.TimeOnly))
	switch {
	case budget.Remaining == 0:
		return broken(&ghapp.Error{Kind: ghapp.ErrRateLimited, Op: "ask the REST API as the installation",
			Detail: &ghapp.RateLimitError{Until: reset},
			Err:    errors.New("its hourly budget is used up; git itself does not need it")}, "%s", text)
	case budget.Remaining < budget.Limit/lowShare:
		return warn(&diag.TroubleError{Trouble: diag.BudgetLow,
			Text: "less than a tenth of the hourly budget is left"}, "%s", text)
	}
	return ok("%s", text)
}

// end revokes the doctor's own tokens. It tells of those that it could not revoke.
func (a *appChain) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	var left int
	var until time.Time
	var why error
	for _, l := range a.lent {
		// A token that is refused has ended, unless GitHub does not know it yet.
		if err := l.app.Revoke(ctx, l.token); err != nil && (a.unknown || !errors.Is(err, ghapp.ErrTokenRefused)) {
			left, why, until = left+1, err, l.token.ExpiresAt
		}
	}
	if left == 0 {
		return
	}
	found := warn(&diag.TroubleError{Trouble: diag.TokenLeft, Text: why.Error()},
		"%d of the doctor's own live on until %s", left, until.Local().Format(time.TimeOnly))
	switch {
	case errors.Is(why, ghapp.ErrRateLimited):
		found = note("%s: the rate limit leaves no request to revoke them", found.Text)
	case a.unknown:
		found = note("%s: GitHub does not know them yet, and so does not revoke them", found.Text)
	}
	found.Link, found.About = "token", a.about
	a.tell(found)
}
