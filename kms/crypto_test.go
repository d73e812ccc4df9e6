package kms_test

import (
	"crypto"
	"crypto/aes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

func sha256Of(text []byte) []byte {
	sum := sha256.Sum256(text)
	return sum[:]
}

func verify(public *rsa.PublicKey, signature []byte) error {
	return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature)
}

// unwrap is the service's side of an import: RSAES-OAEP with SHA-256 of an AES key, and
// AES-KWP of the PKCS #8.
func unwrap(wrapping *rsa.PrivateKey, wrapped []byte) (*rsa.PrivateKey, error) {
	if len(wrapped) <= wrapping.Size() {
		return nil, errors.New("the wrapped key is too short")
	}
	secret, err := rsa.DecryptOAEP(sha256.New(), nil, wrapping, wrapped[:wrapping.Size()], nil)
	if err != nil {
		return nil, err
	}
	if len(secret) != 2*aes.BlockSize {
		return nil, errors.New("the key of the moment is not for AES-256")
	}
	kwp, err := subtle.NewKWP(secret)
	if err != nil {
		return nil, err
	}
	der, err := kwp.Unwrap(wrapped[wrapping.Size():])
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an RSA key")
	}
	return private, nil
}

func signDigest(key *rsa.PrivateKey, digest []byte) ([]byte, error) {
	return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
}

// wrappingKey is what the stand-ins have keys wrapped with. Some services have one of
// 4096 bits, which takes long to make.
var wrappingKey = sync.OnceValue(func() *rsa.PrivateKey { return rsaKey(3072) })
