//go:build !unix

package config

import "io/fs"

// writableByOthers cannot tell where there are no Unix owners and modes: access
// control lists decide, and a user's own directories are closed to others.
func writableByOthers(fs.FileInfo) string { return "" }
