package ghapp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/redact"
)

// mint asks GitHub for a token and checks what comes.
func (a *App) mint(ctx context.Context, w want, p place) (*Token, error) {
	op := "mint an installation access token for " + w.object()
	scope := api.TokenScope{Permissions: w.permissions}
	switch {
	case w.all:
	case p.Repository != 0:
		scope.RepositoryIDs = []int64{p.Repository}
	default:
		scope.Repositories = w.names
	}
	grant, err := asKnown(ctx, a, op, func(auth api.Authorization) (*api.Grant, error) {
		return a.api.CreateToken(ctx, auth, p.Installation, scope)
	})
	if err != nil {
		return nil, a.explainMint(ctx, err, w, p)
	}
	if grant.Token != "" && !redact.IsToken(grant.Token) {
		// Not to be revoked either: it is no header's value.
		return nil, &Error{Kind: ErrUnreachable, Op: op, Err: errors.New("what came as a token is none of GitHub's: it has other characters than those, or thousands; " +
			"is the API's address that of GitHub?")}
	}
	minted := time.Now() // and not before: the request may have waited for a limit
	secret := redact.NewSecret(grant.Token)
	offset := a.api.Clock.Offset()
	if err := check(grant, w, p, minted.Add(offset)); err != nil {
		err.Op = op
		if !secret.IsZero() {
			if revoked := a.api.RevokeToken(ctx, secret); revoked != nil {
				err.Err = fmt.Errorf("%w; and it could not be revoked: %w", err.Err, explain("revoke it", revoked))
			}
		}
		return nil, err
	}
	t := &Token{
		Secret: secret, ExpiresAt: expiry(grant.ExpiresAt, minted.Add(offset)), MintedAt: minted.Add(offset), Permissions: grant.Permissions,
		Installation: p.Installation, API: a.host.API, offset: offset, refused: new(atomic.Bool),
		settled: newSettled(), listed: w.granted,
	}
	for _, r := range grant.Repositories {
		t.Repositories = append(t.Repositories, r.FullName)
	}
	a.log.Debug("minted", "for", w.object(), "installation", p.Installation, "permissions", t.Permissions.String(), "expires", t.ExpiresAt)
	return t, nil
}

// tokenLife is how long an installation access token lives
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app).
const tokenLife = time.Hour

// expiry is when a token ends that was minted at now, by the same clock. One that is said
// to live longer than GitHub's do is asked for anew as often as those.
func expiry(said, now time.Time) time.Time {
	const rounded = time.Minute // the clocks agree to the second at best
	if longest := now.Add(tokenLife); said.After(longest.Add(rounded)) {
		return longest
	}
	return said
}

// check compares what was granted with what was asked for. What GitHub leaves out
// of its answer counts as unlimited. now is GitHub's time.
func check(grant *api.Grant, w want, p place, now time.Time) *Error {
	if grant.Token == "" || grant.ExpiresAt.IsZero() {
		return &Error{Kind: ErrUnreachable, Err: errors.New("GitHub's answer holds no token, or no time of expiry")}
	}
	if !grant.ExpiresAt.After(now) {
		return &Error{Kind: ErrUnreachable, Err: errors.New("the token in GitHub's answer had run out when it came")}
	}
	if w.permissions != nil {
		granted := Permissions(grant.Permissions)
		allowed := maps.Clone(w.permissions)
		if allowed["metadata"] == "" {
			allowed["metadata"] = "read" // GitHub adds it to every token
		}
		switch {
		case len(granted) == 0:
			return &Error{Kind: ErrTooBroad, Wanted: w.permissions, Err: errors.New("GitHub's answer does not say which permissions were granted")}
		case !allowed.Covers(granted):
			return &Error{Kind: ErrTooBroad, Wanted: w.permissions, Granted: granted,
				Err: fmt.Errorf("%s was asked for, %s was granted", w.permissions, granted)}
		case !granted.Covers(w.permissions):
			return &Error{Kind: ErrPermission, Wanted: w.permissions, Granted: granted,
				Err: fmt.Errorf("%s was asked for, only %s was granted", w.permissions, granted)}
		}
	}
	if w.all {
		return nil
	}
	if grant.RepositorySelection == "all" || len(grant.Repositories) == 0 {
		return &Error{Kind: ErrTooBroad, Repositories: w.repositories(), Err: errors.New("the token is not limited to the repositories asked for")}
	}
	for _, r := range grant.Repositories {
		asked := slices.Contains(w.repositories(), strings.ToLower(r.FullName)) || p.Repository != 0 && r.ID == p.Repository
		if !asked {
			return &Error{Kind: ErrTooBroad, Repositories: w.repositories(), Err: fmt.Errorf("the token reaches %s, which was not asked for", r.FullName)}
		}
	}
	return nil
}

// mostLookedUp bounds the questions that find out which of many repositories is wrong.
const mostLookedUp = 20

// missing are those of several repositories that the installation does not reach. GitHub
// says only that there is one, so each is asked for by itself, until an answer fails for
// another reason. It is nil where that is not found out.
func (a *App) missing(ctx context.Context, w want, p place) []string {
	if len(w.names) < 2 || len(w.names) > mostLookedUp {
		return nil
	}
	var missing []string
	for _, name := range w.repositories() {
		found, err := a.FindInstallation(ctx, name)
		switch {
		case errors.Is(err, ErrNotInstalled), err == nil && found.ID != p.Installation:
			missing = append(missing, name)
		case err != nil:
			return nil
		}
	}
	return missing
}

// explainMint finds the cause behind a refused mint, where GitHub's own text
// leaves it open, by one more question, or two, or one for each repository.
func (a *App) explainMint(ctx context.Context, err error, w want, p place) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch {
	case e.Status == http.StatusNotFound && e.Kind == ErrRefused:
		e.Kind, e.InstallationNamed = ErrNotInstalled, w.target.id != 0
		return e
	case e.Kind == ErrPermission:
		e.Wanted = w.permissions
	case e.Kind == ErrRepositoryNotSelected:
		e.Repositories = w.repositories()
	case e.Status != http.StatusUnprocessableEntity:
		return e
	}
	found, lookErr := asApp(a, "", func(auth api.Authorization) (*api.Installation, error) {
		return a.api.Installation(ctx, auth, p.Installation)
	})
	if lookErr != nil {
		return e // the first refusal is the one to tell
	}
	if unusable := usable(newInstallation(found), w.object()); unusable != nil {
		return unusable
	}
	switch e.Kind {
	case ErrPermission:
		e.Granted = found.Permissions
		if info, err := a.Info(ctx); err == nil {
			e.Asked, e.Page = info.Permissions, found.HTMLURL
		}
	case ErrRepositoryNotSelected:
		if missing := a.missing(ctx, w, p); len(missing) > 0 {
			e.Repositories = missing
			e.Err = fmt.Errorf("the installation does not reach %s", strings.Join(missing, ", "))
		}
		e.InstallationNamed = w.target.id != 0 && w.owner != "" && !strings.EqualFold(accountName(found.Account), w.owner)
	}
	return e
}
