//go:build !(linux || darwin)

package credcache

import (
	"errors"
	"io/fs"
)

// Supported says whether answers are kept on this system.
const Supported = false

// StampOf returns no stamp here.
func StampOf(fs.FileInfo) (Stamp, bool) { return Stamp{}, false }

func stat(string) (Stamp, error) { return Stamp{}, errors.ErrUnsupported }

func isPrivateDir(string) bool { return false }

func readPrivate(string) ([]byte, bool) { return nil, false }
