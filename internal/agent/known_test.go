//go:build unix

package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// serveAt serves h at path until the test ends.
func serveAt(t *testing.T, path string, h Handler) *Listener {
	t.Helper()
	l := testkit.Must(ListenAt(path))(t)
	serveOn(t, l, h)
	return l
}

func serveOn(t *testing.T, l *Listener, h Handler) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), l, h) }()
	t.Cleanup(func() {
		testkit.OK(t, errors.Join(l.Close(), <-served))
	})
}

// known is a path for a socket in a directory that is not there yet.
func known(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "cache", "ghapp", "agent.sock")
}

// stale leaves a socket at path whose process is gone.
func stale(t *testing.T, path string) {
	t.Helper()
	testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
	socket := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path}))(t)
	socket.SetUnlinkOnClose(false)
	socket.Close()
}

func TestKnownSocketIsPrivate(t *testing.T) {
	path := known(t)
	l := serveAt(t, path, handlerFunc(unused))
	for name, want := range map[string]fs.FileMode{
		filepath.Dir(filepath.Dir(path)): fs.ModeDir | 0o700,
		filepath.Dir(path):               fs.ModeDir | 0o700,
		path:                             fs.ModeSocket | 0o600,
		path + ".lock":                   0o600,
	} {
		info := testkit.Must(os.Lstat(name))(t)
		testkit.Equal(t, info.Mode(), want, "%s has mode", name)
	}
	testkit.Equal(t, l.Path(), path, "listens on")
	testkit.Must(Ask(t.Context(), path, credential.Get, request))(t)
}

func TestKnownSocketIsNotPutWhereOthersReachIt(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		harm      func(dir string) error
	}{
		{"the group can read", "lets other users in (mode 0750)", func(dir string) error { return os.Chmod(dir, 0o750) }},
		{"all can enter", "lets other users in (mode 0701)", func(dir string) error { return os.Chmod(dir, 0o701) }},
		{"a link", "is a symbolic link", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"-real"), os.Symlink(dir+"-real", dir))
		}},
		{"a file", "is not a directory", func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := known(t)
			dir := filepath.Dir(path)
			testkit.OK(t, errors.Join(os.MkdirAll(dir, 0o700), tt.harm(dir)))
			l, err := ListenAt(path)
			if err == nil {
				l.Close()
			}
			e, ok := errors.AsType[*DirError](err)
			if !ok || e.Why != tt.why || e.Hint() == "" || !strings.Contains(err.Error(), dir) {
				t.Errorf("ListenAt() = %v, want %q", err, tt.why)
			}
		})
	}
	t.Run("another user's", func(t *testing.T) {
		dir := t.TempDir()
		testkit.OK(t, os.Chmod(dir, 0o700))
		testkit.OK(t, checkPrivate(dir, os.Geteuid()))
		testkit.Contains(t, testkit.ErrorAs[*DirError](t, checkPrivate(dir, os.Geteuid()+1)).Why, "belongs to user")
	})
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := known(t)
	stale(t, path)
	serveAt(t, path, handlerFunc(unused))
	testkit.Must(Ask(t.Context(), path, credential.Get, request))(t)
}

func TestOccupiedSocketIsLeftAlone(t *testing.T) {
	occupied := func(t *testing.T, path string) {
		t.Helper()
		l, err := ListenAt(path)
		if err == nil {
			l.Close()
		}
		testkit.Equal(t, testkit.ErrorAs[*OccupiedError](t, err).Path, path)
		testkit.OK(t, testkit.ErrorOf(Ask(t.Context(), path, credential.Get, request)), "who had it does not answer")
	}
	t.Run("by an agent", func(t *testing.T) {
		path := known(t)
		serveAt(t, path, handlerFunc(unused))
		occupied(t, path)
	})
	t.Run("by one that took no lock", func(t *testing.T) {
		path := known(t)
		l := serveAt(t, path, handlerFunc(unused))
		testkit.OK(t, os.Remove(path+".lock"))
		occupied(t, path)
		l.Close()
	})
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := known(t)
	testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
	testkit.OK(t, os.WriteFile(path, []byte("precious"), 0o600))
	for range 2 { // the first gives its lock back
		if l, err := ListenAt(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
			t.Errorf("ListenAt() = %v, %v", l, err)
		}
	}
	testkit.Equal(t, string(testkit.Must(os.ReadFile(path))(t)), "precious", "it")
}

// All of them find a dead agent's socket, and must not take a living one for it.
func TestOfManyStartingAtOnceOneListens(t *testing.T) {
	const rounds, many = 30, 12
	for range rounds {
		path := known(t)
		stale(t, path)
		var mu sync.Mutex
		var winners []*Listener
		begin := make(chan struct{})
		var starting sync.WaitGroup
		for range many {
			starting.Go(func() {
				<-begin
				l, err := ListenAt(path)
				if _, occupied := errors.AsType[*OccupiedError](err); err != nil && !occupied {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					winners = append(winners, l)
				}
			})
		}
		close(begin)
		starting.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d of %d listen", len(winners), many)
		}
		// And the one that does is the one that is found.
		accepted := make(chan error)
		go func() {
			conn, err := winners[0].Accept()
			if err == nil {
				conn.Close()
			}
			accepted <- err
		}()
		if c, err := Dial(path); err != nil {
			t.Error(err)
			winners[0].Close()
		} else {
			c.Close()
		}
		testkit.OK(t, <-accepted)
		winners[0].Close()
	}
}

func TestAnAgentThatEndsMakesPlace(t *testing.T) {
	path := known(t)
	for range 2 {
		l := testkit.Must(ListenAt(path))(t)
		for range 2 {
			testkit.OK(t, l.Close())
		}
		testkit.ErrorIs(t, testkit.ErrorOf(os.Lstat(path)), fs.ErrNotExist, "the socket is left behind")
	}
}

func TestAnotherSocketInTheSamePlaceStays(t *testing.T) {
	path := known(t)
	l := testkit.Must(ListenAt(path))(t)
	testkit.OK(t, os.Remove(path))
	stale(t, path)
	testkit.OK(t, l.Close())
	testkit.OK(t, testkit.ErrorOf(os.Lstat(path)), "the other socket is gone")
}
