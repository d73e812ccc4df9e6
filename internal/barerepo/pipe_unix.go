//go:build unix

package barerepo

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newPipe is a pipe to a program that reads little at a time, as git index-pack does 4 KiB. It is a pair
// of sockets: of a pipe that is full, the writer is woken for each page that is read; of a socket,
// when most of it is.
func newPipe() (read, write *os.File, err error) {
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
