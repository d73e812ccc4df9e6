package setup

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// strangerKey is the context key of who is at the other end of a connection, if that
// is none who may see the pages.
type strangerKey struct{}

// strangerAt is "" for this user, and where nobody tells.
func strangerAt(ctx context.Context) string {
	who, _ := ctx.Value(strangerKey{}).(string)
	return who
}

const (
	// maxConnections is how many of this user's there are at once: a browser opens six.
	maxConnections = 32
	// maxStrangers is how many of others there are beside them, who are told that they are.
	maxStrangers = 4
)

// connections are those that are open. Each takes a descriptor, and without one that is
// free nobody can find out who asks.
type connections struct {
	mu       sync.Mutex
	stranger map[net.Conn]bool
}

// begin finds out who is at the other end of a new connection, and closes it where there
// are too many.
func (c *connections) begin(ctx context.Context, conn net.Conn, sudoUID string) context.Context {
	who := stranger(conn, sudoUID)
	c.mu.Lock()
	defer c.mu.Unlock()
	same := 0
	for _, other := range c.stranger {
		if other == (who != "") {
			same++
		}
	}
	if c.stranger == nil {
		c.stranger = map[net.Conn]bool{}
	}
	c.stranger[conn] = who != ""
	if who == "" && same >= maxConnections || who != "" && same >= maxStrangers {
		conn.Close() // the server finds that out, and ends it
	}
	if who != "" {
		return context.WithValue(ctx, strangerKey{}, who)
	}
	return ctx
}

// changed forgets a connection that has ended.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.stranger, conn)
	}
}
