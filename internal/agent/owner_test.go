//go:build unix

package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestSocketIsPrivate(t *testing.T) {
	l := testkit.Must(Listen(t.TempDir()))(t)
	defer l.Close()
	dir := filepath.Dir(l.Path())
	for name, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, l.Path(): fs.ModeSocket | 0o600} {
		info := testkit.Must(os.Lstat(name))(t)
		testkit.Equal(t, info.Mode(), want, "%s has mode", name)
	}
	for range 2 {
		testkit.OK(t, l.Close())
	}
	testkit.ErrorIs(t, testkit.ErrorOf(os.Lstat(dir)), fs.ErrNotExist, "%s is left behind", dir)
}

// In a parent where others can move the directory and put another in its place.
func TestCloseRemovesNothingThatIsNotItsOwn(t *testing.T) {
	l := testkit.Must(Listen(t.TempDir()))(t)
	theirs := filepath.Join(filepath.Dir(l.Path()), "theirs")
	testkit.OK(t, os.WriteFile(theirs, nil, 0o600))
	testkit.ErrorContains(t, l.Close(), filepath.Dir(theirs))
	testkit.Must(os.Lstat(theirs))(t)
}

func TestListenTakesTheFirstParentThatServes(t *testing.T) {
	short := testkit.Must(os.MkdirTemp("/tmp", "s"))(t)
	defer os.RemoveAll(short)
	long := filepath.Join(t.TempDir(), strings.Repeat("x", maxPath))
	testkit.OK(t, os.Mkdir(long, 0o700))
	for _, tt := range []struct {
		name    string
		parents []string
		want    string
	}{
		{"the first", []string{short, "/nonexistent"}, short},
		{"not an empty one", []string{"", short}, short},
		{"not one that is missing", []string{"/nonexistent", short}, short},
		{"not one whose name is too long", []string{long, short}, short},
		{"/tmp at last", []string{"", long}, "/tmp"},
		{"/tmp if there is none", nil, "/tmp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := testkit.Must(Listen(tt.parents...))(t)
			defer l.Close()
			testkit.Equal(t, filepath.Dir(filepath.Dir(l.Path())), tt.want, "listens under")
			if left, _ := os.ReadDir(long); len(left) > 0 {
				t.Errorf("left %v behind", left)
			}
		})
	}
}

// The longest name that is accepted is one that the system accepts too.
func TestLongestPath(t *testing.T) {
	parent := testkit.Must(os.MkdirTemp("/tmp", "s"))(t)
	defer os.RemoveAll(parent)
	path := filepath.Join(parent, strings.Repeat("x", maxPath-len(parent)-1))
	socket := testkit.Must(listenAt(path))(t)
	socket.Close()
	if socket, err := listenAt(path + "x"); err == nil {
		socket.Close()
		t.Error("a longer name is accepted")
	}
}

func TestListenSaysWhyItCannot(t *testing.T) {
	_, err := listenUnder("/nonexistent")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("listenUnder() = %v", err)
	}
}

func unused(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error) {
	return &credential.Credential{Username: "u"}, nil
}

func TestDialFindsNobody(t *testing.T) {
	dead := filepath.Join(t.TempDir(), "agent")
	socket := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: dead}))(t)
	socket.SetUnlinkOnClose(false)
	socket.Close()
	for name, path := range map[string]string{
		"no socket":              filepath.Join(t.TempDir(), "agent"),
		"no directory":           filepath.Join(t.TempDir(), "x", "agent"),
		"nobody behind it":       dead,
		"not an abstract socket": "@agent",
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := Dial(path); !errors.Is(err, agentproto.ErrUnavailable) {
				t.Errorf("Dial() = %v, %v, want ErrUnavailable", c, err)
			}
		})
	}
}

