package gitcmd_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What writes a pack is woken once for many pages that git has read, and not for each.
func TestWriterIsNotWokenForEachPage(t *testing.T) {
	t.Parallel()
	read, write, err := gitcmd.Pipe()
	testkit.OK(t, err)
	defer read.Close()
	defer write.Close()
	testkit.OK(t, on(write, func(fd int) error {
		for {
			if _, err := unix.Write(fd, make([]byte, 64<<10)); err != nil {
				if errors.Is(err, unix.EAGAIN) {
					return nil
				}
				return err
			}
		}
	}))
	testkit.Must(read.Read(make([]byte, 4<<10)))(t)
	testkit.OK(t, on(write, func(fd int) error {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
		if err == nil && ready > 0 {
			err = errors.New("it can be written to after one page was read")
		}
		return err
	}))
}

// A program that has the end that is written to would keep git waiting for the end of the pack.
func TestNoProgramInheritsThePipe(t *testing.T) {
	t.Parallel()
	read, write, err := gitcmd.Pipe()
	testkit.OK(t, err)
	for _, end := range []*os.File{read, write} {
		testkit.OK(t, on(end, func(fd int) error {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil && flags&unix.FD_CLOEXEC == 0 {
				err = errors.New("it is inherited")
			}
			return err
		}))
		testkit.OK(t, end.Close())
	}
}

// on does something with the descriptor of a file.
func on(file *os.File, do func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}
