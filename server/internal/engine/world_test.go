package engine

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ghapp-dev/ghapp/secret"
)

// sealText is a key of the tests' replicas.
const sealText = "a key to seal with that is as long as it has to be"

// patient is how long a test waits for what is to come, on a machine that is busy.
const patient = 30 * time.Second

// nats starts a server that listens on this machine. Its directory outlasts it.
func startNATS(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patient) {
		t.Fatal("NATS is not ready")
	}
	t.Cleanup(func() { stopNATS(s) })
	return s
}

func stopNATS(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func portOf(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

// replica is a replica of ghapp-server, as far as this package knows it.
func replica(t testing.TB, url string, edit ...func(*Options)) *Engine {
	t.Helper()
	o := Options{URL: url}
	if url != "" {
		o.SealKeys = []secret.Text{secret.New(sealText)}
	}
	for _, f := range edit {
		f(&o)
	}
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sync.OnceFunc(func() { e.Close() }))
	return e
}

// calm waits for an engine on a machine that is busy, so that a test sees what comes of it.
func calm(o *Options) { o.Patience = patient }

// replicasOf are replicas that know of each other.
func replicasOf(t testing.TB, url string, n int) []*Engine {
	t.Helper()
	var all []*Engine
	for range n {
		all = append(all, replica(t, url, calm))
	}
	for _, e := range all {
		until(t, "all replicas know each other", func() bool {
			return e.beat(t.Context()) == nil && e.others.present() == n
		})
	}
	return all
}

// until waits until something is so.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !is(); {
		if time.Now().After(end) {
			t.Fatalf("it never comes to this: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// put stores a value as an update does.
func put(t testing.TB, s *Store, key, value string) {
	t.Helper()
	if err := s.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) {
		return []byte(value), nil
	}); err != nil {
		t.Fatal(err)
	}
}

// holds fails where the store has another value; empty: none.
func holds(t testing.TB, s *Store, key, want string) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil || string(got) != want {
		t.Errorf("%v; it has %q, want %q", err, got, want)
	}
}

// keyOf is a key such as ghapp uses.
func keyOf(s string) string { return strings.Repeat(s, 32) }

// link is a way to a server that can be cut, or be made to pass nothing on.
type link struct {
	net.Listener
	to string

	mu    sync.Mutex
	stuck chan struct{} // closed: it passes on
	conns []net.Conn
}

func newLink(t testing.TB, to string) *link {
	t.Helper()
	l := &link{to: to, stuck: make(chan struct{})}
	close(l.stuck)
	var err error
	if l.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); l.cut(); l.pass() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", l.to)
			if err != nil {
				conn.Close()
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, conn, there)
			l.mu.Unlock()
			go l.copy(conn, there)
			go l.copy(there, conn)
		}
	}()
	return l
}

func (l *link) url() string { return "nats://" + l.Addr().String() }

func (l *link) copy(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		stuck := l.stuck
		l.mu.Unlock()
		<-stuck
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// hold passes nothing on any more, without an end of the connections.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = make(chan struct{})
}

// pass passes on again.
func (l *link) pass() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.stuck:
	default:
		close(l.stuck)
	}
}

// cut ends all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// logTo is a log into a text.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// filesOf is the text of all files below a directory.
func filesOf(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var walk func(name string)
	walk = func(name string) {
		entries, err := os.ReadDir(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			path := name + "/" + entry.Name()
			if entry.IsDir() {
				walk(path)
				continue
			}
			content, err := os.ReadFile(dir + path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(content)
		}
	}
	walk("")
	return all.String()
}
