//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// inherit is the process that a service manager has started with sockets in hand. It
// serves one exchange, or says why it does not.
func inherit() int {
	if os.Getenv("LISTEN_PID") == "mine" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	l, err := Inherited(os.LookupEnv)
	switch _, dir := errors.AsType[*DirError](err); {
	case dir:
		fmt.Print("DirError: ", err)
		return 1
	case err != nil:
		fmt.Print(err)
		return 1
	case l == nil:
		fmt.Print("none")
		return 0
	}
	conn, err := l.Accept()
	if err == nil {
		exchange(context.Background(), context.Background(), conn, bounded{handlerFunc(unused), make(chan struct{}, 1)})
		err = l.Close()
	}
	fmt.Print(l.Path(), err)
	return 0
}

// inheriting is that process.
func inheriting(t *testing.T, pid, count string, sockets ...net.Listener) *exec.Cmd {
	t.Helper()
	self := testkit.Must(os.Executable())(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = []string{role + "=inherit ", "LISTEN_PID=" + pid, "LISTEN_FDS=" + count, "GORACE=atexit_sleep_ms=0"}
	for _, socket := range sockets {
		file := testkit.Must(socket.(interface{ File() (*os.File, error) }).File())(t)
		t.Cleanup(func() { file.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	return cmd
}

func listening(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l := testkit.Must(net.Listen(network, address))(t)
	t.Cleanup(func() { l.Close() })
	return l
}

func TestInheritedSocketIsServedAndStays(t *testing.T) {
	path := filepath.Join(privateDir(t), "agent.sock")
	cmd := inheriting(t, "mine", "1", listening(t, "unix", path))
	var out strings.Builder
	cmd.Stdout = &out
	testkit.OK(t, cmd.Start())
	testkit.Equal(t, testkit.Must(Ask(t.Context(), path, credential.Get, request))(t).Username, "u", "Ask()")
	if err := cmd.Wait(); err != nil || out.String() != path+"<nil>" {
		t.Errorf("it ended with %v, %q", err, out.String())
	}
	testkit.OK(t, testkit.ErrorOf(os.Lstat(path)), "the service manager's socket is gone")
}

func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testkit.OK(t, os.Chmod(dir, 0o700))
	return dir
}

func TestInheritedSocketIsChecked(t *testing.T) {
	open := t.TempDir()
	testkit.OK(t, os.Chmod(open, 0o755))
	socket := listening(t, "unix", filepath.Join(privateDir(t), "agent.sock"))
	for _, tt := range []struct {
		name, pid, count string
		sockets          []net.Listener
		want             string
	}{
		{"none", "mine", "", nil, "none"},
		{"another process's", "1", "1", []net.Listener{socket}, "none"},
		{"two", "mine", "2", []net.Listener{socket, socket}, `LISTEN_FDS is "2"`},
		{"no number", "mine", "x", nil, `LISTEN_FDS is "x"`},
		{"closed", "mine", "1", nil, "cannot use the socket of the service manager"},
		{"of the network", "mine", "1", []net.Listener{listening(t, "tcp", "127.0.0.1:0")},
			"one of tcp, not a Unix domain socket"},
		{"without a name", "mine", "1", []net.Listener{listening(t, "unix", "@ghapp-test-"+strconv.Itoa(os.Getpid()))},
			"no name in the file system"},
		{"where others reach it", "mine", "1",
			[]net.Listener{listening(t, "unix", filepath.Join(open, "agent.sock"))}, "DirError: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := inheriting(t, tt.pid, tt.count, tt.sockets...).Output()
			if !strings.Contains(string(out), tt.want) || (err == nil) != (tt.want == "none") {
				t.Errorf("it said %q, %v, want %q", out, err, tt.want)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	abstract := "@ghapp-notify-" + strconv.Itoa(os.Getpid())
	for _, name := range []string{path, abstract} {
		manager := testkit.Must(net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name}))(t)
		defer manager.Close()
		testkit.OK(t, Notify(func(string) (string, bool) { return name, true }, "READY=1"))
		text := make([]byte, 100)
		manager.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := manager.Read(text); err != nil || string(text[:n]) != "READY=1" {
			t.Errorf("%s was told %q, %v", name, text[:n], err)
		}
	}
	testkit.OK(t, Notify(func(string) (string, bool) { return "", false }, "READY=1"), "without a service manager")
	if err := Notify(func(string) (string, bool) { return path + "-none", true }, "READY=1"); err == nil {
		t.Error("a service manager that is gone was told")
	}
}
