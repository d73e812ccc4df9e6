package kms

import (
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/windowstpm"
)

// openTPM opens the TPM through Windows' TPM Base Services.
func openTPM(device string) (transport.TPMCloser, error) {
	if device != "" {
		return nil, failure("invalid-uri", "on Windows there is one TPM, and device does not name it")
	}
	opened, err := windowstpm.Open()
	if err != nil {
		return nil, failure("unavailable", "the TPM cannot be opened: %v", err)
	}
	return opened, nil
}
