package signer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// proves fails unless key signs as the private key does.
func proves(t testing.TB, key Signer, private *rsa.PrivateKey) {
	t.Helper()
	message := []byte("header.payload")
	signature := testkit.Must(key.Sign(t.Context(), message))(t)
	digest := sha256.Sum256(message)
	testkit.OK(t, rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest[:], signature))
	if !private.PublicKey.Equal(key.Public()) || key.Fingerprint() != Fingerprint(&private.PublicKey) {
		t.Errorf("the public key is that of %s", key.Fingerprint())
	}
}

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
