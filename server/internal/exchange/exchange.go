// Package exchange hands out tokens: it decides, in one order, whether a caller may have what
// it asks for, gets that, looks at what came, and sees to it that there is a record of it.
package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// Audit keeps records. When Append returns nil, the record is kept.
type Audit interface {
	Append(ctx context.Context, r audit.Record) error
}

// Once knows which proofs of callers have been used.
type Once interface {
	// First reports whether the proof is here for the first time, and remembers it. After an
	// error nothing is handed out.
	First(ctx context.Context, c caller.Caller) (bool, error)
}

// Budget says who may have a token at present.
type Budget interface {
	// Spend counts a token for a caller. It returns for how long to wait where there is none
	// left: 0 where there is.
	Spend(ctx context.Context, c caller.Caller, g policy.Grant) (wait time.Duration)
}

// Orders are those of operators: to suspend a rule, to shut the door for somebody.
type Orders interface {
	// Forbid returns the order by which nothing is to be handed out, or "".
	Forbid(ctx context.Context, c caller.Caller, g policy.Grant) (order string)
	// Generation is a policy's with what orders have ended: another after each that ends tokens.
	Generation(policy string) string
}

// Ledger knows which tokens are out, so that they can be revoked.
type Ledger interface {
	// HandedOut is called before a token leaves. After an error it does not, such as where an
	// order has come since [Orders] were asked.
	HandedOut(ctx context.Context, c caller.Caller, g policy.Grant, t *ghapp.Token) error
}

// Exchange hands out tokens. It is safe for concurrent use.
type Exchange struct {
	// Policy is the one in force, which may be another at each call. Required.
	Policy func() *policy.Policy
	// Apps opens Apps for a policy; see [Apps]. Required.
	Apps *Apps
	// Audit is told of everything. Required.
	Audit Audit
	// AuditedClaims are the names of the claims that records have.
	AuditedClaims []string

	Once   Once         // nil: no rule that serves a proof once allows anything
	Budget Budget       // nil: there is no limit
	Orders Orders       // nil: there are none
	Ledger Ledger       // nil: tokens that are out are not remembered
	Log    *slog.Logger // nil: nothing is logged

	files   repositoryFiles
	limited limitedTokens
	origins origins
}

// Request is what a caller asks for whose proof has been verified.
type Request struct {
	Caller  caller.Caller
	Ask     policy.Ask
	MinLife time.Duration // how long the token has to live at least
	Address string        // where the request came from, for the audit
	Host    string        // of the repositories, as an origin: https://github.com; empty: whatever it is
	ID      string        // of the request, for the audit; empty: one is made
}

// Answer is a token.
type Answer struct {
	Token        secret.Text
	ExpiresAt    time.Time // by this machine's clock
	Repositories []policy.Repository
	All          bool // it reaches all repositories of the owner
	Permissions  ghapp.Permissions
	Installation int64
	ID           string // of the request
	Host         string // of the repositories, as an origin: https://github.com
}

// exchanging is one request on its way.
type exchanging struct {
	*Exchange
	Request
	policy *policy.Policy
	apps   *generation
	grant  policy.Grant
	host   string // of the owner's App, as an origin
	record audit.Record
}

// Token hands out a token, or says why there is none: then the error is an [*Error]. What is
// decided does not depend on what is kept anywhere; only what has been allowed is looked for
// among the tokens that are there.
func (e *Exchange) Token(ctx context.Context, r Request) (Answer, error) {
	x := e.begin(r)
	for _, allows := range []func(context.Context) error{
		x.byPolicy,       // a rule, and the owner's ceiling
		x.byHost,         // of the owner's App
		x.byRepositories, // the file in each, where it has a say
		x.byOrders,
		x.byFirstUse,
		x.byBudget,
	} {
		if err := allows(ctx); err != nil {
			return Answer{}, x.refuse(ctx, err)
		}
	}
	if err := x.note(ctx, audit.Allowed); err != nil {
		return Answer{}, x.failed(ctx, err)
	}
	t, err := x.token(ctx)
	if err != nil {
		return Answer{}, x.failed(ctx, err)
	}
	if err := x.handOut(ctx, t); err != nil {
		x.revoke(ctx, t)
		return Answer{}, x.failed(ctx, err)
	}
	return x.answer(t), nil
}

func (e *Exchange) begin(r Request) *exchanging {
	if r.ID == "" {
		r.ID = rand.Text()
	}
	p := e.Policy()
	x := &exchanging{Exchange: e, Request: r, policy: p, apps: e.apps(p)}
	x.record = audit.Record{
		ID: r.ID, Address: r.Address, Issuer: r.Caller.Issuer, Subject: r.Caller.Subject,
		Claims: audit.Claims(r.Caller.Claims, e.AuditedClaims), Generation: p.Generation(),
		Asked: &audit.Scope{
			Owner: r.Ask.Owner, Repositories: r.Ask.Repositories, All: r.Ask.All, Permissions: r.Ask.Permissions,
		},
	}
	return x
}

