//go:build unix

package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// left makes a directory as Listen does, a while ago, with what fill puts into it.
func left(t *testing.T, parent, name string, fill func(socket string)) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if fill != nil {
		fill(filepath.Join(dir, "agent"))
	}
	ago := time.Now().Add(-2 * sweepAge)
	if err := os.Chtimes(dir, ago, ago); err != nil {
		t.Fatal(err)
	}
	return dir
}

func listenOn(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	socket, err := listenAt(path)
	if err != nil {
		t.Fatal(err)
	}
	socket.SetUnlinkOnClose(false)
	t.Cleanup(func() { socket.Close() })
	return socket
}

// What killed processes leave is gone when the next one listens, and nothing else is.
func TestListenSweepsWhatTheKilledLeft(t *testing.T) {
	parent, err := os.MkdirTemp("/tmp", "s") // short, for the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	dead := func(path string) { listenOn(t, path).Close() }
	file := func(path string) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone := []string{left(t, parent, "ghapp-1", dead), left(t, parent, "ghapp-2", nil)}
	stay := []string{
		left(t, parent, "ghapp-3", func(path string) { listenOn(t, path) }), // somebody listens
		left(t, parent, "ghapp-4", file),                                    // no socket
		left(t, parent, "ghapp-5", func(path string) { dead(path); file(path + ".lock") }),
		left(t, parent, "ghapp-demo-6", nil),
		left(t, parent, "other-7", nil),
	}
	open := left(t, parent, "ghapp-8", nil) // to others as well
	young := filepath.Join(parent, "ghapp-9")
	link := filepath.Join(parent, "ghapp-10")
	elsewhere := left(t, t.TempDir(), "ghapp-11", nil)
	if err := errors.Join(os.Chmod(open, 0o755), os.Mkdir(young, 0o700), os.Symlink(elsewhere, link)); err != nil {
		t.Fatal(err)
	}
	stay = append(stay, open, young, link, elsewhere)

	l, err := Listen(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, dir := range gone {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", dir, err)
		}
	}
	for _, dir := range append(stay, filepath.Dir(l.Path())) {
		if _, err := os.Lstat(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(parent, "ghapp-4", "agent")); err != nil {
		t.Error(err)
	}
	conn, err := net.Dial("unix", filepath.Join(parent, "ghapp-3", "agent"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSweepLeavesOtherUsersDirectoriesAlone(t *testing.T) {
	parent := t.TempDir()
	dir := left(t, parent, "ghapp-1", nil)
	sweep(parent, os.Geteuid()+1, time.Now())
	if _, err := os.Lstat(dir); err != nil {
		t.Error(err)
	}
}
