package ghapp

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/jwt"
)

// DefaultAPIVersion is the REST API version asked for where [Config] names none
// (https://docs.github.com/en/rest/about-the-rest-api/api-versions).
const DefaultAPIVersion = "2022-11-28"

// NoAPIVersion in [Config] leaves the version header out, for a GitHub Enterprise
// Server that knows no versions.
const NoAPIVersion = "none"

// Signer signs a message with the App's private key: RSASSA-PKCS1-v1_5 with
// SHA-256 (RFC 7518 section 3.3). It is given the message, not its digest, since
// ssh-agents and some hardware hash for themselves. A Signer that also has
//
//	Public() crypto.PublicKey
//
// as [crypto.Signer] has, lets errors name the key by its fingerprint and keeps
// tokens of different keys apart in a [Store]. It is safe for concurrent use.
type Signer interface {
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// FromCryptoSigner returns a [Signer] over an RSA crypto.Signer, such as the
// adapters of cloud key services. Its Sign cannot be cancelled while key signs.
func FromCryptoSigner(key crypto.Signer) Signer { return cryptoSigner{key} }

type cryptoSigner struct{ key crypto.Signer }

func (s cryptoSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s cryptoSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(message)
	return s.key.Sign(nil, digest[:], crypto.SHA256)
}

// Config says which App, on which GitHub, with which key.
type Config struct {
	// Host is github.com where empty, or a GitHub Enterprise Server, or NAME.ghe.com.
	// http:// before a loopback host is allowed, for tests.
	Host string
	// APIURL is derived from Host where empty.
	APIURL string
	// APIVersion is sent as X-GitHub-Api-Version; empty: [DefaultAPIVersion],
	// [NoAPIVersion]: not sent.
	APIVersion string

	// Issuer is the App's client ID (which GitHub recommends) or its App ID.
	// Required.
	Issuer string
	// Signer holds the App's private key. Required.
	Signer Signer
	// FallbackSigner opens the key before Signer's, which is used while GitHub refuses
	// that one with [ErrKeyMismatch]. It is called when it is needed, until it succeeds.
	// Nil: there is none.
	FallbackSigner func(ctx context.Context) (Signer, error)

	// Transport sends the requests. Nil: net/http's, with the environment's proxy.
	Transport http.RoundTripper
	// UserAgent goes before our own in the User-Agent header; may be empty.
	UserAgent string
	// MaxWait bounds the waiting between the attempts at one request. 0: one
	// minute. Negative: no second attempt.
	MaxWait time.Duration
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
	// Log is told of retries, renewals and a wrong clock. Nil: nothing is logged.
	Log *slog.Logger
}

// App is a GitHub App: the way from its key to tokens. It is safe for concurrent
// use and not to be copied.
type App struct {
	host        api.Host
	issuer      string
	fingerprint func() string // of the public key, or empty
	signer      Signer
	api         *api.Client
	store       Store // of tokens; may be nil
	found       Store // of installations; may be nil
	log         *slog.Logger
	previous    *previous // nil: there is one key

	start  time.Time // what monotonic readings are relative to
	flight singleflight.Group
	tokens sync.Map // cache key -> *entry
	places sync.Map // cache key -> place
	grants sync.Map // installation -> grant
	signed atomic.Pointer[JWT]
	warned atomic.Bool // of the clock

	believe time.Duration             // a refusal of the key, for so long
	refusal atomic.Pointer[refusalOf] // of the key; nil: none is known
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
	if len(problems) > 0 {
		return nil, &Error{Kind: ErrInvalid, Op: "use this App", Err: errors.New(strings.Join(problems, "; "))}
	}
	client, err := c.client(host)
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, Op: "use this App", Err: err}
	}
	a := &App{
		host: host, issuer: c.Issuer, fingerprint: fingerprinter(c.Signer), signer: c.Signer,
		api: client, store: c.Store, found: c.Store, log: client.Log, start: time.Now(),
		believe: c.RefusalLife,
	}
	if c.Unshared {
		a.store = nil
	}
	if c.FallbackSigner != nil {
		a.previous = &previous{open: c.FallbackSigner}
	}
	return a, nil
}

// client is the REST client of a configuration, which needs no App.
func (c Config) client(host api.Host) (*api.Client, error) {
	switch c.APIVersion {
	case "":
		c.APIVersion = DefaultAPIVersion
	case NoAPIVersion:
		c.APIVersion = ""
	}
	agent := "ghapp"
	if c.UserAgent != "" {
		agent = c.UserAgent + " " + agent
	}
	return api.New(api.Options{
		Host: host, Transport: c.Transport, UserAgent: agent, Version: c.APIVersion, MaxWait: c.MaxWait, Log: c.Log,
	})
}

// Format implements [fmt.Formatter]: with every verb an App prints as its issuer
// and host, and not as the state it holds, which others may be changing.
func (a *App) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "App %s on %s", a.issuer, a.host.Name) }

// Host is the host of the App's repositories, such as github.com.
func (a *App) Host() string { return a.host.Name }

// Origin is scheme and host of the App's repositories, such as https://github.com.
func (a *App) Origin() string { return a.host.Origin }

// Issuer is the client ID or App ID.
func (a *App) Issuer() string { return a.issuer }

// Fingerprint is the fingerprint of the key in use as GitHub shows it, or "" where
// its Signer does not tell its public key.
func (a *App) Fingerprint() string {
	if apps := a.ofEachKey(); a.RejectedKey() != "" {
		a = apps[len(apps)-1]
	}
	return a.fingerprint()
}

