package ghapp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Config says which App, on which GitHub, with which key, or which broker has the key.
type Config struct {
	Client

	// Issuer is the App's client ID (which GitHub recommends) or its App ID.
	// Required, but with a Broker, which decides about the App.
	Issuer string
	// Signer holds the App's private key. Required, unless there is a Broker.
	Signer Signer
	// Broker gives out tokens in the place of the key, which it has. What only the key
	// can do, as [App.JWT] and [App.Installations], fails with [ErrNoKey] then. Nil: the
	// key is here.
	Broker Broker
	// FallbackSigner opens the key before Signer's, which is used while GitHub refuses
	// that one with [ErrKeyMismatch]. It is called when it is needed, until it succeeds.
	// Nil: there is none.
	FallbackSigner func(ctx context.Context) (Signer, error)

	// Store shares tokens with other processes. Nil: this process alone.
	Store Store
	// Unshared keeps tokens out of Store, for a process that revokes those it has
	// in the end. Where an App is installed is shared all the same.
	Unshared bool
	// RefusalLife is how long GitHub's word that it does not take the Signer's key, or does
	// not know the App, is believed when a token is asked for, by all who share Store and
	// have set this: for one who is asked for tokens at every turn. Another key is asked
	// with at once. 0: GitHub is asked each time.
	RefusalLife time.Duration
}

// App is a GitHub App: the way from its key, or from a broker that has it, to tokens. It is
// safe for concurrent use and not to be copied.
type App struct {
	host          api.Host
	issuer        string
	api           *api.Client
	log           *slog.Logger
	keys          atomic.Pointer[keyring]
	sign          func(Signer) *signedClient
	installations installations
	tokens        tokenCache
	broker        *brokerAccess // nil: the key is here

	settling singleflight.Group // by token and repository
	rotating sync.Mutex
}

// validIssuer reports whether text is an App ID, or a client ID: Iv1.… of old, Iv23…
// of today.
func validIssuer(text string) bool {
	if digits(text) {
		return len(text) < 20 && !strings.HasPrefix(text, "0")
	}
	return strings.HasPrefix(text, "Iv") && len(text) >= 10 && consistsOf(text, ".")
}

// New checks the configuration and returns its App. It asks nothing of GitHub.
// The error names everything that is wrong and has the Kind [ErrInvalid].
func New(c Config) (*App, error) {
	var problems []string
	host, err := api.ParseHost(c.Host, c.APIURL)
	if err != nil {
		problems = append(problems, err.Error())
	}
	problems = append(problems, c.whoSigns()...)
	if len(problems) > 0 {
		return nil, &Error{Kind: ErrInvalid, Op: "use this App", Err: errors.New(strings.Join(problems, "; "))}
	}
	client, err := c.rest(host)
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, Op: "use this App", Err: err}
	}
	start := time.Now()
	a := &App{
		host: host, issuer: c.Issuer, api: client, log: client.Log,
		installations: installations{host: host, issuer: c.Issuer, shared: c.Store, log: client.Log, start: start},
		tokens:        tokenCache{shared: c.Store, clock: client.Clock, log: client.Log, start: start},
	}
	if c.Unshared {
		a.tokens.shared = nil
	}
	if c.Broker != nil {
		a.broker = &brokerAccess{Broker: c.Broker}
		a.keys.Store(&keyring{heldBy: c.Broker})
		return a, nil
	}
	a.keys.Store(c.keyring(a))
	return a, nil
}

// whoSigns says what is wrong with the key that is named, or with the broker.
func (c Config) whoSigns() (problems []string) {
	if c.Broker != nil {
		if c.Signer != nil || c.FallbackSigner != nil || c.Issuer != "" {
			problems = append(problems, "a broker is named and a key as well, or an App; decide on one")
		}
		return problems
	}
	switch {
	case c.Issuer == "":
		problems = append(problems, "no App is named: its client ID or App ID is needed")
	case !validIssuer(c.Issuer):
		what := "what names the App"
		if len(c.Issuer) <= 20 { // longer than a client ID, it may be the client secret, or a key
			what = strconv.Quote(c.Issuer)
		}
		problems = append(problems, what+" is neither a client ID (Iv23li…) nor an App ID (a number)")
	}
	if c.Signer == nil {
		problems = append(problems, "no private key is given")
	}
	return problems
}

// keyring has the keys of the configuration sign for the App.
func (c Config) keyring(a *App) *keyring {
	warned := new(atomic.Bool)
	a.sign = func(s Signer) *signedClient {
		return &signedClient{
			api: a.api, host: a.host, issuer: c.Issuer, signer: s, fingerprint: fingerprinter(s), log: a.log, warned: warned,
			store: c.Store, believe: c.RefusalLife,
		}
	}
	keys := &keyring{newest: a.sign(c.Signer)}
	if c.FallbackSigner != nil {
		keys.previous = &previousKey{open: func(ctx context.Context) (*signedClient, error) {
			s, err := c.FallbackSigner(ctx)
			if err != nil {
				return nil, err
			}
			return a.sign(s), nil
		}}
	}
	return keys
}

