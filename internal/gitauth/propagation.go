package gitauth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// propagationTries is how often the git service is asked again with a new token: for ten
// seconds. GitHub's support advises to try again after 3 and 10 seconds.
const propagationTries = 4

// waitForPropagation asks GitHub's git service itself whether it takes a token that has
// just been minted, and waits with that same token while it does not. git asks for a
// credential once and gives up on the first refusal, which for a token that has
// not spread yet reads "Repository not found". Of all who have the token one asks, and
// once; see [ghapp.App.Settle].
//
// A token from the cache may be dead, and not late: revoked by somebody who has not told
// us. After the second refusal the REST API is asked as well, and where that does not know
// the token either, the error has the Kind [ghapp.ErrTokenRefused].
func (a *Answerer) waitForPropagation(ctx context.Context, p plan, t *ghapp.Token) error {
	return a.Settle(ctx, p.app, t, p.repository)
}

// Settle is what is done with a new token before git gets it, for others who hand out tokens:
// it returns when GitHub's git service takes the token for a repository.
func (a *Answerer) Settle(ctx context.Context, app *ghapp.App, t *ghapp.Token, r ghapp.RepositoryName) error {
	return app.Settle(ctx, t, r.String(), func(ctx context.Context) (taken bool, err error) {
		refusals, refused := 0, false
		err = WaitForPropagation(ctx, a.log(), t, r, func() (int, string) {
			status, message, err := a.try(ctx, t, r)
			taken = err == nil && status == http.StatusOK
			if err != nil && ctx.Err() == nil {
				// git goes there next and says what is wrong with the network.
				a.log().Debug("the git service was not asked whether it knows the token", "error", err)
			}
			if t.FromStore() && (status == http.StatusUnauthorized || status == http.StatusNotFound) {
				if refusals++; refusals == 2 && app.Refuses(ctx, t) {
					refused = true
					return 0, ""
				}
			}
			return status, message
		})
		if refused && ctx.Err() == nil {
			op := fmt.Sprintf("use the token for %s", r)
			err = &ghapp.Error{Kind: ghapp.ErrTokenRefused, Op: op, Status: http.StatusUnauthorized}
		}
		return taken, err
	})
}

// WaitForPropagation makes a request of the git service with a token that has just been
// minted, and makes it again while the answer is one that a server gives which does not know
// the token yet. try returns the status of a refusal and its message, or 0. The error
// is nil where the last answer was no such refusal, a [*ghapp.Error] where it is one
// that waiting does not mend, and the cause of ctx's end.
func WaitForPropagation(
	ctx context.Context, log *slog.Logger, t *ghapp.Token, r ghapp.RepositoryName, try func() (status int, message string),
) error {
	status, message := try()
	for pause := range api.PropagationPauses(propagationTries) {
		if ctx.Err() != nil || !refused(status) || final(message) {
			break
		}
		level := slog.LevelInfo
		if pause == wait.Patience {
			level = slog.LevelWarn // once: a person who waits is told what for
		}
		log.Log(ctx, level, "GitHub's git service does not know the new token yet",
			"repository", r.String(), "status", status, "wait", pause)
		if err := wait.Sleep(ctx, pause); err != nil {
			return err
		}
		status, message = try()
	}
	op := fmt.Sprintf("use the new token for %s", r)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !refused(status):
		return nil
	case final(message):
		return &ghapp.Error{Kind: RefusedBy(status, message), Op: op, Status: status, Message: message}
	}
	return &ghapp.Error{Kind: ghapp.ErrTokenUnknown, Op: op, Status: status, Message: message,
		Err: fmt.Errorf("GitHub's git service still refuses it %s after it was minted", ageOf(t).Round(time.Second))}
}

// refused reports whether a status is one that a server answers which does not know a token.
func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound
}

// final reports whether the message of a refusal names a cause that waiting does not mend.
func final(message string) bool {
	switch api.Classify(message) {
	case api.IPAllowList, api.SAML, api.InstallationSuspended, api.AccountSuspended, api.Unavailable:
		return true
	}
	return false
}

// try asks the git service for a repository as git would, with a token.
func (a *Answerer) try(ctx context.Context, t *ghapp.Token,
	r ghapp.RepositoryName) (status int, message string, err error) {
	d, err := a.discover(ctx, r.String()+".git", t)
	return d.status, d.message, err
}

// ageOf is how long ago a token was minted.
func ageOf(t *ghapp.Token) time.Duration { return t.ExpiresAt.Sub(t.MintedAt) - t.Life() }
