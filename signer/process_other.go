//go:build unix && !linux

package signer

import "syscall"

// endWithParent does nothing: there is no parent death signal here.
func endWithParent(*syscall.SysProcAttr) (release func()) { return func() {} }
