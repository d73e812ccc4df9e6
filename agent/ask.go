package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
)

// ErrUnavailable says that a socket cannot be connected to: it does not exist,
// or the process that made it is gone.
var ErrUnavailable = errors.New("no agent")

// ErrHungUp says that the agent closed the connection without a whole answer, as one
// does that is killed.
var ErrHungUp = errors.New("hung up before it answered")

// RefusedError is the answer of an agent that is responsible for a request and
// will not give a credential.
type RefusedError struct {
	Reason string // one line, without control characters
}

// Error returns the reason.
func (e *RefusedError) Error() string { return e.Reason }

// Client is a connection to an agent. It serves for one [Client.Ask].
type Client struct{ conn net.Conn }

// Dial connects to the agent that listens on the socket path. It does not wait:
// the system connects at once or not at all.
//
// The error wraps [ErrUnavailable] if none listens there. It does not if the
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
	err := checkOwner(path, uid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := checkPeer(conn, uid); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Client{conn}, nil
}

// Ask sends the request for the operation get, store or erase and returns the
// answer, which is the zero Credential if the agent is not responsible for the
// request or has nothing to say. It waits as long as ctx allows, and closes c.
//
// The error is a [*RefusedError] if the agent refused; otherwise the exchange
// failed and nothing is known. It wraps [ErrHungUp] if the agent went away.
func (c *Client) Ask(ctx context.Context, operation credential.Operation, request *credential.Credential) (*credential.Credential, error) {
	question, err := frameOf(string(operation), request)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("agent: %w", err)
	}
	answer, err := c.exchange(ctx, question)
	if err != nil {
		return nil, err
	}
	found, err := credential.Parse(bytes.NewReader(answer.body))
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return found, nil
}

// exchange sends the question, waits for the answer that is no refusal, and closes c.
func (c *Client) exchange(ctx context.Context, question frame) (frame, error) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := c.roundTrip(question)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer: %w", context.Cause(ctx))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		err = fmt.Errorf("%w: %w", ErrHungUp, err)
	}
	return frame{}, fmt.Errorf("agent: %w", err)
}

func (c *Client) roundTrip(question frame) (frame, error) {
	if err := question.writeTo(c.conn); err != nil {
		return frame{}, err
	}
	answer, err := readFrame(bufio.NewReader(c.conn))
	if err != nil {
		return frame{}, err
	}
	switch answer.word {
	case wordOK:
		return answer, nil
	case wordRefused:
		return frame{}, &RefusedError{oneLine(string(answer.body))}
	}
	return frame{}, errFrame
}

// Close ends the connection. Closing again does nothing.
func (c *Client) Close() error {
	if err := c.conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Ask is [Dial] and [Client.Ask] in one.
func Ask(ctx context.Context, path string, operation credential.Operation, request *credential.Credential) (*credential.Credential, error) {
	c, err := Dial(path)
	if err != nil {
		return nil, err
	}
	return c.Ask(ctx, operation, request)
}
