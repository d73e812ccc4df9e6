package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/reread"
)

// Times of a connection. A request is small and there at once; an answer may wait for GitHub.
const (
	headerTime = 5 * time.Second
	readTime   = 15 * time.Second
	writeTime  = 2 * time.Minute
	idleTime   = time.Minute
	// endTime is what requests under way have when we are told to end.
	endTime = 20 * time.Second
	// maxHeader has room for a token of 16 KiB.
	maxHeader = 32 << 10
)

// maxPath is the longest name of a socket that can be connected to on every system: sun_path
// has 104 bytes on macOS and the BSDs, of which the last is NUL.
const maxPath = 103

// ErrPlain is a listener on which tokens would travel in the open.
var ErrPlain = errors.New("neither TLS, nor a proxy before it that ends TLS, nor an address of this machine alone")

// Serve answers callers on a listener until the context ends, and then those who are here
// already. tlsConfig, of [TLS], is nil where the listener is a Unix socket, is this machine's alone,
// or [Config.Proxies] are before it; elsewhere that is [ErrPlain].
func (d *Door) Serve(ctx context.Context, l net.Listener, tlsConfig *tls.Config) error {
	if tlsConfig == nil && len(d.config.Proxies) == 0 && !local(l.Addr()) {
		return ErrPlain
	}
	server := &http.Server{
		Handler: d, TLSConfig: tlsConfig, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		ErrorLog: slog.NewLogLogger(printable{d.log.Handler()}, slog.LevelDebug),
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		ended <- server.Shutdown(patience)
	})
	defer stop()
	var err error
	if tlsConfig != nil {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return <-ended
	}
	return err
}

// printable is a log that is told of what strangers send.
type printable struct{ slog.Handler }

// Handle makes the message one line.
func (p printable) Handle(ctx context.Context, r slog.Record) error {
	r.Message = text.OneLine(r.Message)
	return p.Handler.Handle(ctx, r)
}

// local reports whether only this machine can connect to an address.
func local(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}

// TLS is the configuration with a certificate and its key, PEM files that are read anew when
// they change. With clientCertificates callers are asked for theirs; whether one proves anything
// is the [Verifier]'s to say, since it depends on the name in it.
func TLS(certificate, key string, clientCertificates bool) (*tls.Config, error) {
	pair, err := reread.Open(func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		return &pair, err
	}, certificate, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil },
	}
	if clientCertificates {
		config.ClientAuth = tls.RequestClientCert
	}
	return config, nil
}

// ListenUnix listens on a socket with a mode, such as 0660. Its directory must be there, and
// nobody else may be able to put anything into it, or into its place. One process at a time
// listens there, which a lock on path.lock decides; a socket whose process is gone is replaced.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("%s is longer than the %d bytes that a socket's name may have", path, maxPath)
	}
	dir := filepath.Dir(path)
	if err := private.Check(dir, os.Geteuid(), private.Ours); err != nil {
		return nil, err
	}
	if err := private.Way(dir); err != nil {
		return nil, err
	}
	unlock, err := filelock.Take(context.Background(), path+".lock", 0)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("another process listens on %s", path)
	}
	if err != nil {
		return nil, err
	}
	l, err := bind(path, mode)
	if err != nil {
		unlock()
		return nil, err
	}
	l.unlock = unlock
	return l, nil
}

// bind makes the socket where nobody can reach it, gives it its mode, and puts it in its place.
func bind(path string, mode fs.FileMode) (*unixSocket, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".door-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is empty by then, and nobody's but ours
	made := filepath.Join(dir, "s")
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: made})
	if err != nil {
		return nil, err
	}
	socket.SetUnlinkOnClose(false)
	if err = os.Chmod(made, mode.Perm()); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	own, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &unixSocket{UnixListener: socket, path: path, own: own}, nil
}

// vacant refuses a path at which something is that is in use, or no socket.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket; remove it", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

// unixSocket removes its file when it is closed, unless another is there by then.
type unixSocket struct {
	*net.UnixListener
	path   string
	own    fs.FileInfo
	unlock func()
	once   sync.Once
}

// Close ends it.
func (s *unixSocket) Close() error {
	err := s.UnixListener.Close()
	s.once.Do(func() {
		defer s.unlock()
		if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(s.own, now) {
			err = errors.Join(err, os.Remove(s.path))
		}
	})
	return err
}
