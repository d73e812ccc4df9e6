//go:build unix

package agentproto

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

var request = &credential.Credential{Protocol: "https", Host: "github.com", Path: "acme/site.git"}

// listen listens on a socket as an agent does.
func listen(t *testing.T) *net.UnixListener {
	t.Helper()
	dir, err := os.MkdirTemp("", "proto-") // a short name, since those of sockets are bounded
	testkit.OK(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "agent")}))(t)
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, l *net.UnixListener) Conn {
	t.Helper()
	conn := testkit.Must(Dial(l.Addr().String(), os.Geteuid()))(t)
	return conn
}

// heard accepts a connection, hears the question, and says nothing.
func heard(t *testing.T, l *net.UnixListener) net.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Error(err)
		return nil
	}
	question, err := Of("get", request)
	if err == nil {
		_, err = io.CopyN(io.Discard, conn, int64(len("ghapp-agent/1 get 50\n")+len(question.Body)))
	}
	testkit.OK(t, err)
	return conn
}

func TestAsksOverARealSocket(t *testing.T) {
	l := listen(t)
	conn := dial(t, l)
	go func() {
		theirs := heard(t, l)
		defer theirs.Close()
		// In two pieces, of which the first ends within the line.
		io.WriteString(theirs, "ghapp-agent/1 o")
		io.WriteString(theirs, "k 11\nusername=u\n")
	}()
	answer := testkit.Must(Ask(t.Context(), conn, credential.Get, request))(t)
	testkit.Equal(t, answer.Username, "u")
	testkit.ErrorIs(t, conn.Close(), os.ErrClosed, "it was not closed")
}

func TestCancelledWhileItWaits(t *testing.T) {
	l := listen(t)
	conn := dial(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		theirs := heard(t, l)
		defer theirs.Close()
		time.Sleep(20 * time.Millisecond) // until it waits, which nothing tells
		cancel()
		_, err := theirs.Read(make([]byte, 1))
		gone <- err
	}()
	if _, err := Ask(ctx, conn, credential.Get, request); !errors.Is(err, context.Canceled) || errors.Is(err, ErrHungUp) {
		t.Errorf("Ask() = %v", err)
	}
	testkit.Equal(t, <-gone, io.EOF, "the agent is not told")
}

func TestWaitsNoLongerThanItsDeadline(t *testing.T) {
	for _, left := range []time.Duration{10 * time.Millisecond, -time.Second} {
		l := listen(t)
		conn := dial(t, l)
		go func() {
			if left > 0 {
				heard(t, l)
			}
		}()
		testkit.OK(t, conn.SetDeadline(time.Now().Add(left)))
		_, err := Ask(t.Context(), conn, credential.Get, request)
		if left > 0 && (!errors.Is(err, os.ErrDeadlineExceeded) ||
			!strings.Contains(err.Error(), "no answer")) || err == nil {
			t.Errorf("with %s left, Ask() = %v", left, err)
		}
	}
}

func TestTimeThatPassesIsNoDeadline(t *testing.T) {
	l := listen(t)
	conn := dial(t, l)
	testkit.OK(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	go func() {
		theirs := heard(t, l)
		defer theirs.Close()
		// Signals interrupt who waits.
		for range 100 {
			syscall.Kill(os.Getpid(), syscall.SIGURG)
			runtime.Gosched()
		}
		io.WriteString(theirs, "ghapp-agent/1 ok 0\n")
	}()
	if answer, err := Ask(t.Context(), conn, credential.Get, request); err != nil {
		t.Errorf("Ask() = %v, %v", answer, err)
	}
}

func TestAgentThatEndsIsTold(t *testing.T) {
	for _, said := range []string{"", "ghapp-agent/1 ok 20\nusername="} {
		l := listen(t)
		conn := dial(t, l)
		go func() {
			theirs := heard(t, l)
			io.WriteString(theirs, said)
			theirs.Close()
		}()
		if _, err := Ask(t.Context(), conn, credential.Get, request); !errors.Is(err, ErrHungUp) {
			t.Errorf("after %q, Ask() = %v", said, err)
		}
	}
	// Before it has heard the question.
	l := listen(t)
	conn := dial(t, l)
	theirs := testkit.Must(l.Accept())(t)
	theirs.Close()
	testkit.ErrorIs(t, testkit.ErrorOf(Ask(t.Context(), conn, credential.Get, request)), ErrHungUp, "Ask()")
}

// Where many wait, a helper is better off asking ghapp than waiting with them.
func TestDialDoesNotWait(t *testing.T) {
	l := listen(t)
	raw, err := l.SyscallConn()
	testkit.OK(t, err)
	testkit.OK(t, raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 1) }))
	testkit.OK(t, err)
	for range 200 { // more than any system makes of it
		var conn Conn
		if conn, err = Dial(l.Addr().String(), os.Geteuid()); err != nil {
			break
		}
		defer conn.Close()
	}
	testkit.ErrorIs(t, err, ErrUnavailable, "Dial()")
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	testkit.ErrorIs(t, testkit.ErrorOf(Dial(filepath.Join(dir, "agent"), os.Geteuid())), ErrUnavailable, "Dial()")
	l := listen(t)
	l.SetUnlinkOnClose(false)
	l.Close()
	_, err := Dial(l.Addr().String(), os.Geteuid())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "connect "+l.Addr().String()) {
		t.Errorf("Dial() = %v", err)
	}
}

func TestConnectionIsNotInherited(t *testing.T) {
	conn := dial(t, listen(t))
	defer conn.Close()
	testkit.OK(t, withDescriptor(conn.(socket), func(fd int) error {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno != 0 {
			return errno
		}
		if flags&syscall.FD_CLOEXEC == 0 {
			t.Error("a child inherits it")
		}
		return nil
	}))
}
