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

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// left makes a directory as Listen does, a while ago, with what fill puts into it.
func left(t *testing.T, parent, name string, fill func(socket string)) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	testkit.OK(t, os.Mkdir(dir, 0o700))
	if fill != nil {
		fill(filepath.Join(dir, "agent"))
	}
	ago := time.Now().Add(-2 * sweepAge)
	testkit.OK(t, os.Chtimes(dir, ago, ago))
	return dir
}

func listenOn(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	socket := testkit.Must(listenAt(path))(t)
	socket.SetUnlinkOnClose(false)
	t.Cleanup(func() { socket.Close() })
	return socket
}

// What killed processes leave is gone when the next one listens, and nothing else is.
func TestListenSweepsWhatTheKilledLeft(t *testing.T) {
	parent, err := os.MkdirTemp("/tmp", "s") // short, for the names of sockets
	testkit.OK(t, err)
	t.Cleanup(func() { os.RemoveAll(parent) })
	dead := func(path string) { listenOn(t, path).Close() }
	file := func(path string) {
		testkit.OK(t, os.WriteFile(path, nil, 0o600))
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
	testkit.OK(t, errors.Join(os.Chmod(open, 0o755), os.Mkdir(young, 0o700), os.Symlink(elsewhere, link)))
	stay = append(stay, open, young, link, elsewhere)

	l := testkit.Must(Listen(parent))(t)
	defer l.Close()
	for _, dir := range gone {
		testkit.ErrorIs(t, testkit.ErrorOf(os.Lstat(dir)), fs.ErrNotExist, "%s is there", dir)
	}
	for _, dir := range append(stay, filepath.Dir(l.Path())) {
		testkit.Must(os.Lstat(dir))(t)
	}
	testkit.Must(os.Lstat(filepath.Join(parent, "ghapp-4", "agent")))(t)
	conn := testkit.Must(net.Dial("unix", filepath.Join(parent, "ghapp-3", "agent")))(t)
	conn.Close()
}

func TestSweepLeavesOtherUsersDirectoriesAlone(t *testing.T) {
	parent := t.TempDir()
	dir := left(t, parent, "ghapp-1", nil)
	sweep(parent, os.Geteuid()+1, time.Now())
	testkit.Must(os.Lstat(dir))(t)
}
