package kms

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

// wrapPrivateKey encrypts a private key, as PKCS #8, for the holder of wrapping: an
// AES key of this moment with RSAES-OAEP and SHA-256, and with that one the key, by
// AES-KWP (RFC 5649). PKCS #11 calls it CKM_RSA_AES_KEY_WRAP, AWS
// RSA_AES_KEY_WRAP_SHA_256.
func wrapPrivateKey(wrapping *rsa.PublicKey, private *rsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	secret := make([]byte, 32)
	defer clear(secret)
	rand.Read(secret)
	first, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, wrapping, secret, nil)
	if err != nil {
		return nil, err
	}
	kwp, err := subtle.NewKWP(secret)
	if err != nil {
		return nil, err
	}
	second, err := kwp.Wrap(der)
	if err != nil {
		return nil, err
	}
	return append(first, second...), nil
}
