//go:build !linux

package flush

import (
	"io/fs"
	"path/filepath"
)

// Tree has directories with all below them written to the disk.
func Tree(roots ...string) error {
	for _, root := range roots {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() && !d.Type().IsRegular() {
				return err
			}
			return File(name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
