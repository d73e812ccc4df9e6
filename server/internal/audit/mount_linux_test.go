package audit_test

import "syscall"

// mountSmall mounts a file system of 64 KiB.
func mountSmall(dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700")
}

func unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
