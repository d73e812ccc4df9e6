//go:build unix && !linux && !darwin

package deploy

import (
	"errors"
	"os"
)

// exchange is not to be had here.
func exchange(a, b string) error {
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: errors.ErrUnsupported}
}
