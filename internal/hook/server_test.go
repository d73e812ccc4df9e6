package hook

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// pipes is a listener in memory, which works inside a synctest bubble.
type pipes struct {
	arrive chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{arrive: make(chan net.Conn), closed: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.arrive:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipes) dial() net.Conn {
	client, server := net.Pipe()
	l.arrive <- server
	return client
}

// serving runs a server in the bubble of a test.
func serving(t *testing.T, h http.Handler) *pipes {
	l := newPipes()
	server := NewServer(h, nil)
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		testkit.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return l
}

// until returns how long it takes until the server closes a connection, and what it said.
func until(c net.Conn) (time.Duration, string) {
	begun := time.Now()
	text, _ := io.ReadAll(c)
	return time.Since(begun), string(text)
}

// Nobody holds a connection by sending slowly, or nothing.
func TestSlowClientsAreCutOff(t *testing.T) {
	// net/http leaves the client half a second for the answer to a body that it did not read.
	const closing = 500 * time.Millisecond
	head := "POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n" +
		signatureHeader + ": " + sign(webhookSecret, "") + "\r\n"
	for name, test := range map[string]struct {
		start, drip string
		within      time.Duration
	}{
		"silent":        {"", "", readFor / 2},
		"slow request":  {"", "P", readFor / 2},
		"slow headers":  {head, "X-Slow: 1\r\n", readFor / 2},
		"slow body":     {head + "\r\n", " ", readFor + closing},
		"silent body":   {head + "\r\n", "", readFor + closing},
		"between them":  {"GET /none HTTP/1.1\r\nHost: h\r\n\r\n", "", readFor},
		"long headers":  {head + "X-Long: " + strings.Repeat("x", 2*maxHeader), "x", time.Second},
		"no end at all": {strings.Repeat("x", 4*maxHeader), "x", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(watcher)
				l := serving(t, w.handler())
				c := l.dial()
				var sender sync.WaitGroup
				defer sender.Wait()
				defer c.Close()
				sender.Go(func() {
					io.WriteString(c, test.start)
					for test.drip != "" {
						if _, err := io.WriteString(c, test.drip); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				if took, text := until(c); took > test.within {
					t.Errorf("it was held for %s\n%s", took, text)
				}
				testkit.Equal(t, w.count(), 0, "the watcher was told")
			})
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serving(t, new(watcher).handler())
		var held []net.Conn
		for range maxConnections {
			held = append(held, l.dial())
		}
		synctest.Wait()
		more := l.dial()
		if took, text := until(more); took != 0 || text != "" {
			t.Errorf("one more is held for %s: %q", took, text)
		}
		for _, c := range held {
			c.Close()
		}
		synctest.Wait()
		c := l.dial()
		defer c.Close()
		go io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if _, text := until(c); !strings.HasPrefix(text, "HTTP/1.1 404") {
			t.Errorf("after they are gone: %q", text)
		}
	})
}

// The time for a request to arrive is over before the outcome is there.
func TestServerLetsAWishWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		l := serving(t, w.handler())
		c := l.dial()
		defer c.Close()
		body := `{"all":true,"wait":true}`
		go fmt.Fprintf(c, "POST /sync HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
			"Content-Length: %d\r\n\r\n%s", syncSecret, len(body), body)
		go func() {
			time.Sleep(55 * time.Second)
			w.end(nil)
		}()
		answer := testkit.Must(http.ReadResponse(bufio.NewReader(c), nil))(t)
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		testkit.Equal(t, answer.StatusCode, 200)
		testkit.Equal(t, string(text), "{\"status\":\"done\"}\n")
	})
}
