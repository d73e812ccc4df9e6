//go:build !yubikey || (!cgo && !windows)

package kms

import "context"

func openYubiKey(context.Context, string) (key, error) {
	return nil,
		failure("unsupported", "this build of ghapp-signer-kms has no YubiKey; from the source of ghapp: make install-kms "+
			"CGO=1 TAGS=yubikey, which needs gcc and libpcsclite-dev; or name it by pkcs11: and Yubico's module ykcs11")
}