func (x *exchanging) byPolicy(context.Context) (err error) {
	if x.grant, err = x.policy.Decide(x.Caller, x.Ask); err != nil {
		return err
	}
	names := make([]string, len(x.grant.Repositories))
	for i, r := range x.grant.Repositories {
		names[i] = r.Name
	}
	x.record.Rule = x.grant.Rule
	x.record.Granted = &audit.Scope{
		Owner: x.grant.Owner, Repositories: names, All: x.grant.All, Permissions: x.grant.Permissions,
	}
	return nil
}

// byHost keeps a token of one host from those who would send it to another: an owner may have
// the same name on both.
func (x *exchanging) byHost(ctx context.Context) error {
	x.host = x.apps.host(ctx, x.grant)
	if x.Host != "" && x.Host != x.host {
		return fmt.Errorf("the App for %s is on %q, and %q was asked about", x.grant.Owner, x.host, x.Host)
	}
	return nil
}

func (x *exchanging) byRepositories(ctx context.Context) error {
	if !x.grant.RepositoryFile {
		return nil
	}
	if x.grant.All {
		return errors.New("each repository decides for itself, and all are asked for")
	}
	for _, r := range x.grant.Repositories {
		file, err := x.files.of(ctx, x.apps, r)
		if err != nil {
			return err
		}
		if why := file.Refuses(x.Caller, x.grant.Permissions); why != "" {
			return fmt.Errorf("the file of %s: %s", r.Name, why)
		}
	}
	return nil
}

func (x *exchanging) byOrders(ctx context.Context) error {
	if x.Orders == nil {
		return nil
	}
	if order := x.Orders.Forbid(ctx, x.Caller, x.grant); order != "" {
		return errors.New("by order: " + order)
	}
	return nil
}

func (x *exchanging) byFirstUse(ctx context.Context) error {
	if !x.grant.Once {
		return nil
	}
	if x.Once == nil {
		return errors.New("the rule serves a proof once, and nothing here remembers them")
	}
	first, err := x.Once.First(ctx, x.Caller)
	if err != nil {
		return &Error{Outcome: Unavailable, Err: fmt.Errorf("whether the proof was used before is not known: %w", err)}
	}
	if !first {
		return errors.New("the caller's proof has been used before")
	}
	return nil
}

func (x *exchanging) byBudget(ctx context.Context) error {
	if x.Budget == nil {
		return nil
	}
	if wait := x.Budget.Spend(ctx, x.Caller, x.grant); wait > 0 {
		return &Error{Outcome: Limited, RetryAfter: wait, Err: errors.New("the budget is spent")}
	}
	return nil
}

// token gets what was granted, and looks at it.
func (x *exchanging) token(ctx context.Context) (*ghapp.Token, error) {
	began := time.Now()
	t, err := x.apps.token(ctx, x.grant, x.MinLife)
	x.record.GitHubMillis = time.Since(began).Milliseconds()
	if err != nil {
		return nil, err
	}
	x.record.HashedToken, x.record.Installation = audit.HashToken(t.Secret), t.Installation
	x.record.Source = x.origins.of(x.record.HashedToken, t, began)
	if err := fits(t, x.grant); err != nil {
		x.log().Error("a token is not what was granted, and is revoked", "id", x.ID, "error", err)
		x.revoke(ctx, t)
		return nil, err
	}
	return t, x.apps.settle(ctx, x.grant, t)
}

// fits compares a token with what was granted. The library has done so too, by IDs where they
// are known, but follows a repository that has moved, and so out of the grant.
func fits(t *ghapp.Token, g policy.Grant) error {
	allowed := ghapp.Permissions{"metadata": "read"}
	for name, level := range g.Permissions {
		allowed[name] = level
	}
	switch {
	case !allowed.Covers(t.Permissions):
		return fmt.Errorf("the token has %s, and %s was granted", t.Permissions, g.Permissions)
	case t.Life() <= 0 || t.Life() > 61*time.Minute:
		return errors.New("the token has run out, or lives longer than an hour")
	case g.All:
		return nil
	case len(t.Repositories) != len(g.Repositories):
		return fmt.Errorf("the token is for %d repositories, and %d were granted", len(t.Repositories), len(g.Repositories))
	}
	for _, name := range t.Repositories {
		owner, _, _ := strings.Cut(name, "/")
		named := slices.ContainsFunc(g.Repositories, func(r policy.Repository) bool {
			return strings.EqualFold(r.Name,
				name)
		})
		byID := !slices.ContainsFunc(g.Repositories, func(r policy.Repository) bool { return r.ID == 0 })
		if !strings.EqualFold(owner, g.Owner) || !named && !byID {
			return errors.New("the token is for a repository that was not granted")
		}
	}
	return nil
}

