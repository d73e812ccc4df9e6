//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package agent

import (
	"errors"
	"os"
)

// lock fails: there is none here that ends with its process.
func lock(string) (*os.File, error) { return nil, errors.ErrUnsupported }
