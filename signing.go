package ghapp

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/jwt"
	"github.com/ghapp-dev/ghapp/secret"
)

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

// JWT is a signed JSON Web Token of the App. It opens the endpoints of the App
// itself, not repositories.
type JWT struct {
	Secret    secret.Text
	ExpiresAt time.Time // on GitHub's clock
}

// jwtReserve is the life a JWT must have left to be used once more.
const jwtReserve = time.Minute

// signedClient asks GitHub as the App, with one of its keys. What several keys of an
// App share (the client and its clock, the store, the warning of a wrong clock) is the
// same in the signedClients of each.
type signedClient struct {
	api         *api.Client
	host        api.Host
	issuer      string
	signer      Signer
	fingerprint func() string // of the public key, or empty
	log         *slog.Logger
	warned      *atomic.Bool // of the clock

	inflight singleflight.Group
	signed   atomic.Pointer[JWT]

	store   Store                      // of refused keys; may be nil
	believe time.Duration              // a refusal of the key, for so long
	refused atomic.Pointer[refusedKey] // nil: none is known
}

// fingerprinter returns the fingerprint that GitHub's settings page shows for a
// Signer's key, SHA-256 of the public key's SubjectPublicKeyInfo, or "" for one that
// does not tell its key. It is asked again each time: behind the name of a key in a
// key service another key may stand one day.
func fingerprinter(s Signer) func() string {
	named, ok := s.(interface{ Public() crypto.PublicKey })
	if !ok {
		return func() string { return "" }
	}
	type print struct {
		of   *rsa.PublicKey
		text string
	}
	var last atomic.Pointer[print]
	return func() string {
		key, ok := named.Public().(*rsa.PublicKey)
		if !ok || key == nil {
			return ""
		}
		if p := last.Load(); p != nil && p.of == key {
			return p.text
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return ""
		}
		sum := sha256.Sum256(der)
		text := "SHA256:" + base64.StdEncoding.EncodeToString(sum[:])
		last.Store(&print{key, text})
		return text
	}
}

// jwt returns a JSON Web Token that is good for a minute at least.
func (c *signedClient) jwt(ctx context.Context) (*JWT, error) {
	if j := c.signed.Load(); j != nil && j.ExpiresAt.Sub(c.api.Clock.Now()) > jwtReserve {
		return j, nil
	}
	return merge(ctx, &c.inflight, "jwt", func(ctx context.Context) (*JWT, error) {
		key := c.fingerprint()
		secret, expires, err := jwt.Sign(ctx, c.signer, c.issuer, c.api.Clock.Now())
		if err != nil && c.fingerprint() != key {
			// The Signer has just found out that it signs with another key now.
			secret, expires, err = jwt.Sign(ctx, c.signer, c.issuer, c.api.Clock.Now())
		}
		if err != nil {
			return nil, &Error{Kind: ErrKey, Op: "sign as App " + c.issuer, Err: err}
		}
		j := &JWT{secret, expires}
		c.signed.Store(j)
		return j, nil
	})
}

// authorization is the App's own, for [api.Client].
func (c *signedClient) authorization(ctx context.Context) (string, secret.Text, error) {
	j, err := c.jwt(ctx)
	if err != nil {
		return "", secret.Text{}, err
	}
	return "Bearer", j.Secret, nil
}

// withJWT makes a call with the App's JWT. Where GitHub finds its times wrong, that
// very answer has set our clock: the call is made once more with a new JWT, unless the
// clock of the answer is one that is not believed.
func withJWT[T any](c *signedClient, op string, call func(api.Authorization) (T, error)) (T, error) {
	value, err := call(c.authorization)
	if !isClock(err) {
		return value, explain(op, err)
	}
	if answer, ok := errors.AsType[*api.Error](err); ok && !api.Believable(answer.Offset) {
		return value, wildClock(op, answer)
	}
	offset := c.api.Clock.Offset()
	if offset != 0 && c.warned.CompareAndSwap(false, true) {
		c.log.Warn("this machine's clock is off; GitHub's is used instead", "seconds",
			int(offset.Round(time.Second).Seconds()))
	}
	c.signed.Store(nil)
	value, err = call(c.authorization)
	err = explain(op, err)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == ErrClockOff {
		e.Detail = &ClockError{offset}
	}
	return value, err
}

// wildClock is the error of an answer whose clock is not believed.
func wildClock(op string, answer *api.Error) error {
	err := explain(op, answer)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Detail = &ClockError{answer.Offset}
		e.Err = fmt.Errorf("its clock shows %s, which is more than %.0f hours from this machine's: "+
			"no JSON Web Token is signed for then",
			time.Now().Add(answer.Offset).UTC().Format("2006-01-02 15:04 MST"), api.MaxOffset.Hours())
	}
	return err
}

func isClock(err error) bool {
	answer, ok := errors.AsType[*api.Error](err)
	return ok && kindOf(answer) == ErrClockOff
}

// info asks who the App is.
func (c *signedClient) info(ctx context.Context) (*AppInfo, error) {
	app, err := withJWT(c, "read App "+c.issuer, func(auth api.Authorization) (*api.App, error) {
		return c.api.App(ctx, auth)
	})
	if err != nil {
		return nil, err
	}
	return newInfo(app), nil
}

// installation asks for an installation by its ID.
func (c *signedClient) installation(ctx context.Context, op string, id int64) (*InstallationInfo, error) {
	found, err := withJWT(c, op, func(auth api.Authorization) (*api.Installation, error) {
		return c.api.Installation(ctx, auth, id)
	})
	if err != nil {
		return nil, err
	}
	return newInstallation(found), nil
}

// findInstallation asks for the installation that a target names.
func (c *signedClient) findInstallation(ctx context.Context, t target) (*InstallationInfo, error) {
	found, err := withJWT(c, "find the installation of "+t.String(),
		func(auth api.Authorization) (*api.Installation, error) {
			switch {
			case t.id != 0:
				return c.api.Installation(ctx, auth, t.id)
			case t.name != "":
				found, _, err := c.api.RepositoryInstallation(ctx, auth, t.owner, t.name)
				return found, err
			}
			return c.api.AccountInstallation(ctx, auth, t.owner)
		})
	if err != nil {
		return nil, notInstalled(err)
	}
	return newInstallation(found), nil
}

// notInstalled gives a 404 of an installation's endpoint its meaning.
func notInstalled(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == ErrRefused && e.Status == http.StatusNotFound {
		e.Kind = ErrNotInstalled
	}
	return err
}