// Format implements [fmt.Formatter]: with every verb an App prints as its issuer
// and host, and not as the state it holds, which others may be changing.
func (a *App) Format(f fmt.State, _ rune) {
	if a.broker != nil {
		fmt.Fprintf(f, "App of %s on %s", a.broker, a.host.Name)
		return
	}
	fmt.Fprintf(f, "App %s on %s", a.issuer, a.host.Name)
}

// Status is who an App is here, and how it gets on. It holds no secret.
type Status struct {
	// Host is that of the App's repositories, such as github.com.
	Host string
	// Origin is scheme and host of the App's repositories, such as https://github.com.
	Origin string
	// Issuer is the client ID or App ID; empty with a broker.
	Issuer string
	// Broker names the broker that has the key, and as whom it is asked; empty where the key
	// is here.
	Broker string
	// Fingerprint is that of the key in use, as GitHub's settings page shows it; empty
	// where its Signer does not tell its public key.
	Fingerprint string
	// RejectedKey is the fingerprint of the newest of two keys where GitHub has refused it
	// within the last minute and takes the one before; else it is empty.
	RejectedKey string
	// ClockOffset is what has to be added to this machine's clock to get GitHub's, as
	// measured from the last answer; 0 where they agree to the second. It is 15 hours at
	// most, either way: an answer that is dated further off is not believed.
	ClockOffset time.Duration
}

// Status tells what is known here; it asks nothing of GitHub.
func (a *App) Status() Status {
	if a.broker != nil {
		return Status{Host: a.host.Name, Origin: a.host.Origin, Broker: a.broker.String(), ClockOffset: a.api.Clock.Offset()}
	}
	c, rejected := a.keys.Load().inUse()
	return Status{
		Host: a.host.Name, Origin: a.host.Origin, Issuer: a.issuer,
		Fingerprint: c.fingerprint(), RejectedKey: rejected, ClockOffset: a.api.Clock.Offset(),
	}
}

// Token returns an installation access token for what r asks: from memory, from
// the store, or from GitHub. Concurrent calls for the same are merged into one
// mint; each caller leaves when its own context ends, and none ends the mint for
// the others. A token near its end is renewed while it is still valid.
//
// The Kinds of its errors: [ErrInvalid], [ErrNotInstalled], [ErrSuspended],
// [ErrEnterprise], [ErrRepositoryNotSelected], [ErrPermission], [ErrTooBroad],
// [ErrWrongHost], and those of [App.Info]; with a broker [ErrInvalid], [ErrIdentity],
// [ErrBrokerRefused], [ErrBrokerUnreachable], [ErrUntrusted], [ErrRateLimited], [ErrPermission]
// and [ErrTooBroad].
func (a *App) Token(ctx context.Context, r TokenRequest) (*Token, error) {
	spec, err := newTokenSpec(r, a.host)
	if err != nil {
		return nil, err
	}
	return a.token(ctx, spec)
}

func (a *App) token(ctx context.Context, spec tokenSpec) (*Token, error) {
	if a.broker != nil {
		return a.brokered(ctx, spec)
	}
	keys := a.keys.Load()
	return withKey(ctx, keys, func(c *signedClient) (*Token, error) {
		t, err := a.tokenFrom(ctx, c, spec)
		if err != nil {
			c.noteRefusedKey(ctx, err)
		} else if keys.replaced && c == keys.newest {
			a.keys.CompareAndSwap(keys, &keyring{newest: c}) // the key before is not needed any more
		}
		return t, err
	})
}

// tokenFrom finds the installation and gets a token of it. A cached installation may be
// wrong by now: then it is looked for again, once.
func (a *App) tokenFrom(ctx context.Context, c *signedClient, spec tokenSpec) (*Token, error) {
	at, err := a.installations.resolve(ctx, c, spec)
	if err != nil {
		return nil, err
	}
	t, err := a.tokenAt(ctx, c, spec, at)
	if spec.target.id != 0 || !errors.Is(err, ErrNotInstalled) && !errors.Is(err, ErrRepositoryNotSelected) {
		return t, err
	}
	if at.cached {
		a.installations.evict(ctx, spec)
		if at, err = a.installations.resolve(ctx, c, spec); err != nil {
			return nil, err
		}
		if t, err = a.tokenAt(ctx, c, spec, at); !errors.Is(err, ErrRepositoryNotSelected) {
			return t, err
		}
	}
	if single, ok := spec.single(); ok && at.Repository == 0 {
		if moved, findErr := a.installations.find(ctx, c, single); findErr == nil && moved.Repository != 0 {
			return a.tokenAt(ctx, c, spec, moved)
		}
	}
	return nil, err
}

