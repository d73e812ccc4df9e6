//go:build unix

package flush

import "golang.org/x/sys/unix"

// noFollow opens no link, and waits for nobody at the other end of a pipe.
const noFollow = unix.O_NOFOLLOW | unix.O_NONBLOCK
