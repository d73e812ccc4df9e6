package signer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
)

// FromCryptoSigner returns a [Signer] over an RSA [crypto.Signer], such as the
// adapters of cloud key services. Its Sign cannot be cancelled while key signs.
func FromCryptoSigner(key crypto.Signer) Signer { return cryptoSigner{key} }

type cryptoSigner struct{ key crypto.Signer }

func (s cryptoSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s cryptoSigner) Fingerprint() string {
	public, _ := s.key.Public().(*rsa.PublicKey)
	return Fingerprint(public)
}

func (s cryptoSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(message)
	signature, err := s.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, &KeyError{Problem: errFailed, Err: err}
	}
	return signature, nil
}
