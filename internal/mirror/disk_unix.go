//go:build unix

package mirror

import "golang.org/x/sys/unix"

// free is how many bytes there are for us on the file system of a directory.
func free(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
