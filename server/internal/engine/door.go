package engine

import (
	"context"
	"errors"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// identity names a caller, in orders and limits.
func identity(c caller.Caller) string { return c.Issuer + " " + c.Subject }

// useOf is what becomes of a grant to a caller, before there is a token.
func useOf(c caller.Caller, g policy.Grant) Use {
	u := Use{Identity: identity(c), Rule: g.Rule, All: g.All, Owner: g.Owner, ExpiresAt: time.Now().Add(tokenLife)}
	for _, r := range g.Repositories {
		u.Repositories = append(u.Repositories, r.Name)
	}
	return u
}

// errNoID is of a proof without an ID, which cannot be known again.
var errNoID = errors.New("the proof has no ID by which it would be known again")

// First reports whether no replica has seen the caller's proof yet, and has all know it until it ends.
// Where the engine cannot be asked, nobody can tell: the error says so.
func (e *Engine) First(ctx context.Context, c caller.Caller) (bool, error) {
	if c.ID == "" {
		return false, errNoID
	}
	// What a clock may be off, and a minute, is added. No issuer's token of a job lives for a day.
	life := min(max(time.Until(c.Expires)+2*time.Minute, 2*time.Minute), 24*time.Hour)
	_, err := e.replace(ctx, &e.work, "once."+e.keys[0].name("once", c.Issuer, c.ID), nil, 0, life)
	if errors.Is(err, errTaken) {
		return false, nil
	}
	return err == nil, err
}

// Forbid returns the order that holds the door shut for a grant to a caller, or "".
func (e *Engine) Forbid(_ context.Context, c caller.Caller, g policy.Grant) (order string) {
	if held, ok := errors.AsType[*HeldError](e.Held(useOf(c, g))); ok {
		return held.Error()
	}
	return ""
}

// HandedOut remembers a token that is about to leave, so that an order can end it. An order that has come
// since it was granted is the error. Where the engine is away this replica alone remembers it.
func (e *Engine) HandedOut(ctx context.Context, c caller.Caller, g policy.Grant, t *ghapp.Token) error {
	u := useOf(c, g)
	u.Installation, u.ExpiresAt = t.Installation, time.Now().Add(t.Life())
	if err := e.Remember(ctx, t.Secret, u); err != nil {
		if ctx.Err() != nil {
			return err
		}
		e.log.Debug("a token that is out is known to this replica alone", "error", err)
	}
	return e.Held(u)
}
