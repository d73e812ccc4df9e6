package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/private"
)

// maxPath is the longest name a socket may have in bytes: sun_path holds 104
// with the final NUL on macOS and the BSDs, 108 on Linux and Windows.
const maxPath = 103

// OccupiedError says that another agent has the socket.
type OccupiedError struct{ Path string }

// Error is one line, and names the socket.
func (e *OccupiedError) Error() string { return "agent: another agent has " + e.Path }

// DirError says that a directory cannot hold a socket, since other users could
// reach what is in it.
type DirError struct {
	Dir  string
	Why  string // what is wrong with it: "belongs to user 7, not 8"
	hint string
}

// Error is one line, without the hint.
func (e *DirError) Error() string {
	return "agent: the directory of the socket, " + e.Dir + ", " + e.Why
}

// Hint is what to do about it, one line.
func (e *DirError) Hint() string { return e.hint }

// Listener is a socket that only processes of this user can connect to. It
// lives in a directory of its own.
type Listener struct {
	socket *net.UnixListener
	path   string
	uid    int // of the peers to accept
	remove func() error
}

// Listen makes a directory of mode 0700 under the first of parents that takes
// one, and a socket of mode 0600 in it. An empty parent, one where no directory
// can be made, and one whose name is too long for a socket's address are passed
// over; a last resort, on Unix, is /tmp. Give $XDG_RUNTIME_DIR first, then the
// directory for temporary files. What killed processes have left under the parent is
// removed.
//
// The error holds one error per parent.
func Listen(parents ...string) (*Listener, error) {
	if runtime.GOOS != "windows" {
		parents = append(parents, "/tmp")
	}
	var errs []error
	for _, parent := range parents {
		if parent == "" {
			continue
		}
		l, err := listenUnder(parent)
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("agent: cannot listen: %w", errors.Join(errs...))
}

func listenUnder(parent string) (*Listener, error) {
	dir, err := os.MkdirTemp(parent, "ghapp-")
	if err != nil {
		return nil, err
	}
	// What else is there by then, in a parent where anybody can put it, is not ours.
	remove := sync.OnceValue(func() error { return os.Remove(dir) })
	path := filepath.Join(dir, "agent")
	socket, err := listenAt(path)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	sweep(parent, os.Geteuid(), time.Now())
	return &Listener{socket, path, os.Geteuid(), remove}, nil
}

// ListenAt listens on the socket path, which [Dial] of other processes know. Its
// directory is made with mode 0700 if it is not there, and refused with a [*DirError]
// if it is not this user's alone.
//
// One process at a time listens there: the others get an [*OccupiedError]. A socket
// whose process is gone is replaced. Which of several starting at once is the one,
// a lock on the file path.lock decides, which stays behind.
func ListenAt(path string) (*Listener, error) {
	dir, uid := filepath.Dir(path), os.Geteuid()
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	unlock, err := filelock.Take(context.Background(), path+".lock", 0)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, &OccupiedError{path}
	}
	if err != nil {
		return nil, fmt.Errorf("agent: cannot listen: %w", err)
	}
	socket, own, err := takeOver(path)
	if err != nil {
		unlock()
		return nil, err
	}
	remove := sync.OnceValue(func() error {
		defer unlock()
		// A service manager may have put its own socket there meanwhile.
		if now, err := os.Lstat(path); err != nil || !os.SameFile(own, now) {
			return nil
		}
		return os.Remove(path)
	})
	return &Listener{socket, path, uid, remove}, nil
}

func makePrivate(dir string) error {
	err := private.Make(dir, 0o700, private.Alone)
	if _, ok := errors.AsType[*private.Error](err); err == nil || ok {
		return refused(err)
	}
	return fmt.Errorf("agent: cannot listen: %w", err)
}

// checkPrivate returns a [*DirError] unless dir is a directory of uid's alone.
func checkPrivate(dir string, uid int) error {
	return refused(private.Check(dir, uid, private.Alone))
}

// refused is an error of package private in words of this one.
func refused(err error) error {
	if e, ok := errors.AsType[*private.Error](err); ok {
		return &DirError{Dir: e.Path, Why: e.Why, hint: e.Hint}
	}
	return err
}

// takeOver listens on path in the place of a process that is gone. The caller holds
// the lock.
func takeOver(path string) (*net.UnixListener, fs.FileInfo, error) {
	fail := func(err error) (*net.UnixListener, fs.FileInfo, error) {
		return nil, nil, fmt.Errorf("agent: cannot listen: %w", err)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fail(err)
	case info.Mode().Type()&fs.ModeSocket == 0:
		return fail(fmt.Errorf("%s is there and is not a socket; remove it", path))
	default:
		// A service manager, which takes no lock, may listen there.
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
		if err == nil {
			conn.Close()
			return nil, nil, &OccupiedError{path}
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && runtime.GOOS != "windows" {
			return fail(err)
		}
		if err := os.Remove(path); err != nil {
			return fail(err)
		}
	}
	socket, err := listenAt(path)
	if err != nil {
		return fail(err)
	}
	socket.SetUnlinkOnClose(false)
	info, err := os.Lstat(path)
	if err != nil {
		socket.Close()
		return fail(err)
	}
	return socket, info, nil
}

func listenAt(path string) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("%s: longer than the %d bytes a socket's name may have", path, maxPath)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, errors.Join(err, socket.Close())
		}
	}
	return socket, nil
}

// Path returns the socket's name, for [Dial].
func (l *Listener) Path() string { return l.path }

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Accept implements [net.Listener]. Connections of other users, which reach the
// socket only if someone widened its mode, are closed unheard.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.socket.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if err := agentproto.CheckPeer(conn, l.uid); err == nil {
			return conn, nil
		}
		conn.Close()
	}
}

// Close ends the listener and removes what [Listen] or [ListenAt] made: the socket,
// and in the case of Listen its directory. Closing again does nothing.
func (l *Listener) Close() error {
	err := l.socket.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, l.remove())
}
