package flush

import (
	"os"

	"golang.org/x/sys/unix"
)

// Tree has directories with all below them written to the disk. One call for the whole file
// system (syncfs(2)) takes less than one for each file and each directory, and is good for all of
// the directories that are on it.
func Tree(roots ...string) error {
	flushed := map[uint64]bool{} // file systems
	for _, root := range roots {
		if err := tree(root, flushed); err != nil {
			return err
		}
	}
	return nil
}

func tree(root string, flushed map[uint64]bool) error {
	dir, err := os.Open(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
		return &os.PathError{Op: "fstat", Path: root, Err: err}
	}
	if flushed[stat.Dev] {
		return nil
	}
	flushed[stat.Dev] = true
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: root, Err: err}
	}
	return nil
}
