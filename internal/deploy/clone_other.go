//go:build unix && !linux

package deploy

import "errors"

// cloneFile is for Linux alone.
func cloneFile(int, int) error { return errors.ErrUnsupported }
