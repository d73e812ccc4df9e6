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

// Token returns an installation access token for what r asks: from memory, from
// the store, or from GitHub. Concurrent calls for the same are merged into one
// mint; each caller leaves when its own context ends, and none ends the mint for
// the others. A token near its end is renewed while it still serves.
//
// The Kinds of its errors: [ErrInvalid], [ErrNotInstalled], [ErrSuspended],
// [ErrEnterprise], [ErrRepositoryNotSelected], [ErrPermission], [ErrTooBroad],
// [ErrWrongHost], and those of [App.Info].
func (a *App) Token(ctx context.Context, r TokenRequest) (*Token, error) {
	w, err := a.want(r)
	if err != nil {
		return nil, err
	}
	return a.token(ctx, w)
}

func (a *App) token(ctx context.Context, w want) (*Token, error) {
	p, err := a.placeOf(ctx, w)
	if err != nil {
		return nil, err
	}
	t, err := a.tokenAt(ctx, w, p)
	if err == nil || !errors.Is(err, ErrNotInstalled) && !errors.Is(err, ErrRepositoryNotSelected) || w.target.id != 0 {
		return t, err
	}
	// What was remembered may be wrong: the App was installed anew, or the
	// repository moved. Look again, once.
	if p.remembered {
		a.forget(ctx, a.placeKey(w.target))
		if moved, ok := w.single(); ok {
			a.forget(ctx, a.placeKey(moved))
		}
		if p, err = a.placeOf(ctx, w); err != nil {
			return nil, err
		}
		if t, err = a.tokenAt(ctx, w, p); err == nil || !errors.Is(err, ErrRepositoryNotSelected) {
			return t, err
		}
	}
	if moved, ok := w.single(); ok && p.Repository == 0 {
		if p, lookErr := a.locate(ctx, moved); lookErr == nil && p.Repository != 0 {
			return a.tokenAt(ctx, w, p)
		}
	}
	return nil, err
}

// single is the one repository asked for: only then a move can be followed.
func (w want) single() (target, bool) {
	if len(w.names) != 1 {
		return target{}, false
	}
	return target{owner: w.owner, name: w.names[0]}, true
}

// placeOf finds where to mint: the installation of the owner, or, where a single
// repository is known to have moved, or its owner has none, that of the repository
// itself.
func (a *App) placeOf(ctx context.Context, w want) (place, error) {
	single, one := w.single()
	if one && w.target.id == 0 {
		if p, ok := a.recall(ctx, a.placeKey(single)); ok && p.Repository != 0 {
			return p, nil
		}
	}
	p, err := a.locate(ctx, w.target)
	if one && errors.Is(err, ErrNotInstalled) {
		if moved, lookErr := a.locate(ctx, single); lookErr == nil {
			return moved, nil
		}
	}
	return p, err
}

// entry is a token in memory, and when a failed renewal may be tried again.
type entry struct {
	token atomic.Pointer[Token]
	retry atomic.Int64 // nanoseconds since App.start
}

// renewalPause lies between two attempts to renew a token that still serves.
const renewalPause = 30 * time.Second

func (a *App) tokenAt(ctx context.Context, w want, p place) (*Token, error) {
	key := a.key(w, p)
	held, _ := a.tokens.LoadOrStore(key, &entry{})
	e := held.(*entry)
	if t := e.token.Load(); t.serves(w.minLife) {
		if t.aging() {
			a.renew(ctx, key, e, w, p)
		}
		return t, nil
	}
	for {
		own := false // whether it was our own asking, or that of a caller content with less
		t, err := merge(ctx, &a.flight, key, func(ctx context.Context) (*Token, error) {
			own = true
			return a.obtain(ctx, key, e, w, p)
		})
		switch {
		case err != nil:
			return nil, err
		case t.serves(w.minLife):
			return t, nil
		case own:
			return nil, &Error{Kind: ErrInvalid, Op: "mint an installation access token for " + w.object(),
				Err: fmt.Errorf("a life of %s is needed, but this host's tokens live %s", w.minLife, t.whole())}
		}
	}
}

