//go:build !cgo || !unix

package kms

import (
	"context"
	"os"
)

func openPKCS11(context.Context, string) (key, error) {
	return nil, failure("unsupported", "this build of ghapp-signer-kms has no PKCS#11, which needs cgo; with gcc: CGO_ENABLED=1 go install github.com/ghapp-dev/ghapp/kms/cmd/ghapp-signer-kms@latest")
}

// Stdout returns the standard output of this process, which loads nothing that could
// print to it.
func Stdout() *os.File { return os.Stdout }
