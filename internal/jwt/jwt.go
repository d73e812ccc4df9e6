// Package jwt makes the JSON Web Token with which a GitHub App says who it is
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
// It signs only, and RS256 only (RFC 7515, RFC 7518 section 3.3), which are a few lines: a library for JSON Web Tokens
// would be one more module for everybody who imports ours.
package jwt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
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

// header is the JOSE header of every JWT that we make.
const header = `{"alg":"RS256","typ":"JWT"}`

// claims are in whole seconds: GitHub refuses fractions.
type claims struct {
	Issuer    string `json:"iss"`
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp"`
}

// Sign returns a JWT of the App named by issuer (its client ID or App ID), made
// at now by GitHub's clock, and when it expires. It returns the signer's error,
// wrapped.
func Sign(ctx context.Context, signer Signer, issuer string, now time.Time) (secret.Text, time.Time, error) {
	expires := now.Add(Life).Truncate(time.Second)
	payload, err := json.Marshal(claims{issuer, now.Add(-Backdate).Unix(), expires.Unix()})
	if err != nil {
		return secret.Text{}, time.Time{}, fmt.Errorf("sign JWT: %w", err)
	}
	message := encode([]byte(header)) + "." + encode(payload)
	signature, err := signer.Sign(ctx, []byte(message))
	if err != nil {
		return secret.Text{}, time.Time{}, fmt.Errorf("sign JWT: %w", err)
	}
	return secret.New(message + "." + encode(signature)), expires, nil
}

// encode is base64url without padding (RFC 7515 section 2).
func encode(part []byte) string { return base64.RawURLEncoding.EncodeToString(part) }
