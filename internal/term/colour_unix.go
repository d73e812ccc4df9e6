//go:build !windows

package term

// paints reports whether a terminal understands colours (ECMA-48, SGR).
func paints(any) bool { return true }
