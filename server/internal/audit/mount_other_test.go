//go:build !linux

package audit_test

import "errors"

func mountSmall(string) error { return errors.ErrUnsupported }

func unmount(string) {}
