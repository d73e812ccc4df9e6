//go:build !(linux && amd64)

package tracer

import "errors"

// Ask is for Linux on amd64 alone.
func Ask() error { return errors.ErrUnsupported }