// TestDialTrustsNoSocketOthersCouldHavePut breaks one condition at a time on a
// socket that otherwise answers.
func TestDialTrustsNoSocketOthersCouldHavePut(t *testing.T) {
	uid := os.Geteuid()
	for _, tt := range []struct {
		name string
		uid  int
		harm func(t *testing.T, path string) string
		want string
	}{
		{"other users can write the directory", uid, func(t *testing.T, path string) string {
			return chmod(t, path, 0o702)
		}, "lets other users in"},
		{"the group can write the directory", uid, func(t *testing.T, path string) string {
			return chmod(t, path, 0o720)
		}, "lets other users in"},
		{"another user's socket", uid + 1, func(_ *testing.T, path string) string { return path }, "belongs to user"},
		{"not a socket", uid, func(t *testing.T, path string) string {
			file := filepath.Join(t.TempDir(), "agent")
			testkit.OK(t, os.WriteFile(file, nil, 0o600))
			return file
		}, "is not a socket"},
		{"a symbolic link", uid, func(t *testing.T, path string) string {
			link := filepath.Join(t.TempDir(), "agent")
			testkit.OK(t, os.Symlink(path, link))
			return link
		}, "is not a socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := start(t, handlerFunc(unused))
			c, err := dial(tt.harm(t, l.Path()), tt.uid)
			if err == nil {
				c.Close()
				t.Fatal("dial() connected")
			}
			if errors.Is(err, agentproto.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("dial() = %v, want %q", err, tt.want)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	testkit.OK(t, os.Chmod(filepath.Dir(path), mode))
	return path
}

// hasPeerCredentials tells where checkPeer has something to check.
const hasPeerCredentials = runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "freebsd"

func TestServerHearsNoOtherUser(t *testing.T) {
	l := testkit.Must(Listen(t.TempDir()))(t)
	l.uid++ // as if the listener, and not the client, were somebody else's
	served := make(chan error)
	go func() { served <- Serve(t.Context(), l, handlerFunc(unused)) }()
	got, err := Ask(t.Context(), l.Path(), credential.Get, request)
	if hasPeerCredentials != (err != nil) {
		t.Errorf("Ask() = %v, %v", got, err)
	}
	l.Close()
	testkit.OK(t, <-served)
}

// nobody is the other user of the tests below, which need root to become it.
const nobody = 65534

// role makes the test binary another user's process: "ask SOCKET" speaks to an
// agent past our client's own checks, "listen SOCKET" is an agent of that user,
// "inherit" is one that a service manager starts.
const role = "AGENT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch what, path, _ := strings.Cut(os.Getenv(role), " "); what {
	case "ask":
		os.Exit(askRaw(path))
	case "listen":
		os.Exit(listenRaw(path))
	case "inherit":
		os.Exit(inherit())
	}
	os.Exit(m.Run())
}

func askRaw(path string) int {
	conn, err := net.Dial("unix", path)
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return 1
	}
	io.WriteString(conn, "ghapp-agent/1 get 0\n")
	io.Copy(os.Stdout, conn)
	return 0
}

func listenRaw(path string) int {
	l, err := net.Listen("unix", path)
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return 1
	}
	os.Stdout.WriteString("listening\n")
	io.Copy(io.Discard, os.Stdin)
	l.Close()
	return 0
}

// asNobody returns a command that plays what with this test's binary, for
// another user, in a directory that user can reach.
func asNobody(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	dir := testkit.Must(os.MkdirTemp("/tmp", "ghapp-test-"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	testkit.OK(t, os.Chmod(dir, 0o755))
	self := testkit.Must(os.Executable())(t)
	binary := filepath.Join(dir, "test")
	data := testkit.Must(os.ReadFile(self))(t)
	testkit.OK(t, os.WriteFile(binary, data, 0o755))
	cmd := exec.Command(binary)
	cmd.Dir = dir
	cmd.Env = []string{role + "=" + what, "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// TestTwoUsers plays both sides with a real second user, which only root can.
// For others the tests above stand in with a user number that is not theirs.
func TestTwoUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	t.Run("the directory keeps the other user out", func(t *testing.T) {
		l := start(t, handlerFunc(unused))
		out, err := asNobody(t, "ask "+l.Path()).Output()
		if err == nil || !strings.Contains(string(out), "permission denied") {
			t.Errorf("the other user was answered %q, %v", out, err)
		}
	})
	t.Run("the server does not hear the other user", func(t *testing.T) {
		if !hasPeerCredentials {
			return
		}
		l := testkit.Must(Listen("/tmp"))(t)
		served := make(chan error)
		go func() { served <- Serve(t.Context(), l, handlerFunc(unused)) }()
		chmod(t, l.Path(), 0o755)
		testkit.OK(t, os.Chmod(l.Path(), 0o666))
		out, err := asNobody(t, "ask "+l.Path()).Output()
		if err != nil || len(out) > 0 {
			t.Errorf("the other user was answered %q, %v", out, err)
		}
		l.Close()
		testkit.OK(t, <-served)
	})
	t.Run("the client does not ask the other user", func(t *testing.T) {
		dir := testkit.Must(os.MkdirTemp("/tmp", "ghapp-test-"))(t)
		defer os.RemoveAll(dir)
		chown := func(name string, uid int) {
			testkit.OK(t, os.Chown(name, uid, uid))
		}
		chown(dir, nobody)
		path := filepath.Join(dir, "agent")
		cmd := asNobody(t, "listen "+path)
		stdin := testkit.Must(cmd.StdinPipe())(t)
		stdout := testkit.Must(cmd.StdoutPipe())(t)
		testkit.OK(t, cmd.Start())
		defer cmd.Wait()
		defer stdin.Close()
		if line, err := io.ReadAll(io.LimitReader(stdout, int64(len("listening\n")))); err != nil ||
			string(line) != "listening\n" {
			t.Fatalf("the other user's agent said %q, %v", line, err)
		}
		refuses := func(want string) {
			t.Helper()
			c, err := Dial(path)
			if err == nil {
				c.Close()
				t.Fatal("Dial() connected")
			}
			if errors.Is(err, agentproto.ErrUnavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("Dial() = %v, want %q", err, want)
			}
		}
		refuses(path + " belongs to user 65534")
		chown(path, 0)
		refuses(dir + " belongs to user 65534")
		chown(dir, 0)
		if hasPeerCredentials {
			refuses("the other end belongs to user 65534")
		}
	})
}