// renew replaces a token that is near its end, without anyone waiting for it.
func (a *App) renew(ctx context.Context, key string, e *entry, w want, p place) {
	now, retry := int64(time.Since(a.start)), e.retry.Load()
	if now < retry || !e.retry.CompareAndSwap(retry, now+int64(renewalPause)) {
		return
	}
	detached := context.WithoutCancel(ctx)
	go func() {
		_, err := merge(detached, &a.flight, key, func(ctx context.Context) (*Token, error) {
			return a.obtain(ctx, key, e, w, p)
		})
		if err != nil {
			a.log.Warn("a token could not be renewed; it serves on while it lives", "for", w.object(), "error", err)
		}
	}()
}

// obtain gets a token that is not aging, from the store or from GitHub, and keeps
// it. While it asks GitHub it holds the store's lock, so that of many processes
// one mints.
func (a *App) obtain(ctx context.Context, key string, e *entry, w want, p place) (*Token, error) {
	fresh := func(text []byte) *Token {
		t := decodeToken(text)
		if t == nil {
			return nil
		}
		if a.api.Clock.Measured() {
			t.offset = a.api.Clock.Offset()
		}
		if t.Age() < -youth {
			return nil // minted in the future: the clock it was stored by has been set since
		}
		a.api.Clock.Assume(t.offset)
		if current := e.token.Load(); current != nil && current.refused.Load() && current.Secret.Reveal() == t.Secret.Reveal() {
			return nil
		}
		if !t.serves(w.minLife) || t.aging() {
			return nil
		}
		return t
	}
	// The flight before this one may have landed since the caller looked.
	if t := e.token.Load(); t.serves(w.minLife) && !t.aging() {
		return t, nil
	}
	var t *Token
	var mintErr error
	if a.store == nil {
		t, mintErr = a.mint(ctx, w, p)
	} else {
		text, err := a.store.Get(ctx, key)
		if err == nil {
			t = fresh(text)
		}
		if t == nil {
			ran := false
			err = a.store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
				ran = true
				if t = fresh(old); t != nil {
					return old, nil
				}
				if t, mintErr = a.mint(ctx, w, p); mintErr != nil {
					return nil, mintErr
				}
				return t.encode()
			})
			if err != nil && mintErr == nil {
				a.log.Warn("the token is not shared with other processes", "error", err)
			}
			if !ran {
				t, mintErr = a.mint(ctx, w, p)
			}
		}
	}
	if mintErr != nil {
		return nil, mintErr
	}
	e.token.Store(t)
	a.tokens.Store(key, e) // it may have been swept while we asked
	a.sweep()
	return t, nil
}

// sweep drops the tokens that have expired, so that a process which meets many
// repositories does not grow.
func (a *App) sweep() {
	a.tokens.Range(func(key, held any) bool {
		if t := held.(*entry).token.Load(); t != nil && t.Life() <= 0 {
			a.tokens.CompareAndDelete(key, held)
		}
		return true
	})
}

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
	grant, err := asApp(a, op, func(auth api.Authorization) (*api.Grant, error) {
		return a.api.CreateToken(ctx, auth, p.Installation, scope)
	})
	if err != nil {
		return nil, a.explainMint(ctx, err, w, p)
	}
	minted := time.Now() // and not before: the request may have waited for a limit
	secret := redact.NewSecret(grant.Token)
	offset := a.api.Clock.Offset()
	if err := check(grant, w, p); err != nil {
		err.Op = op
		if !secret.IsZero() {
			if revoked := a.api.RevokeToken(ctx, secret); revoked != nil {
				err.Err = fmt.Errorf("%w; and it could not be revoked: %w", err.Err, explain("revoke it", revoked))
			}
		}
		return nil, err
	}
	t := &Token{
		Secret: secret, ExpiresAt: grant.ExpiresAt, MintedAt: minted.Add(offset), Permissions: grant.Permissions,
		Installation: p.Installation, API: a.host.API, offset: offset, refused: new(atomic.Bool),
	}
	for _, r := range grant.Repositories {
		t.Repositories = append(t.Repositories, r.FullName)
	}
	a.log.Debug("minted", "for", w.object(), "installation", p.Installation, "permissions", t.Permissions.String(), "expires", t.ExpiresAt)
	return t, nil
}

