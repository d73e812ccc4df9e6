//go:build unix

package gitcmd

import "golang.org/x/sys/unix"

// writable reports why this user may not make entries in the directory.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
