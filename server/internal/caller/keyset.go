package caller

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that a signature may have. None of them is symmetric: a public key is
// no secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	// refreshEvery is how often an issuer is asked for its keys at most, however many tokens name
	// one that is not known.
	refreshEvery = time.Minute
	// retryEvery is that where the issuer has not answered.
	retryEvery = 5 * time.Second
	// freshFor is how long a key is believed without asking again: the issuer may have withdrawn
	// it. From renewAfter on it is asked while callers are answered, so that none waits for it.
	freshFor   = time.Hour
	renewAfter = 45 * time.Minute
	// staleFor is how long a key is believed while the issuer does not answer.
	staleFor = 12 * time.Hour
)

// ErrIssuerUnreachable says that nobody could tell whether the caller's proof is genuine, since
// its issuer did not say what its keys are. It may be tried again.
var ErrIssuerUnreachable = errors.New("the issuer did not answer with its keys")

// keySet is the keys of one issuer, as they were when it was last asked. It implements
// oidc.KeySet, of which the one there asks again for every signature that does not fit.
type keySet struct {
	fetch func(context.Context) ([]jose.JSONWebKey, error)

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys came
	asked   time.Time // when the last answer came, of either kind
	err     error     // of that answer
	running chan struct{}
}

// VerifySignature returns the payload of a JWS that one of the keys has signed.
func (s *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errors.New("no signature of a kind that is taken")
	}
	header := signed.Signatures[0].Header
	if header.KeyID == "" {
		return nil, errors.New("it does not say which key has signed it")
	}
	keys, err := s.lookUp(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of its issuer's has signed it")
}

// lookUp returns the keys, and asks the issuer first where that may tell something new.
func (s *keySet) lookUp(ctx context.Context, keyID string) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	news := s.mayAsk() && s.expectsNews(keyID)
	if s.running == nil && (news || s.mayAsk() && time.Since(s.fetched) >= renewAfter) {
		s.running = make(chan struct{})
		go s.refresh(context.WithoutCancel(ctx)) // others wait for it too
	}
	running := s.running
	if !news {
		defer s.mu.Unlock()
		return s.current()
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-running:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current()
}

func (s *keySet) refresh(ctx context.Context) {
	keys, err := s.fetchSafely(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.err = time.Now(), err
	if err == nil {
		s.keys, s.fetched = keys, s.asked
	}
	close(s.running)
	s.running = nil
}

// fetchSafely has the readers of what an issuer sends fail alone: nobody else would stop a panic
// in a goroutine from ending the process.
func (s *keySet) fetchSafely(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	defer func() {
		if recover() != nil {
			keys, err = nil, errors.New("its answer could not be read")
		}
	}()
	return s.fetch(ctx)
}

// mayAsk reports whether the issuer has been left alone for long enough.
func (s *keySet) mayAsk() bool {
	pause := refreshEvery
	if s.err != nil {
		pause = retryEvery
	}
	return s.asked.IsZero() || time.Since(s.asked) >= pause
}

// expectsNews reports whether a signature is not to be looked at before the issuer is asked.
func (s *keySet) expectsNews(keyID string) bool {
	if time.Since(s.fetched) >= freshFor {
		return true
	}
	for _, key := range s.keys {
		if key.KeyID == keyID {
			return false
		}
	}
	return true
}

// current are the keys, unless they are too old to be believed.
func (s *keySet) current() ([]jose.JSONWebKey, error) {
	if s.keys != nil && time.Since(s.fetched) < staleFor {
		return s.keys, nil
	}
	if s.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnreachable, s.err)
	}
	return nil, ErrIssuerUnreachable
}

// usable reports whether a key is for signatures that are taken here, and strong enough.
func usable(key jose.JSONWebKey) bool {
	if key.KeyID == "" || key.Use != "" && key.Use != "sig" || !key.Valid() {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= 2048 && public.N.BitLen() <= 8192
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
