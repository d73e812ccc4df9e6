package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// maxPath is the longest name a socket may have in bytes: sun_path holds 104
// with the final NUL on macOS and the BSDs, 108 on Linux and Windows.
const maxPath = 103

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
// directory for temporary files.
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
	remove := sync.OnceValue(func() error { return os.RemoveAll(dir) })
	path := filepath.Join(dir, "agent")
	socket, err := listenAt(path)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	return &Listener{socket, path, os.Geteuid(), remove}, nil
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
		if err := checkPeer(conn, l.uid); err == nil {
			return conn, nil
		}
		conn.Close()
	}
}

// Close ends the listener and removes the socket and its directory. Closing
// again does nothing.
func (l *Listener) Close() error {
	err := l.socket.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, l.remove())
}
