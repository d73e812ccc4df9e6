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
)

// serveAt serves h at path until the test ends.
func serveAt(t *testing.T, path string, h Handler) *Listener {
	t.Helper()
	l, err := ListenAt(path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, h)
	return l
}

func serveOn(t *testing.T, l *Listener, h Handler) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), l, h) }()
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), <-served); err != nil {
			t.Error(err)
		}
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
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
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
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if l.Path() != path {
		t.Errorf("listens on %s", l.Path())
	}
	if _, err := Ask(t.Context(), path, credential.Get, request); err != nil {
		t.Error(err)
	}
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
			if err := errors.Join(os.MkdirAll(dir, 0o700), tt.harm(dir)); err != nil {
				t.Fatal(err)
			}
			l, err := ListenAt(path)
			if err == nil {
				l.Close()
			}
			e, ok := errors.AsType[*DirError](err)
			if !ok || e.Why != tt.why || e.Hint == "" || !strings.Contains(err.Error(), dir) {
				t.Errorf("ListenAt() = %v, want %q", err, tt.why)
			}
		})
	}
	t.Run("another user's", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := checkPrivate(dir, os.Geteuid()); err != nil {
			t.Fatal(err)
		}
		if e, ok := errors.AsType[*DirError](checkPrivate(dir, os.Geteuid()+1)); !ok || !strings.Contains(e.Why, "belongs to user") {
			t.Errorf("checkPrivate() = %v", e)
		}
	})
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := known(t)
	stale(t, path)
	serveAt(t, path, handlerFunc(unused))
	if _, err := Ask(t.Context(), path, credential.Get, request); err != nil {
		t.Error(err)
	}
}

func TestOccupiedSocketIsLeftAlone(t *testing.T) {
	occupied := func(t *testing.T, path string) {
		t.Helper()
		l, err := ListenAt(path)
		if err == nil {
			l.Close()
		}
		if e, ok := errors.AsType[*OccupiedError](err); !ok || e.Path != path {
			t.Errorf("ListenAt() = %v, want an OccupiedError", err)
		}
		if _, err := Ask(t.Context(), path, credential.Get, request); err != nil {
			t.Errorf("who had it does not answer: %v", err)
		}
	}
	t.Run("by an agent", func(t *testing.T) {
		path := known(t)
		serveAt(t, path, handlerFunc(unused))
		occupied(t, path)
	})
	t.Run("by one that took no lock", func(t *testing.T) {
		path := known(t)
		l := serveAt(t, path, handlerFunc(unused))
		if err := os.Remove(path + ".lock"); err != nil {
			t.Fatal(err)
		}
		occupied(t, path)
		l.Close()
	})
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := known(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first gives its lock back
		if l, err := ListenAt(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
			t.Errorf("ListenAt() = %v, %v", l, err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("it holds %q, %v", text, err)
	}
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
		if err := <-accepted; err != nil {
			t.Error(err)
		}
		winners[0].Close()
	}
}

func TestAnAgentThatEndsMakesPlace(t *testing.T) {
	path := known(t)
	for range 2 {
		l, err := ListenAt(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	}
}

func TestAnotherSocketInTheSamePlaceStays(t *testing.T) {
	path := known(t)
	l, err := ListenAt(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	stale(t, path)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other socket is gone: %v", err)
	}
}
