package signer

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

const (
	maxSize = 64 << 10 // bytes of text; a PEM of 16384 bits has 13 KiB

	minBits = 2048  // what GitHub makes
	maxBits = 16384 // one signature with more takes seconds
)

// What was found missing where a key is [errTruncated].
var (
	errNoBegin = errors.New("there is no BEGIN line")
	errNoEnd   = errors.New("there is no END line")
	errNoBody  = errors.New("there is nothing between the BEGIN and the END line")
	errShort   = errors.New("a part between the BEGIN and the END line is missing")
)

// Parse reads an RSA private key from PEM, in PKCS#1 (RFC 8017 appendix A.1.2),
// as GitHub gives it out, or in unencrypted PKCS#8 (RFC 5958).
//
// It mends what copying does to PEM: line breaks of any kind, written out as \n,
// turned into blanks or lost; quotes; blanks; a byte order mark, UTF-16; JSON's
// escapes; base64 around the whole. Text and certificates around the key do not
// matter.
//
// The error is a [*KeyError]. It holds no part of text: of the errors of PEM,
// ASN.1 and RSA, which may quote what they read, only the [Problem] is kept.
func Parse(text []byte) (*Key, error) {
	key, err := parse(text)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// FromText is [Parse] for text that came from source: the name of an environment
// variable, say. Errors name it; it must hold no secret.
func FromText(source, text string) (*Key, error) {
	key, err := parse([]byte(text))
	if err != nil {
		err.Source = source
		return nil, err
	}
	return key, nil
}

func parse(text []byte) (*Key, *KeyError) {
	private, err := privateKey(text)
	if err != nil {
		return nil, err
	}
	key, invalid := newKey(private)
	if invalid != nil {
		return nil, &KeyError{Problem: errInvalid}
	}
	return key, nil
}

func privateKey(text []byte) (*rsa.PrivateKey, *KeyError) {
	if len(text) > maxSize {
		return nil, &KeyError{Problem: errTooLarge}
	}
	if bytes.HasPrefix(text, longSequence) {
		return nil, bare(text, errDER)
	}
	value := strings.TrimFunc(decodeUTF(text), isFiller)
	if dropFiller(mend(value)) == "" {
		return nil, &KeyError{Problem: errEmpty}
	}
	key, err := parseText(value, 2)
	if err != nil && err.Problem == errUnknown {
		err.Problem = recognise(references, value)
	}
	return key, err
}

// parseText looks for PEM in text and inside up to wrappings layers of base64.
func parseText(text string, wrappings int) (*rsa.PrivateKey, *KeyError) {
	plain := mend(text)
	blocks, err := findBlocks(plain)
	if err != nil {
		return nil, err
	}
	if len(blocks) > 0 {
		return choose(blocks)
	}
	if problem := recognise(mistakes, strings.TrimFunc(text, isFiller)); problem != errUnknown {
		return nil, &KeyError{Problem: problem}
	}
	inner := unwrap(plain)
	switch {
	case bytes.HasPrefix(inner, longSequence):
		return nil, bare(inner, errNoArmour)
	case len(inner) > 0 && wrappings > 0:
		return parseText(decodeUTF(inner), wrappings-1)
	}
	return nil, &KeyError{Problem: errUnknown}
}

// bare names the key in der, which came without PEM around it: problem if that is
// all that is wrong with it.
func bare(der []byte, problem Problem) *KeyError {
	_, err := keyFromDER(der)
	switch {
	case err == nil, err.Problem == errTruncated:
		return &KeyError{Problem: problem}
	case err.Problem == errDamaged:
		return &KeyError{Problem: errUnknown}
	}
	return err
}

// choose returns the one private key among blocks. Where there is none, a block
// that should have been one explains it better than a certificate beside it.
func choose(blocks []block) (*rsa.PrivateKey, *KeyError) {
	var key *rsa.PrivateKey
	var failed *KeyError
	for _, b := range blocks {
		found, err := b.key()
		switch {
		case err != nil:
			if failed == nil || !failed.aboutPrivateKey() && err.aboutPrivateKey() {
				failed = err
			}
		case key == nil:
			key = found
		case !key.Equal(found):
			return nil, &KeyError{Problem: errSeveral}
		}
	}
	if key != nil {
		return key, nil
	}
	return nil, failed
}

func (e *KeyError) aboutPrivateKey() bool {
	switch e.Problem {
	case errPublicKey, errCertificate, errUnknown:
		return false
	}
	return true
}

// key reads the private key of a block. What the DER is, its own structure says,
// and the label only where that structure cannot be read.
func (b block) key() (*rsa.PrivateKey, *KeyError) {
	switch label := b.label; {
	case strings.Contains(label, "CERTIFICATE"):
		return nil, &KeyError{Problem: errCertificate}
	case strings.Contains(label, "PUBLICKEY"):
		return nil, &KeyError{Problem: errPublicKey}
	case !strings.Contains(label, "PRIVATEKEY"):
		return nil, &KeyError{Problem: errUnknown} // EC PARAMETERS, PKCS7, …
	case strings.Contains(label, "ENCRYPTED"), strings.Contains(b.body, "ENCRYPTED"):
		// The second is the Proc-Type header of RFC 1421 section 4.6.1.1.
		return nil, &KeyError{Problem: ErrEncrypted}
	case label == "ECPRIVATEKEY":
		return nil, &KeyError{Problem: errEC}
	case label == "DSAPRIVATEKEY":
		return nil, &KeyError{Problem: errDSA}
	case label == "PGPPRIVATEKEYBLOCK":
		return nil, &KeyError{Problem: errAlgorithm}
	}
	body := b.base64()
	switch {
	case body == "" && !b.closed:
		return nil, &KeyError{Problem: errFirstLine}
	case body == "":
		return nil, &KeyError{Problem: errTruncated, Err: errNoBody}
	case !b.closed && b.label != "OPENSSHPRIVATEKEY":
		return nil, &KeyError{Problem: errTruncated, Err: errNoEnd}
	}
	// The error of base64 tells an offset, and nothing that helps.
	der, err := base64.RawStdEncoding.DecodeString(body)
	switch {
	case b.label == "OPENSSHPRIVATEKEY":
		return nil, &KeyError{Problem: opensshProblem(der)}
	case err != nil:
		return nil, &KeyError{Problem: errDamaged}
	}
	return keyFromDER(der)
}

// opensshProblem tells which key is in OpenSSH's format, where it has the public
// key in clear: "openssh-key-v1" in OpenSSH's PROTOCOL.key. Another form of the
// file does not help one that is not RSA.
func opensshProblem(data []byte) Problem {
	switch {
	case bytes.Contains(data, []byte("ssh-ed25519")):
		return errEd25519
	case bytes.Contains(data, []byte("ecdsa-sha2-")):
		return errEC
	case bytes.Contains(data, []byte("ssh-dss")):
		return errDSA
	}
	return errOpenSSH
}

// longSequence begins the DER of every key of 1024 bits and more: a SEQUENCE
// whose length has two bytes.
var longSequence = []byte{0x30, 0x82}

// The algorithms of PKCS#8 keys that have a problem of their own: RFC 3279
// sections 2.3.1 and 2.3.2, RFC 5480 section 2.1.1, RFC 8410 section 3.
var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidDSA     = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}
	oidEC      = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// keyFromDER reads PKCS#1, or PKCS#8 with PKCS#1 in it. Everything is told from
