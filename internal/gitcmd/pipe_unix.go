//go:build unix

package gitcmd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pipe is a pipe to a git that reads little at a time, as git index-pack does 4 KiB. It is a pair of
// sockets: of a pipe that is full, the writer is woken for each page that is read; of a socket, when
// most of it is. Where git ends before it has read all, the writer fails with ECONNRESET, or EPIPE.
func Pipe() (read, write *os.File, err error) {
	syscall.ForkLock.RLock() // no program that is started meanwhile is to have them
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	err = unix.SetNonblock(fds[1], true) // which git's end is not
	return os.NewFile(uintptr(fds[0]), "pack"), os.NewFile(uintptr(fds[1]), "pack"), err
}
