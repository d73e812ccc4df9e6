package flush

import (
	"os"

	"golang.org/x/sys/unix"
)

// Tree has a directory with all below it written to the disk. One call for the whole file
// system (syncfs(2)) takes less than one for each file and each directory.
func Tree(root string) error {
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
