package kms

import (
	"errors"
	"io/fs"
	"os"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// openTPM opens a TPM: a device, the kernel's own with its resource manager where none is
// named, or the socket of an emulator.
func openTPM(device string) (transport.TPMCloser, error) {
	if device == "" {
		device = "/dev/tpmrm0"
	}
	info, err := os.Stat(device)
	var opened transport.TPMCloser
	switch {
	case err != nil:
	case info.Mode()&fs.ModeSocket != 0:
		opened, err = linuxudstpm.Open(device)
	case info.Mode()&fs.ModeDevice != 0:
		opened, err = linuxtpm.Open(device)
	default:
		return nil, failure("not-found", "%q is neither a TPM nor the socket of one", device)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, failure("not-found", "there is no TPM at %q", device)
	case errors.Is(err, fs.ErrPermission):
		return nil, failure("denied", "the TPM at %q is not for this user; on most systems it is for the group tss", device)
	case err != nil:
		return nil, failure("unavailable", "the TPM at %q cannot be opened: %v", device, withoutPath(err))
	}
	return opened, nil
}
