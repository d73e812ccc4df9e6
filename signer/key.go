// Package signer signs with the private key of a GitHub App, wherever that is.
//
//	key, err := signer.Open(ctx, "ssh-agent:deploy", signer.Options{})
//	signature, err := key.Sign(ctx, []byte("header.payload"))
//
// A [Key] is in this process: it was read from a file or from text, of which the
// package mends what copying does to PEM, and where it cannot, says what the text is
// instead and what to do about it. Other keys stay with an ssh-agent, or with a program
// that speaks the exec protocol, and each of their signatures is checked before it is
// used.
//
// No part of a key, and no PIN of a key URI, is ever in an error, in a log or in any
// printed form of a [Signer]; those show its fingerprint. [File], [FromText] and
// [Parse] read no environment variable and start no program.
package signer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
)

// Key is an RSA private key. It cannot be changed and is safe for concurrent
// use. The zero value signs nothing; [File], [FromText] and [Parse] make keys.
//
// The private numbers live in a function's closure, so that a printer that works
// by reflection finds a function there and no numbers.
type Key struct {
	public      *rsa.PublicKey
	fingerprint string
	sign        func(digest []byte) ([]byte, error)
	private     func() *rsa.PrivateKey // for [Import]
}

func newKey(private *rsa.PrivateKey) (*Key, error) {
	public := private.PublicKey
	key := &Key{
		public:      &public,
		fingerprint: Fingerprint(&public),
		sign: func(digest []byte) ([]byte, error) {
			return rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest)
		},
		private: func() *rsa.PrivateKey { return private },
	}
	// Parsing compares the numbers with each other, but not the private exponent of
	// a key with more than two primes, as nobody's is. Package rsa checks each
	// signature it makes.
	if len(private.Primes) > 2 {
		digest := sha256.Sum256(nil)
		if _, err := key.sign(digest[:]); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// Sign returns the RSASSA-PKCS1-v1_5 signature with SHA-256 of message, which is
// RS256 (RFC 7518 section 3.3). It takes the message and not its digest, as a
// signer may be a device that hashes for itself. It returns the error of ctx
// when that has ended, and an error for the zero Key.
func (k Key) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sign with private key: %w", err)
	}
	if k.sign == nil {
		return nil, errors.New("sign with private key: there is no key")
	}
	digest := sha256.Sum256(message)
	signature, err := k.sign(digest[:])
	if err != nil {
		return nil, fmt.Errorf("sign with private key %s: %w", k.fingerprint, err)
	}
	return signature, nil
}

// Public returns the public half, an [*rsa.PublicKey], or nil for the zero Key.
func (k Key) Public() crypto.PublicKey {
	if k.public == nil {
		return nil
	}
	return k.public
}

// Fingerprint returns what GitHub shows for the key on the App's settings page;
// see the function [Fingerprint]. The zero Key has "".
func (k Key) Fingerprint() string { return k.fingerprint }

// Fingerprint returns the fingerprint of a public key as GitHub's settings pages
// show it: "SHA256:" and the padded base64 of the SHA-256 of the DER form of its
// SubjectPublicKeyInfo (RFC 5280 section 4.1). It returns "" for nil.
//
// The openssl command for the part behind the colon is in GitHub's page "Managing
// private keys for GitHub Apps", under "Verifying private keys".
func Fingerprint(public *rsa.PublicKey) string {
	if public == nil || public.N == nil {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.StdEncoding.EncodeToString(sum[:])
}

// String implements [fmt.Stringer] with the fingerprint.
func (k Key) String() string { return k.fingerprint }

// GoString implements [fmt.GoStringer] with the fingerprint.
func (k Key) GoString() string { return "signer.Key(" + k.fingerprint + ")" }

// Format implements [fmt.Formatter], so that every verb prints the fingerprint.
func (k Key) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, k.GoString())
		return
	}
	fmt.Fprintf(f, fmt.FormatString(f, 's'), k.String())
}

// MarshalText implements [encoding.TextMarshaler] with the fingerprint. JSON,
// YAML and XML encoders use it too.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.fingerprint), nil }

// LogValue implements [slog.LogValuer] with the fingerprint.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.fingerprint) }
