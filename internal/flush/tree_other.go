//go:build !linux

package flush

import (
	"io/fs"
	"path/filepath"
)

// Tree has a directory with all below it written to the disk.
func Tree(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		return File(name)
	})
}
