//go:build !cgo || !unix

package kms

import (
	"context"
	"os"
)

func openPKCS11(context.Context, string) (key, error) {
	return nil, failure("unsupported", "this build of ghapp-signer-kms has no PKCS#11, which needs cgo; "+
		"from the source of ghapp: make install-kms CGO=1, which needs gcc")
}

// Stdout returns the standard output of this process, which loads nothing that could
// print to it.
func Stdout() *os.File { return os.Stdout }
