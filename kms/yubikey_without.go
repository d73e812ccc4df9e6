//go:build !yubikey || (!cgo && !windows)

package kms

import "context"

func openYubiKey(context.Context, string) (key, error) {
	return nil, failure("unsupported", "this build of ghapp-signer-kms has no YubiKey; with gcc and libpcsclite-dev: make install-kms CGO=1 TAGS=yubikey, in the source of ghapp; where the YubiKey has a PKCS#11 module (ykcs11), pkcs11: reaches it too")
}
