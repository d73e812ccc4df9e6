package ghapp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/ghtoken"
	"github.com/ghapp-dev/ghapp/secret"
)

// minting has GitHub give tokens of an installation.
type minting struct {
	client *signedClient
	spec   tokenSpec
	at     installationRef
}

func (m minting) mint(ctx context.Context) (*Token, error) { return m.client.mint(ctx, m.spec, m.at) }

func (m minting) key() string { return m.spec.key(m.client, m.at) }

// mint asks GitHub for a token and checks what comes.
func (c *signedClient) mint(ctx context.Context, spec tokenSpec, at installationRef) (*Token, error) {
	op := "mint an installation access token for " + spec.object()
	scope := api.TokenScope{Permissions: spec.permissions}
	switch ids := spec.knownIDs(); {
	case spec.all:
	case ids != nil:
		scope.RepositoryIDs = ids
	case at.Repository != 0:
		scope.RepositoryIDs = []int64{at.Repository}
	default:
		scope.Repositories = spec.names
	}
	grant, err := withAcceptedKey(ctx, c, op, func(auth api.Authorization) (*api.Grant, error) {
		return c.api.CreateToken(ctx, auth, at.Installation, scope)
	})
	if err != nil {
		return nil, c.explainMint(ctx, err, spec, at)
	}
	if grant.Token != "" && !ghtoken.Valid(grant.Token) {
		// Not to be revoked either: it is no header's value.
		return nil, &Error{Kind: ErrUnreachable, Op: op, Err: errors.New("what came as a token is none of GitHub's: " +
			"it has other characters than those, or thousands; is the API's address that of GitHub?")}
	}
	minted := time.Now() // and not before: the request may have waited for a limit
	secret := secret.New(grant.Token)
	offset := c.api.Clock.Offset()
	if err := check(grant, spec, at, minted.Add(offset)); err != nil {
		err.Op = op
		if !secret.IsZero() {
			if revoked := c.api.RevokeToken(ctx, secret); revoked != nil {
				err.Err = fmt.Errorf("%w; and it could not be revoked: %w", err.Err, explain("revoke it", revoked))
			}
		}
		return nil, err
	}
	t := &Token{
		Secret: secret, ExpiresAt: expiry(grant.ExpiresAt, minted.Add(offset)), MintedAt: minted.Add(offset),
		Permissions: grant.Permissions, Installation: at.Installation, API: c.host.API,
		offset: offset, refused: new(atomic.Bool), settled: newSettled(), listed: spec.granted,
	}
	for _, r := range grant.Repositories {
		t.Repositories = append(t.Repositories, r.FullName)
	}
	c.log.Debug("minted", "for", spec.object(), "installation", at.Installation,
		"permissions", t.Permissions.String(), "expires", t.ExpiresAt)
	return t, nil
}

// tokenLife is how long an installation access token lives
// (https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app).
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
func check(grant *api.Grant, spec tokenSpec, at installationRef, now time.Time) *Error {
	if grant.Token == "" || grant.ExpiresAt.IsZero() {
		return &Error{Kind: ErrUnreachable, Err: errors.New("GitHub's answer holds no token, or no time of expiry")}
	}
	if !grant.ExpiresAt.After(now) {
		return &Error{Kind: ErrUnreachable, Err: errors.New("the token in GitHub's answer had run out when it came")}
	}
	if err := checkPermissions(grant.Permissions, spec.permissions); err != nil {
		return err
	}
	return checkRepositories(grant, spec, at)
}

// checkPermissions compares what a token may do with what was asked for; nil is all.
func checkPermissions(granted, asked Permissions) *Error {
	if asked == nil {
		return nil
	}
	allowed := maps.Clone(asked)
	if allowed["metadata"] == "" {
		allowed["metadata"] = "read" // GitHub adds it to every token
	}
	switch {
	case len(granted) == 0:
		return &Error{Kind: ErrTooBroad, Detail: &PermissionError{Wanted: asked},
			Err: errors.New("the answer does not say which permissions were granted")}
	case !allowed.Covers(granted):
		return &Error{Kind: ErrTooBroad, Detail: &PermissionError{Wanted: asked, Granted: granted},
			Err: fmt.Errorf("%s was asked for, %s was granted", asked, granted)}
	case !granted.Covers(asked):
		return &Error{Kind: ErrPermission, Detail: &PermissionError{Wanted: asked, Granted: granted},
			Err: fmt.Errorf("%s was asked for, only %s was granted", asked, granted)}
	}
	return nil
}

