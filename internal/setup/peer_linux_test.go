package setup

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"golang.org/x/sys/unix"
)

func TestWhoMayTakePart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		owner, own int
		sudo       string
		may        bool
	}{
		{1000, 1000, "", true}, {0, 1000, "", true}, {1001, 1000, "", false}, {1001, 1000, "1001", false},
		{0, 0, "", true}, {1000, 0, "", false}, {1000, 0, "1000", true}, {1001, 0, "1000", false},
	} {
		testkit.Equal(t, mayTakePart(test.owner, test.own, test.sudo), test.may, "%+v", test)
	}
}

// asUser runs a function on a thread that makes files and sockets as another user.
func asUser(t *testing.T, uid int, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never back: the thread ends with the goroutine
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
		do()
	}()
	<-done
}

// nobody is a user who is none of ours.
const nobody = 65534

func TestAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	t.Parallel()
	for name, family := range map[string]int{"IPv4": unix.AF_INET, "an IPv4 address in an IPv6 socket": unix.AF_INET6} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, nil)
			var answer string
			asUser(t, nobody, func() {
				conn, err := connect(family, f.address)
				if err != nil {
					t.Error(err)
					return
				}
				answer = exchange(conn, f.address)
			})
			if !strings.HasPrefix(answer, "HTTP/1.1 403 ") || !strings.Contains(answer, "is run by user 65534") ||
				strings.Contains(answer, "manifest") {
				t.Errorf("the answer to another user:\n%s", answer)
			}
			testkit.Equal(t, len(f.turns), 0, "another user has a turn")
			testkit.Equal(t, newBrowser(t).get(f.address+"/", typed...).status, 200, "the answer to this user")
		})
	}
	t.Run("who became root by sudo", func(t *testing.T) {
		f := serve(t, nil, func(f *Flow) { f.plan.SudoUID = strconv.Itoa(nobody) })
		asUser(t, nobody, func() {
			conn, err := connect(unix.AF_INET, f.address)
			if err != nil {
				t.Error(err)
				return
			}
			if answer := exchange(conn, f.address); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
				t.Errorf("the answer:\n%s", answer)
			}
		})
	})
}

// connect connects a socket of a family, which this thread makes.
func connect(family int, address string) (*os.File, error) {
	to := netip.MustParseAddrPort(strings.TrimPrefix(address, "http://"))
	socket, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	var name unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	if family == unix.AF_INET6 {
		name = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	return os.NewFile(uintptr(socket), "socket"), unix.Connect(socket, name)
}

// exchange asks for the first page, and returns all of the answer.
func exchange(conn *os.File, address string) string {
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+strings.TrimPrefix(address, "http://")+
		"\r\nConnection: close\r\n\r\n")
	text, _ := io.ReadAll(conn)
	return string(text)
}

// pipe is a connection with addresses of choice.
type pipe struct {
	net.Conn
	local, remote net.Addr
}

func (p pipe) LocalAddr() net.Addr  { return p.local }
func (p pipe) RemoteAddr() net.Addr { return p.remote }

// Whoever asks while the kernel's table cannot be read, as without a descriptor that is
// free, may be anybody.
func TestNobodyIsLetInWhereNobodyTellsWhoAsks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	torn := filepath.Join(dir, "torn")
	here := netip.MustParseAddrPort("127.0.0.1:8")
	line := "0: " + inTable(here, false) + " " + inTable(here, false) + " 01 0:0 0:0 0 nobody\n"
	testkit.OK(t, os.WriteFile(torn, []byte(line), 0o600))
	long := filepath.Join(dir, "long")
	testkit.OK(t, os.WriteFile(long, bytes.Repeat([]byte("x"), bufio.MaxScanTokenSize+1), 0o600))
	missing := filepath.Join(dir, "missing")
	for _, tables := range [][]string{{missing}, {dir}, {"/proc/net/tcp", dir}, {torn}, {long}} {
		if who := ownerIn(tables, here, here, ""); !strings.Contains(who, "does not tell") {
			t.Errorf("%q: %q", tables, who)
		}
	}
	testkit.Equal(t, ownerIn([]string{"/proc/net/tcp", missing}, here, here, ""), "", "a system without IPv6")
}

// A crowd of connections is closed, and this user's are not among them.
func TestStrangersConnectionsAreFew(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	f := serve(t, nil)
	crowd := make(chan *os.File, 3*maxStrangers)
	asUser(t, nobody, func() {
		for range cap(crowd) {
			if conn, err := connect(unix.AF_INET, f.address); err == nil {
				crowd <- conn
			}
		}
	})
	close(crowd)
	ended := 0
	for conn := range crowd {
		defer conn.Close() //nolint:staticcheck // crowd is closed: they end with the test
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if n, _ := conn.Read(make([]byte, 12)); n == 0 {
			ended++
		}
	}
	if ended < 2*maxStrangers {
		t.Errorf("%d of %d connections were closed", ended, cap(crowd))
	}
	testkit.Equal(t, newBrowser(t).get(f.address+"/", typed...).status, 200, "the answer to this user")
}

func TestAConnectionThatIsEndingIsNobodys(t *testing.T) {
	t.Parallel()
	// A socket that listens is in the table, and is not established.
	l := testkit.Must(Listen(0))(t)
	defer l.Close()
	nowhere := &net.TCPAddr{IP: net.IPv4zero}
	testkit.Equal(t, stranger(pipe{local: nowhere, remote: l.Addr()}, ""), "a connection that is ending")
	// One that is nowhere comes from outside of this system.
	testkit.Equal(t, stranger(pipe{local: l.Addr(), remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}}, ""), "")
	testkit.Equal(t, stranger(pipe{local: &net.UnixAddr{}, remote: &net.UnixAddr{}}, ""), "")
}

func TestAddressesAreWrittenAsTheKernelDoes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	at := addrOf(l.Addr())
	if _, state, found, err := socketOwner("/proc/net/tcp6", at, netip.MustParseAddrPort("[::]:0")); !found ||
		state == established || err != nil {
		t.Errorf("found %t in state %d, %v", found, state, err)
	}
}
