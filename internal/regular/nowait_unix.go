//go:build unix

package regular

import "syscall"

// noWait opens no link, and waits for nobody at the other end of a pipe.
const noWait = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