// checkRepositories compares what a token reaches with what was asked for.
func checkRepositories(grant *api.Grant, spec tokenSpec, at installationRef) *Error {
	if spec.all {
		return nil
	}
	asked := spec.repositories()
	if grant.RepositorySelection == "all" || len(grant.Repositories) == 0 {
		return &Error{Kind: ErrTooBroad, Detail: &RepositoryError{asked},
			Err: errors.New("the token is not limited to the repositories asked for")}
	}
	for _, r := range grant.Repositories {
		if spec.means(r, at) {
			continue
		}
		return &Error{Kind: ErrTooBroad, Detail: &RepositoryError{asked},
			Err: fmt.Errorf("the token reaches %s, which was not asked for", r.FullName)}
	}
	return nil
}

// means reports whether a repository is one that was asked for: by its ID where that is
// known, whatever it is called by now, and else by its name.
func (s tokenSpec) means(r api.Repository, at installationRef) bool {
	for _, name := range s.names {
		if id := s.ids[name]; id != 0 {
			if id == r.ID {
				return true
			}
			continue
		}
		if strings.EqualFold(s.owner+"/"+name, r.FullName) {
			return true
		}
	}
	return len(s.ids) == 0 && at.Repository != 0 && r.ID == at.Repository
}

// mostLookedUp bounds the questions that find out which of many repositories is wrong.
const mostLookedUp = 20

// missing are those of several repositories that the installation does not reach. GitHub
// says only that there is one, so each is asked for by itself, until an answer fails for
// another reason. It is nil where that is not found out.
func (c *signedClient) missing(ctx context.Context, spec tokenSpec, at installationRef) []string {
	if len(spec.names) < 2 || len(spec.names) > mostLookedUp {
		return nil
	}
	var missing []string
	for _, name := range spec.names {
		found, err := c.findInstallation(ctx, target{owner: spec.owner, name: name})
		switch {
		case errors.Is(err, ErrNotInstalled), err == nil && found.ID != at.Installation:
			missing = append(missing, spec.owner+"/"+name)
		case err != nil:
			return nil
		}
	}
	return missing
}

// explainMint finds the cause behind a refused mint, where GitHub's own text
// leaves it open, by one more question, or two, or one for each repository.
func (c *signedClient) explainMint(ctx context.Context, err error, spec tokenSpec, at installationRef) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	// The installation may be what is wrong, if the caller named it.
	named := func(detail error) error {
		if spec.target.id == 0 {
			return detail
		}
		return errors.Join(detail, fault.ErrInstallationNamed)
	}
	permissions := &PermissionError{Wanted: spec.permissions}
	repositories := &RepositoryError{spec.repositories()}
	switch {
	case e.Status == http.StatusNotFound && e.Kind == ErrRefused:
		e.Kind, e.Detail = ErrNotInstalled, named(nil)
		return e
	case e.Kind == ErrPermission:
		e.Detail = permissions
	case e.Kind == ErrRepositoryNotSelected:
		e.Detail = repositories
	case e.Status != http.StatusUnprocessableEntity:
		return e
	}
	found, lookErr := c.installation(ctx, "", at.Installation)
	if lookErr != nil {
		return e // the first refusal is the one to tell
	}
	if unusable := found.usable(spec.object()); unusable != nil {
		return unusable
	}
	switch e.Kind {
	case ErrPermission:
		permissions.Granted = found.Permissions
		if info, err := c.info(ctx); err == nil {
			permissions.Asked, permissions.Page = info.Permissions, found.URL
		}
	case ErrRepositoryNotSelected:
		if missing := c.missing(ctx, spec, at); len(missing) > 0 {
			repositories.Repositories = missing
			e.Err = fmt.Errorf("the installation does not reach %s", strings.Join(missing, ", "))
		}
		if spec.owner != "" && !strings.EqualFold(found.Account, spec.owner) {
			e.Detail = named(repositories)
		}
	}
	return e
}