// the outer fields first, so that a key of another kind or size gets its name
// and only what is left is called damaged or invalid.
func keyFromDER(der []byte) (*rsa.PrivateKey, *KeyError) {
	if bytes.HasPrefix(der, longSequence) && len(der) >= 4 && 4+(int(der[2])<<8|int(der[3])) > len(der) {
		return nil, &KeyError{Problem: errTruncated, Err: errShort}
	}
	var pkcs8 struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}
	if rest, err := asn1.Unmarshal(der, &pkcs8); err == nil && len(rest) == 0 {
		switch oid := pkcs8.Algorithm.Algorithm; {
		case oid.Equal(oidRSA):
			der = pkcs8.PrivateKey
		case oid.Equal(oidDSA):
			return nil, &KeyError{Problem: errDSA}
		case oid.Equal(oidEC):
			return nil, &KeyError{Problem: errEC}
		case oid.Equal(oidEd25519):
			return nil, &KeyError{Problem: errEd25519}
		default:
			return nil, &KeyError{Problem: errAlgorithm}
		}
	}
	var pkcs1 struct {
		Version int
		N, E    *big.Int
	}
	if rest, err := asn1.Unmarshal(der, &pkcs1); err != nil || len(rest) > 0 {
		return nil, &KeyError{Problem: errDamaged}
	}
	switch n := pkcs1.N.BitLen(); {
	case n < minBits:
		return nil, &KeyError{Problem: errTooShort, Err: fmt.Errorf("%d bits", n)}
	case n > maxBits:
		return nil, &KeyError{Problem: errTooLong, Err: fmt.Errorf("%d bits", n)}
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, &KeyError{Problem: errInvalid}
	}
	return key, nil
}
