package deploy

import (
	"os"

	"golang.org/x/sys/unix"
)

// flush has the kernel write a tree to the disk before anything points to it, so that
// the machine may lose its power at any moment. One call for the whole file system
// (syncfs(2)) takes less than one for each file and each directory.
func flush(root string) error {
	dir, err := os.Open(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: root, Err: err}
	}
	return nil
}
