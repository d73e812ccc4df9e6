//go:build !linux

package keyfile

// mounted is asked for the secrets of containers, which are Linux.
func mounted(string) bool { return false }
