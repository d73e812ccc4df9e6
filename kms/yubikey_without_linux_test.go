//go:build !yubikey || !cgo

package kms

import "testing"

// The program without a YubiKey says how to get the other one.
func TestYubiKeyThatIsNotBuiltIn(t *testing.T) {
	t.Parallel()
	for _, got := range []reply{publicKeyOf(t, nil, "yubikey:slot-id=9a?pin-value="+testPIN),
		imported(t, nil, "yubikey:slot-id=9a", testKey(t, 2048))} {
		wantFailure(t, got, "unsupported", "make install-kms CGO=1 TAGS=yubikey")
	}
}
