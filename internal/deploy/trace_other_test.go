//go:build unix && !(linux && amd64)

package deploy

import "errors"

// askTracer is for Linux on amd64 alone.
func askTracer() error { return errors.ErrUnsupported }
