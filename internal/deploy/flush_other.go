//go:build unix && !linux

package deploy

import (
	"io/fs"
	"path/filepath"
)

// flush has the kernel write a tree to the disk before anything points to it, so that
// the machine may lose its power at any moment.
func flush(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		return flushFile(name)
	})
}
