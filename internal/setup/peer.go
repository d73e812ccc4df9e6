package setup

import (
	"context"
	"net"
)

// strangerKey is the context key of who is at the other end of a connection, if that
// is none who may see the pages.
type strangerKey struct{}

// withPeer finds out who is at the other end of a new connection.
func (f *Flow) withPeer(ctx context.Context, conn net.Conn) context.Context {
	if who := stranger(conn, f.plan.SudoUID); who != "" {
		return context.WithValue(ctx, strangerKey{}, who)
	}
	return ctx
}

// strangerAt is "" for this user, and where nobody tells.
func strangerAt(ctx context.Context) string {
	who, _ := ctx.Value(strangerKey{}).(string)
	return who
}
