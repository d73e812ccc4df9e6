package signer

import (
	"context"
	"crypto"
	"errors"
	"io"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestFromCryptoSigner(t *testing.T) {
	key := FromCryptoSigner(rsaKey())
	proves(t, key, rsaKey())
	testkit.Equal(t, key.Fingerprint(), Fingerprint(&rsaKey().PublicKey))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	testkit.ErrorIs(t, testkit.ErrorOf(key.Sign(ctx, []byte("x"))), context.Canceled)
}

func TestFromCryptoSignerThatDoesNotSign(t *testing.T) {
	_, err := FromCryptoSigner(broken{}).Sign(t.Context(), []byte("x"))
	testkit.ErrorContains(t, testkit.ErrorAs[*KeyError](t, err), "out of order")
	testkit.Equal(t, FromCryptoSigner(broken{}).Fingerprint(), "")
}

// broken is a device that tells no key and signs nothing.
type broken struct{}

func (broken) Public() crypto.PublicKey { return nil }

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("out of order")
}
