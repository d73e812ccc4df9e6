// Package jwt makes the JSON Web Token with which a GitHub App says who it is
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
package jwt

import (
	"context"
	"errors"
	"fmt"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/ghapp-dev/ghapp/internal/redact"
)

const (
	// Backdate is how far iat lies in the past, as GitHub advises against drift.
	Backdate = 60 * time.Second
	// Life is how far exp lies ahead. GitHub refuses more than ten minutes by its
	// own clock; five leave room for a clock that is minutes off either way.
	Life = 5 * time.Minute
)

// Signer signs a message with RSASSA-PKCS1-v1_5 and SHA-256, which RFC 7518
// section 3.3 calls RS256.
type Signer interface {
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// Sign returns a JWT of the App named by issuer (its client ID or App ID), made
// at now by GitHub's clock, and when it expires. It returns the signer's error,
// wrapped.
func Sign(ctx context.Context, signer Signer, issuer string, now time.Time) (redact.Secret, time.Time, error) {
	expires := now.Add(Life).Truncate(time.Second)
	token := gojwt.NewWithClaims(method{ctx, signer}, gojwt.MapClaims{
		"iss": issuer,
		// Whole seconds: GitHub refuses fractions.
		"iat": now.Add(-Backdate).Unix(),
		"exp": expires.Unix(),
	})
	text, err := token.SignedString(nil)
	if err != nil {
		return redact.Secret{}, time.Time{}, fmt.Errorf("sign JWT: %w", err)
	}
	return redact.NewSecret(text), expires, nil
}

// method is RS256 over a [Signer]: the library's own takes only a private key in
// memory.
type method struct {
	ctx    context.Context
	signer Signer
}

func (m method) Alg() string { return "RS256" }

func (m method) Sign(signingString string, _ any) ([]byte, error) {
	return m.signer.Sign(m.ctx, []byte(signingString))
}

// Verify is never called: this package only signs.
func (m method) Verify(string, []byte, any) error { return errors.ErrUnsupported }