// ClockOffset is what has to be added to this machine's clock to get GitHub's,
// as measured from the last answer; 0 where they agree to the second. It is 15 hours at
// most, either way: an answer that is dated further off is not believed.
func (a *App) ClockOffset() time.Duration { return a.api.Clock.Offset() }

// JWT is a signed JSON Web Token of the App. It opens the endpoints of the App
// itself, not repositories.
type JWT struct {
	Secret    Secret
	ExpiresAt time.Time // on GitHub's clock
}

// jwtReserve is the life a JWT must have left to be used once more.
const jwtReserve = time.Minute

// JWT returns a JSON Web Token that is good for a minute at least, signed anew
// where the last one is not. The error has the Kind [ErrKey].
func (a *App) JWT(ctx context.Context) (*JWT, error) {
	return withKey(ctx, a, func(a *App) (*JWT, error) { return a.jwt(ctx) })
}

func (a *App) jwt(ctx context.Context) (*JWT, error) {
	if j := a.signed.Load(); j != nil && j.ExpiresAt.Sub(a.api.Clock.Now()) > jwtReserve {
		return j, nil
	}
	signed, err := merge(ctx, &a.flight, "jwt", func(ctx context.Context) (*JWT, error) {
		key := a.fingerprint()
		secret, expires, err := jwt.Sign(ctx, a.signer, a.issuer, a.api.Clock.Now())
		if err != nil && a.fingerprint() != key {
			// The Signer has just found out that it signs with another key now.
			secret, expires, err = jwt.Sign(ctx, a.signer, a.issuer, a.api.Clock.Now())
		}
		if err != nil {
			return nil, &Error{Kind: ErrKey, Op: "sign as App " + a.issuer, Err: err}
		}
		j := &JWT{secret, expires}
		a.signed.Store(j)
		return j, nil
	})
	return signed, err
}

// authorization is the App's own, for [api.Client].
func (a *App) authorization(ctx context.Context) (string, Secret, error) {
	j, err := a.jwt(ctx)
	if err != nil {
		return "", Secret{}, err
	}
	return "Bearer", j.Secret, nil
}

// asApp makes a call with the App's JWT. Where GitHub finds its times wrong, that
// very answer has set our clock: the call is made once more with a new JWT, unless the
// clock of the answer is one that is not believed.
func asApp[T any](a *App, op string, call func(api.Authorization) (T, error)) (T, error) {
	value, err := call(a.authorization)
	if !isClock(err) {
		return value, explain(op, err)
	}
	if answer, ok := errors.AsType[*api.Error](err); ok && !api.Believable(answer.Offset) {
		return value, wildClock(op, answer)
	}
	offset := a.api.Clock.Offset()
	if offset != 0 && a.warned.CompareAndSwap(false, true) {
		a.log.Warn("this machine's clock is off; GitHub's is used instead", "seconds", int(offset.Round(time.Second).Seconds()))
	}
	a.signed.Store(nil)
	value, err = call(a.authorization)
	err = explain(op, err)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == ErrClockOff {
		e.Offset = offset
	}
	return value, err
}

// wildClock is the error of an answer whose clock is not believed.
func wildClock(op string, answer *api.Error) error {
	err := explain(op, answer)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Offset = answer.Offset
		e.Err = fmt.Errorf("its clock shows %s, which is more than %.0f hours from this machine's: no JSON Web Token is signed for then",
			time.Now().Add(answer.Offset).UTC().Format("2006-01-02 15:04 MST"), api.MaxOffset.Hours())
	}
	return err
}

func isClock(err error) bool {
	answer, ok := errors.AsType[*api.Error](err)
	return ok && kindOf(answer) == ErrClockOff
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
	app, err := withKey(ctx, a, func(a *App) (*api.App, error) {
		return asApp(a, "read App "+a.issuer, func(auth api.Authorization) (*api.App, error) {
			return a.api.App(ctx, auth)
		})
	})
	if err != nil {
		return nil, err
	}
	return newInfo(app), nil
}

func newInfo(app *api.App) *AppInfo {
	return &AppInfo{
		ID: app.ID, ClientID: app.ClientID, Slug: app.Slug, Name: app.Name, Owner: accountName(&app.Owner),
		Permissions: app.Permissions, URL: app.HTMLURL,
	}
}

// Installations lists the App's installations, suspended ones included. It stops
// at the first error.
func (a *App) Installations(ctx context.Context) iter.Seq2[*InstallationInfo, error] {
	return func(yield func(*InstallationInfo, error) bool) {
		seen := 0
		_, err := withKey(ctx, a, func(a *App) (struct{}, error) {
			if seen > 0 {
				return struct{}{}, ErrKeyMismatch // too late to begin again, with the other key
			}
			return asApp(a, "list the installations of App "+a.issuer, func(auth api.Authorization) (struct{}, error) {
				for found, err := range a.api.Installations(ctx, auth) {
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

// merge runs fn once for all who ask under one key. fn outlives any one of them:
// it runs detached from the caller's cancellation, with a ceiling of its own, and
// a caller leaves when its own context ends.
func merge[T any](ctx context.Context, group *singleflight.Group, key string, fn func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, api.Ended(ctx)
	}
	result := group.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ceiling)
		defer cancel()
		return fn(ctx)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, api.Ended(ctx)
	}
}

// ceiling bounds work that runs detached from its callers: a minute of waiting
// for a limit, and the requests around it.
const ceiling = 2 * time.Minute
