package caller

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/reread"
)

// Config says whom a [Verifier] believes.
type Config struct {
	// Audience is what the aud claim of every token must be, to the letter. Required.
	Audience string
	// Issuers are those whose tokens are believed. There is no default, and no pattern.
	Issuers []Issuer
	// TrustDomains are those of SPIFFE whose certificates are believed.
	TrustDomains []TrustDomain
}

// Verifier finds out who a caller is. It is safe for concurrent use.
type Verifier struct {
	audience string
	config   *oidc.Config
	issuers  map[string]*keySet // by the iss claim
	domains  map[string]*reread.Files[*x509.CertPool]
}

// Refused says that a proof proves nothing. Reason is for the audit, and not for the caller, who
// may be anybody; no part of the proof is in it but names of its issuer's choice.
type Refused struct{ Reason string }

// Error is one line.
func (e *Refused) Error() string { return "the caller's proof is not taken: " + e.Reason }

// New makes a Verifier. It connects to nobody. The error names what in the configuration cannot
// be meant.
func New(c Config) (*Verifier, error) {
	if c.Audience == "" {
		return nil, errors.New("no audience: without one a token that is meant for others would be taken")
	}
	if len(c.Issuers) == 0 && len(c.TrustDomains) == 0 {
		return nil, errors.New("no issuer: nobody could prove anything")
	}
	v := &Verifier{
		audience: c.Audience,
		config:   oidcConfig(c.Audience),
		issuers:  map[string]*keySet{},
		domains:  map[string]*reread.Files[*x509.CertPool]{},
	}
	for _, issuer := range c.Issuers {
		if err := issuer.check(); err != nil {
			return nil, err
		}
		if _, err := issuer.roots(); err != nil {
			return nil, fmt.Errorf("authorities of issuer %q: %w", issuer.URL, err)
		}
		if v.issuers[issuer.URL] != nil {
			return nil, fmt.Errorf("issuer %q is there twice", issuer.URL)
		}
		v.issuers[issuer.URL] = &keySet{fetch: issuer.fetchKeys}
	}
	for _, domain := range c.TrustDomains {
		if v.domains[domain.Name] != nil {
			return nil, fmt.Errorf("trust domain %q is there twice", domain.Name)
		}
		roots, err := domain.open()
		if err != nil {
			return nil, err
		}
		v.domains[domain.Name] = roots
	}
	return v, nil
}

func oidcConfig(audience string) *oidc.Config {
	config := &oidc.Config{
		ClientID: audience,
		Now:      func() time.Time { return time.Now().Add(-leeway) }, // for exp; checkTimes has the rest
	}
	for _, algorithm := range algorithms {
		config.SupportedSigningAlgs = append(config.SupportedSigningAlgs, string(algorithm))
	}
	return config
}

// Verify returns who has the token. The error is a [*Refused], [ErrIssuerUnreachable], or that
// of the context.
//
// What costs nothing is looked at first. A token of an issuer that is not listed leads to no
// look-up of a name and to no connection.
func (v *Verifier) Verify(ctx context.Context, token secret.Text) (Caller, error) {
	claims, text, err := claimsOf(token.Reveal())
	if err != nil {
		return Caller{}, &Refused{err.Error()}
	}
	c, err := v.plausible(claims)
	if err != nil {
		return Caller{}, &Refused{err.Error()}
	}
	keys := &witness{keys: v.issuers[c.Issuer]}
	_, err = oidc.NewVerifier(c.Issuer, keys, v.config).Verify(ctx, token.Reveal())
	switch {
	case errors.Is(keys.err, context.Canceled), errors.Is(keys.err, context.DeadlineExceeded),
		errors.Is(keys.err, ErrIssuerUnreachable):
		return Caller{}, keys.err
	case keys.err != nil:
		return Caller{}, &Refused{keys.err.Error()}
	case err != nil:
		return Caller{}, &Refused{"its form or its algorithm is none that is taken"}
	}
	if !bytes.Equal(keys.payload, text) {
		return Caller{}, &Refused{"what is signed is not what was read"}
	}
	return c, nil
}

// plausible is who somebody says to be, if it could be true.
func (v *Verifier) plausible(claims map[string]any) (Caller, error) {
	c := Caller{Claims: claims}
	var err error
	if c.Issuer, err = textClaim(claims, "iss"); err != nil {
		return Caller{}, err
	}
	if v.issuers[c.Issuer] == nil {
		return Caller{}, fmt.Errorf("its issuer is not listed")
	}
	if err := checkAudience(claims, v.audience); err != nil {
		return Caller{}, err
	}
	if c.Expires, err = checkTimes(claims, time.Now()); err != nil {
		return Caller{}, err
	}
	if c.Subject, err = textClaim(claims, "sub"); err != nil {
		return Caller{}, err
	}
	if c.Subject == "" {
		return Caller{}, errors.New("it has no subject")
	}
	c.ID, err = textClaim(claims, "jti")
	return c, err
}

// witness keeps what a key set says: of its error oidc passes on the text alone.
type witness struct {
	keys    oidc.KeySet
	payload []byte
	err     error
}

// VerifySignature is that of the key set.
func (w *witness) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	w.payload, w.err = w.keys.VerifySignature(ctx, token)
	return w.payload, w.err
}