// tokenAt gets a token of an installation. One with all permissions is compared with what
// the installation has granted by now, where there is one already: else it is minted,
// which tells.
func (a *App) tokenAt(ctx context.Context, c *signedClient, spec tokenSpec, at installationRef) (*Token, error) {
	q := newTokenQuery(spec, minting{c, spec, at}, &c.inflight)
	if spec.permissions == nil && a.tokens.has(ctx, q.key) {
		q.spec.granted = a.installations.granted(ctx, c, at.Installation)
	}
	return a.tokens.get(ctx, q)
}

// Rotate has the App sign with another key from now on. GitHub is asked first whether it
// takes the key: where it does not, the App goes on as it was, and the error is that of
// [App.Info]. The key before is used where GitHub rejects the new one all the same, which
// it may do on some of its servers for a while, until a token has come by the new one.
func (a *App) Rotate(ctx context.Context, s Signer) error {
	a.rotating.Lock()
	defer a.rotating.Unlock()
	if a.broker != nil {
		return a.keys.Load().noKey()
	}
	next := a.sign(s)
	if _, err := next.info(ctx); err != nil {
		return err
	}
	used, _ := a.keys.Load().inUse()
	before := &previousKey{}
	before.client.Store(used)
	a.keys.Store(&keyring{newest: next, previous: before, replaced: true})
	return nil
}

// JWT returns a JSON Web Token that is good for a minute at least, signed anew
// where the last one is not. The error has the Kind [ErrKey].
func (a *App) JWT(ctx context.Context) (*JWT, error) {
	return withKey(ctx, a.keys.Load(), func(c *signedClient) (*JWT, error) { return c.jwt(ctx) })
}

// AppInfo is what GitHub knows of an App.
type AppInfo struct {
	ID          int64
	ClientID    string // empty on an old GitHub Enterprise Server
	Slug        string
	Name        string
	Owner       string
	Permissions Permissions // that the App asks for
	URL         string      // its public page
}

// Info asks GitHub who the App is: proof that key and issuer belong together. Of
// its Kinds, [ErrKeyMismatch], [ErrAppUnknown] and [ErrClockOff] are the telling
// ones.
func (a *App) Info(ctx context.Context) (*AppInfo, error) {
	return withKey(ctx, a.keys.Load(), func(c *signedClient) (*AppInfo, error) { return c.info(ctx) })
}

func newInfo(app *api.App) *AppInfo {
	return &AppInfo{
		ID: app.ID, ClientID: app.ClientID, Slug: app.Slug, Name: app.Name, Owner: accountName(&app.Owner),
		Permissions: app.Permissions, URL: app.HTMLURL,
	}
}

// FindInstallation returns the installation that covers an owner (organization or
// user) or a repository (owner/name, or its URL), or that an ID or the address of
// an installation's settings page names. It asks GitHub each time. A suspended
// installation is returned with SuspendedAt set.
//
// The Kinds of its errors: [ErrNotInstalled] (for a repository that may also mean
// that it is not selected or does not exist: GitHub does not tell), [ErrInvalid],
// [ErrWrongHost], and those of [App.Info].
func (a *App) FindInstallation(ctx context.Context, of string) (*InstallationInfo, error) {
	t, err := parseTarget(of, a.host)
	if err != nil {
		return nil, err
	}
	return withKey(ctx, a.keys.Load(),
		func(c *signedClient) (*InstallationInfo, error) { return c.findInstallation(ctx, t) })
}

// Installations lists the App's installations, suspended ones included. It stops
// at the first error.
func (a *App) Installations(ctx context.Context) iter.Seq2[*InstallationInfo, error] {
	return func(yield func(*InstallationInfo, error) bool) {
		seen := 0
		_, err := withKey(ctx, a.keys.Load(), func(c *signedClient) (struct{}, error) {
			if seen > 0 {
				return struct{}{}, ErrKeyMismatch // too late to begin again, with the other key
			}
			return withJWT(c, "list the installations of App "+a.issuer, func(auth api.Authorization) (struct{}, error) {
				for found, err := range c.api.Installations(ctx, auth) {
					if err != nil {
						if seen > 0 {
							err = explain("go on listing the installations of App "+a.issuer, err)
						}
						return struct{}{}, err
					}
					seen++
					if !yield(newInstallation(found), nil) {
						return struct{}{}, errStopped
					}
				}
				return struct{}{}, nil
			})
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a listing whose reader has had enough.
var errStopped = errors.New("stopped")
