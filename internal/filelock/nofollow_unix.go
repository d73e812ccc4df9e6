//go:build unix

package filelock

import "syscall"

// noFollow refuses a lock file that is a link.
const noFollow = syscall.O_NOFOLLOW
