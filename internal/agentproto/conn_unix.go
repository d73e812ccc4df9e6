//go:build unix

package agentproto

import (
	"os"
	"syscall"
	"time"
)

// socket is a connection at which the thread that waits is blocked, and no poller
// runs: nothing else waits in a process that asks one question and ends.
type socket struct{ *os.File }

// connect connects to the socket path.
func connect(path string) (socket, error) {
	fail := func(op string, err error) (socket, error) {
		return socket{}, &os.PathError{Op: op, Path: path, Err: err}
	}
	// A child that another goroutine starts meanwhile must not inherit it.
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return fail("socket", err)
	}
	// Until it is connected it does not block, as it would where many wait for a
	// listener to accept them.
	err = syscall.SetNonblock(fd, true)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = syscall.SetNonblock(fd, false)
	}
	if err != nil {
		syscall.Close(fd)
		return fail("connect", err)
	}
	return socket{os.NewFile(uintptr(fd), path)}, nil
}

// SetDeadline implements [Conn].
func (s socket) SetDeadline(t time.Time) error {
	return withDescriptor(s, func(fd int) error {
		left := time.Until(t)
		if left <= 0 {
			return syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
		wait := syscall.NsecToTimeval(left.Nanoseconds())
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait); err != nil {
			return err
		}
		return syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &wait)
	})
}

// withDescriptor calls fn with the descriptor of c, which stays open meanwhile.
func withDescriptor(c syscall.Conn, fn func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var fnErr error
	if err := raw.Control(func(fd uintptr) { fnErr = fn(int(fd)) }); err != nil {
		return err
	}
	return fnErr
}
