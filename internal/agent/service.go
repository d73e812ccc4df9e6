package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// firstInherited is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstInherited = 3

// Inherited returns the listener that a service manager has made and handed to this
// process, as systemd does by sd_listen_fds(3), or nil if there is none. The
// environment is read by lookup, as by os.LookupEnv. The socket has to be one in the
// file system, in a directory of this user's alone: else the error is a [*DirError].
// It stays the service manager's: closing the listener does not remove it.
func Inherited(lookup func(string) (string, bool)) (*Listener, error) {
	count, _ := lookup("LISTEN_FDS")
	// The variables may be those of a parent that passed them on.
	if pid, _ := lookup("LISTEN_PID"); count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	fail := func(err error) (*Listener, error) {
		return nil, fmt.Errorf("agent: cannot use the socket of the service manager: %w", err)
	}
	if count != "1" {
		return fail(fmt.Errorf("one is expected, and LISTEN_FDS is %q", count))
	}
	file := os.NewFile(firstInherited, "LISTEN_FDS")
	general, err := net.FileListener(file)
	// The listener has a descriptor of its own, which no child inherits.
	file.Close()
	if err != nil {
		return fail(err)
	}
	socket, ok := general.(*net.UnixListener)
	if !ok {
		general.Close()
		return fail(fmt.Errorf("it is one of %s, not a Unix domain socket", general.Addr().Network()))
	}
	path, uid := socket.Addr().String(), os.Geteuid()
	if !filepath.IsAbs(path) {
		socket.Close()
		return fail(errors.New("it has no name in the file system"))
	}
	if err := checkPrivate(filepath.Dir(path), uid); err != nil {
		socket.Close()
		return nil, err
	}
	return &Listener{socket, path, uid, func() error { return nil }}, nil
}

// Notify tells the service manager that started this process, if one did and wants
// to be told, of a new state, such as READY=1 (sd_notify(3)). The environment is
// read by lookup, as by os.LookupEnv.
func Notify(lookup func(string) (string, bool), state string) error {
	name, _ := lookup("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	// A name that begins with @ is one in the abstract namespace, here as there.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return fmt.Errorf("agent: cannot notify the service manager: %w", err)
	}
	return nil
}
