// Package kms signs with keys that key services and devices hold, for the program
// ghapp-signer-kms. Its module keeps their libraries out of the programs that git starts.
package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// Holder answers the requests of the exec protocol with the key that a key URI names.
// The zero value is ready; it finds the services' addresses and credentials where their
// own programs do, in the environment and in files of the user's.
type Holder struct{}

var (
	_ execsigner.Holder   = Holder{}
	_ execsigner.Importer = Holder{}
)

// key is a private key that somebody else holds.
type key interface {
	public(ctx context.Context) (crypto.PublicKey, error)
	// sign returns the RSASSA-PKCS1-v1_5 signature of message, of which digest is the
	// SHA-256 (RFC 8017 section 8.2.1).
	sign(ctx context.Context, message, digest []byte) ([]byte, error)
	close()
}

// importer is a key, or the place for one, that takes a private key in. It overwrites
// nothing: where there is a key already, the error is of the kind "exists".
type importer interface {
	key
	importKey(ctx context.Context, private *rsa.PrivateKey) error
}

// open returns the key that a key URI names. Nobody need have been asked for it yet.
// What it finds of credentials it adds to secrets, which are taken out of messages.
func open(ctx context.Context, uri string, secrets *scrub.Scrubber) (key, error) {
	switch keyuri.Scheme(uri) {
	case "awskms":
		return openAWS(ctx, uri, secrets)
	case "azurekms":
		return openAzure(ctx, uri, secrets)
	case "gcpkms", "cloudkms":
		return openGCP(ctx, uri, secrets)
	case "hashivault":
		return openVault(ctx, uri, secrets)
	case "pkcs11":
		return openPKCS11(ctx, uri)
	case "tpmkms":
		return openTPMKMS(ctx, uri)
	case "yubikey":
		return openYubiKey(ctx, uri)
	}
	return nil, failure("invalid-uri", "ghapp-signer-kms knows no such kind of key URI")
}

// PublicKey implements [execsigner.Holder]. The key is an RSA key of 2048 to 4096 bits.
func (Holder) PublicKey(ctx context.Context, uri string) ([]byte, error) {
	return with(ctx, uri, public)
}

// Sign implements [execsigner.Holder].
func (Holder) Sign(ctx context.Context, uri string, message, digest []byte) ([]byte, error) {
	if len(digest) != crypto.SHA256.Size() {
		return nil, failure("failed", "the request has no SHA-256 of the message")
	}
	return with(ctx, uri, func(ctx context.Context, k key) ([]byte, error) {
		signature, err := k.sign(ctx, message, digest)
		if err == nil && len(signature) == 0 {
			err = failure("failed", "there is no signature in the answer")
		}
		return signature, err
	})
}

// Import implements [execsigner.Importer].
func (Holder) Import(ctx context.Context, uri string, privateKey []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(privateKey)
	if err != nil {
		return nil, failure("failed", "the private key of the request is not PKCS #8")
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, failure("key-type", "it is not an RSA key")
	}
	if err := checkSize(&private.PublicKey); err != nil {
		return nil, err
	}
	return with(ctx, uri, func(ctx context.Context, k key) ([]byte, error) {
		importer, ok := k.(importer)
		if !ok {
			return nil, failure("unsupported", "ghapp-signer-kms does not import to %s:", keyuri.Scheme(uri))
		}
		if err := importer.importKey(ctx, private); err != nil {
			return nil, err
		}
		return public(ctx, k)
	})
}

// with opens a key, has ask ask it, and tells what went wrong in the protocol's terms.
func with(ctx context.Context, uri string, ask func(context.Context, key) ([]byte, error)) ([]byte, error) {
	secrets := environSecrets()
	k, err := open(ctx, uri, secrets)
	if err != nil {
		return nil, explain(ctx, err, secrets)
	}
	defer k.close()
	answer, err := ask(ctx, k)
	if err != nil {
		return nil, explain(ctx, err, secrets)
	}
	return answer, nil
}

// public returns the DER of the SubjectPublicKeyInfo of a key that can sign for an App.
func public(ctx context.Context, k key) ([]byte, error) {
	public, err := k.public(ctx)
	if err != nil {
		return nil, err
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if err := checkSize(public); err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(public)
	case *ecdsa.PublicKey:
		return nil, failure("key-type", "it is an EC key, and GitHub Apps sign with RSA")
	case ed25519.PublicKey:
		return nil, failure("key-type", "it is an Ed25519 key, and GitHub Apps sign with RSA")
	}
	return nil, failure("key-type", "it is not an RSA key")
}

// The sizes of keys, in bits, that the services and devices have.
const (
	minBits = 2048
	maxBits = 4096
)

func checkSize(public *rsa.PublicKey) error {
	if bits := public.N.BitLen(); bits < minBits || bits > maxBits {
		return failure("key-type", "the RSA key has %d bits, and %d to %d are taken", bits, minBits, maxBits)
	}
	return nil
}