// check compares what was granted with what was asked for. What GitHub leaves out
// of its answer counts as unlimited.
func check(grant *api.Grant, w want, p place) *Error {
	if grant.Token == "" || grant.ExpiresAt.IsZero() {
		return &Error{Kind: ErrUnreachable, Err: errors.New("GitHub's answer holds no token, or no time of expiry")}
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

// explainMint finds the cause behind a refused mint, where GitHub's own text
// leaves it open, by one more question.
func (a *App) explainMint(ctx context.Context, err error, w want, p place) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch {
	case e.Status == http.StatusNotFound && e.Kind == ErrRefused:
		e.Kind = ErrNotInstalled
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
	if e.Kind == ErrPermission {
		e.Granted = found.Permissions
	}
	if unusable := usable(newInstallation(found), w.object()); unusable != nil {
		return unusable
	}
	return e
}

// Drop tells that GitHub refused a token of this request (401), so that the next
// call of Token gets another. A token that has just been minted stays: GitHub does
// not know it everywhere yet, and a new one would start that anew. A token other
// than the one held has been dropped already. The error is the store's.
func (a *App) Drop(ctx context.Context, r TokenRequest, refused Secret) error {
	w, err := a.want(r)
	if err != nil {
		return err
	}
	return a.drop(ctx, w, refused)
}

func (a *App) drop(ctx context.Context, w want, refused Secret) error {
	places := make([]place, 0, 2)
	if w.target.id != 0 {
		places = append(places, place{Installation: w.target.id})
	} else {
		if p, ok := a.recall(ctx, a.placeKey(w.target)); ok && p.err == nil {
			places = append(places, p)
		}
		if single, ok := w.single(); ok {
			if p, ok := a.recall(ctx, a.placeKey(single)); ok && p.err == nil {
				places = append(places, p)
			}
		}
	}
	var err error
	for _, p := range places {
		if dropErr := a.dropAt(ctx, a.key(w, p), refused); err == nil {
			err = dropErr
		}
	}
	return err
}

func (a *App) dropAt(ctx context.Context, key string, refused Secret) error {
	is := func(t *Token) bool {
		return t != nil && t.Secret.Reveal() == refused.Reveal() && !t.Young()
	}
	if held, ok := a.tokens.Load(key); ok {
		if t := held.(*entry).token.Load(); is(t) {
			t.refused.Store(true)
		}
	}
	if a.store == nil {
		return nil
	}
	return a.store.Update(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
		if is(decodeToken(old)) {
			return nil, nil
		}
		return old, nil
	})
}

// Revoke ends a token at GitHub and everywhere here. It succeeds only where GitHub
// says so: a token that has expired, or was revoked before, gives [ErrTokenRefused].
func (a *App) Revoke(ctx context.Context, t *Token) error {
	if t.refused != nil {
		t.refused.Store(true)
	}
	a.tokens.Range(func(key, held any) bool {
		current := held.(*entry).token.Load()
		if current == nil || current.Secret.Reveal() != t.Secret.Reveal() {
			return true
		}
		current.refused.Store(true)
		if a.store != nil {
			err := a.store.Update(ctx, key.(string), func(_ context.Context, old []byte) ([]byte, error) {
				if kept := decodeToken(old); kept != nil && kept.Secret.Reveal() != t.Secret.Reveal() {
					return old, nil
				}
				return nil, nil
			})
			if err != nil {
				a.log.Warn("a revoked token stays in the cache", "error", err)
			}
		}
		return true
	})
	return revoke(ctx, a.api, t)
}

// RevokeToken ends a token of whichever App: a token is revoked by presenting it,
// so of c only what says how to reach GitHub is used. See [App.Revoke].
func RevokeToken(ctx context.Context, c Config, token Secret) error {
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: "revoke the token", Err: err}
	}
	client, err := c.client(host)
	if err != nil {
		return &Error{Kind: ErrInvalid, Op: "revoke the token", Err: err}
	}
	return revoke(ctx, client, &Token{Secret: token})
}

func revoke(ctx context.Context, client *api.Client, t *Token) error {
	return explain("revoke the token", t.waitOut(ctx, func() error { return client.RevokeToken(ctx, t.Secret) }))
}

// waitOut makes a call with the token, and again while it is refused because the
// token is so new that GitHub does not know it everywhere.
func (t *Token) waitOut(ctx context.Context, call func() error) error {
	err := call()
	for pause := range pauses() {
		answer, refused := errors.AsType[*api.Error](err)
		if !refused || !t.Young() || !lagging(answer.Status, answer.Limit != api.NoLimit) {
			break
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		err = call()
	}
	return err
}
