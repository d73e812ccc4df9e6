//go:build !cgo

package kms

import "testing"

// The static program says how to get the other one.
func TestPKCS11WithoutCgo(t *testing.T) {
	t.Parallel()
	for _, got := range []reply{
		publicKeyOf(t, nil, "pkcs11:token=Card;object=app?pin-value="+testPIN),
		signatureOf(t, nil, "pkcs11:token=Card;object=app?pin-value="+testPIN),
		imported(t, nil, "pkcs11:token=Card;object=app?pin-value="+testPIN, testKey(t, 2048)),
	} {
		wantFailure(t, got, "unsupported", "make install-kms CGO=1")
	}
}