// handOut has a token remembered and recorded, before it leaves.
func (x *exchanging) handOut(ctx context.Context, t *ghapp.Token) error {
	if x.Ledger != nil {
		if err := x.Ledger.HandedOut(ctx, x.Caller, x.grant, t); err != nil {
			return fmt.Errorf("the token is kept back: %w", err)
		}
	}
	ends := x.ends(t)
	x.record.ExpiresAt = &ends
	if err := x.note(ctx, audit.HandedOut); err != nil {
		return err
	}
	if x.grant.Revoke {
		x.limited.endAt(ends, t, func(ctx context.Context) { x.revoke(ctx, t) })
	}
	return nil
}

// ends is when the token is over for its caller, by this machine's clock.
func (x *exchanging) ends(t *ghapp.Token) time.Time {
	life := t.Life()
	if x.grant.MaxLife > 0 {
		life = min(life, x.grant.MaxLife-ageOf(t))
	}
	return time.Now().Add(life).Truncate(time.Second)
}

// ageOf is how long ago a token was minted.
func ageOf(t *ghapp.Token) time.Duration { return t.ExpiresAt.Sub(t.MintedAt) - t.Life() }

func (x *exchanging) answer(t *ghapp.Token) Answer {
	return Answer{
		Token: t.Secret, ExpiresAt: *x.record.ExpiresAt, Repositories: x.grant.Repositories, All: x.grant.All,
		Permissions: t.Permissions, Installation: t.Installation, ID: x.ID, Host: x.host,
	}
}

// note has what is known recorded.
func (x *exchanging) note(ctx context.Context, event audit.Event) error {
	record := x.record
	record.Event = event
	if err := x.Audit.Append(ctx, record); err != nil {
		return &Error{Outcome: Unavailable, Err: fmt.Errorf("the audit: %w", err)}
	}
	return nil
}

// refuse records that nothing is handed out, and why. That the caller gets nothing does not
// wait for the record to succeed.
func (x *exchanging) refuse(ctx context.Context, err error) error {
	return x.end(ctx, audit.Refused, err)
}

func (x *exchanging) failed(ctx context.Context, err error) error {
	return x.end(ctx, audit.Failed, err)
}

const lastWord = 5 * time.Second // for what is done though the caller may be gone

func (x *exchanging) end(ctx context.Context, event audit.Event, err error) error {
	e := classify(err)
	e.ID = x.ID
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer stop()
	x.record.Reason = e.Err.Error()
	if noted := x.note(ctx, event); noted != nil {
		x.log().Error("a refusal is not in the audit", "id", x.ID, "error", noted)
		if e.Outcome == Refused {
			e.Outcome = Unavailable // whatever is not recorded is no decision
		}
	}
	return e
}

// revoke ends a token at GitHub. Where that fails it lives until its hour is over, which is
// told.
func (x *exchanging) revoke(ctx context.Context, t *ghapp.Token) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer stop()
	err := x.apps.revoke(ctx, x.grant, t)
	if err != nil && !errors.Is(err, ghapp.ErrTokenRefused) {
		x.log().Error("a token could not be revoked, and lives on", "id", x.ID, "until", t.ExpiresAt, "error", err)
		return
	}
	record := x.record
	record.Event, record.HashedToken, record.Reason = audit.Revoked, audit.HashToken(t.Secret), ""
	if err := x.Audit.Append(ctx, record); err != nil {
		x.log().Error("a revocation is not in the audit", "id", x.ID, "error", err)
	}
}

func (e *Exchange) log() *slog.Logger {
	if e.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Log
}

// Close ends the tokens that are to be revoked at their end now, and waits for that.
func (e *Exchange) Close(ctx context.Context) { e.limited.close(ctx) }

// limitedTokens are revoked at an end that comes before that of GitHub.
type limitedTokens struct {
	mu     sync.Mutex
	timers map[string]*limitedToken // by the hash of the token
	closed bool
}

type limitedToken struct {
	timer *time.Timer
	end   func(context.Context)
}

// endAt has a token ended, once, however many have it.
func (l *limitedTokens) endAt(at time.Time, t *ghapp.Token, end func(context.Context)) {
	key := audit.HashToken(t.Secret)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timers[key] != nil || l.closed {
		return
	}
	if l.timers == nil {
		l.timers = map[string]*limitedToken{}
	}
	l.timers[key] = &limitedToken{end: end, timer: time.AfterFunc(time.Until(at), func() {
		l.mu.Lock()
		delete(l.timers, key)
		l.mu.Unlock()
		end(context.Background())
	})}
}

func (l *limitedTokens) close(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var ending sync.WaitGroup
	for _, t := range l.timers {
		if t.timer.Stop() {
			ending.Go(func() { t.end(ctx) })
		}
	}
	ending.Wait()
}
