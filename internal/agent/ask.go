package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
)

// Client is a connection to an agent. It serves for one [Client.Ask].
type Client struct{ conn agentproto.Conn }

// Dial connects to the agent that listens on the socket path. It does not wait:
// the system connects at once or not at all.
//
// The error wraps [agentproto.ErrUnavailable] if none listens there. It does not if the
// socket, its directory or the process behind it belongs to another user, or if
// other users could have put it there.
func Dial(path string) (*Client, error) {
	client, err := dial(path, os.Geteuid())
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return client, nil
}

func dial(path string, uid int) (*Client, error) {
	conn, err := agentproto.Dial(path, uid)
	if err != nil {
		return nil, err
	}
	return &Client{conn}, nil
}

// Ask sends the request for the operation get, store or erase and returns the
// answer, which is the zero Credential if the agent is not responsible for the
// request or has nothing to say. It waits as long as ctx allows, and closes c.
//
// The error is an [*agentproto.RefusedError] if the agent refused; otherwise the exchange
// failed and nothing is known. It wraps [agentproto.ErrHungUp] if the agent went away.
func (c *Client) Ask(ctx context.Context, operation credential.Operation,
	request *credential.Credential) (*credential.Credential, error) {
	answer, err := agentproto.Ask(ctx, c.conn, operation, request)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return answer, nil
}

// exchange sends the question, waits for the answer that is no refusal, and closes c.
func (c *Client) exchange(ctx context.Context, question agentproto.Frame) (agentproto.Frame, error) {
	answer, err := agentproto.Do(ctx, c.conn, question)
	if err != nil {
		return agentproto.Frame{}, fmt.Errorf("agent: %w", err)
	}
	return answer, nil
}

// Close ends the connection. Closing again does nothing.
func (c *Client) Close() error {
	if err := c.conn.Close(); !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Ask is [Dial] and [Client.Ask] in one.
func Ask(ctx context.Context, path string, operation credential.Operation,
	request *credential.Credential) (*credential.Credential, error) {
	c, err := Dial(path)
	if err != nil {
		return nil, err
	}
	return c.Ask(ctx, operation, request)
}

// SocketPath returns where the one agent of a user listens: ghapp/agent.sock in the
// first of these directories that there is.
//
//   - $XDG_RUNTIME_DIR, if it is this user's: a program that sudo started may have
//     another's
//   - /run/user/UID, where systemd puts it for those who have no such variable
//   - $XDG_CACHE_HOME, and where that is not set, ~/.cache, ~/Library/Caches on macOS
//     and %LocalAppData% on Windows
//
// The environment is read by lookup, as by os.LookupEnv; a directory in it that is
// not absolute counts as not set, as the XDG Base Directory Specification asks. The
// result is "" where there is none at all.
func SocketPath(lookup func(string) (string, bool)) string { return agentproto.SocketPath(lookup) }
