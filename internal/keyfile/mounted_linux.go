package keyfile

import "syscall"

// mounted reports whether a file lies in a file system that is mounted to be read, as
// secrets are in containers: nobody can change its owner or its mode there.
func mounted(path string) bool {
	const readOnly = 1 // ST_RDONLY of statvfs(3)
	var stat syscall.Statfs_t
	return syscall.Statfs(path, &stat) == nil && stat.Flags&readOnly != 0
}
