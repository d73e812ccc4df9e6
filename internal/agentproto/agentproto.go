// Package agentproto is how a credential helper asks an agent: the frames that travel,
// which package agent documents, the socket they travel over, and the client's half
// of the conversation.
//
// git starts a helper anew for every question, twice in an operation, and most of the
// helper's life is its start. So this package, unlike package agent, which listens as
// well, does without package net.
package agentproto

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/text"
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

// Conn is a net.Conn as far as one exchange needs it. It is good for one.
type Conn interface {
	io.ReadWriteCloser
	// SetDeadline bounds every wait from now on. A time that has passed ends one
	// that another goroutine is in.
	SetDeadline(time.Time) error
}

// Dial connects to the agent of the user uid that listens on the socket path. It does
// not wait: the system connects at once or not at all.
//
// The error wraps [ErrUnavailable] if none listens there. It does not if the
// socket, its directory or the process behind it belongs to another user, or if
// other users could have put it there.
func Dial(path string, uid int) (Conn, error) {
	err := checkOwner(path, uid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return nil, err
	}
	conn, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := CheckPeer(conn, uid); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return conn, nil
}

// Ask sends the request for the operation get, store or erase and returns the
// answer, which is the zero Credential if the agent is not responsible for the
// request or has nothing to say. Its errors are those of [Do]. It closes conn.
func Ask(ctx context.Context, conn Conn, operation credential.Operation,
	request *credential.Credential) (*credential.Credential, error) {
	question, err := Of(string(operation), request)
	if err != nil {
		conn.Close()
		return nil, err
	}
	answer, err := Do(ctx, conn, question)
	if err != nil {
		return nil, err
	}
	return credential.Parse(bytes.NewReader(answer.Body))
}

// Do sends the question and waits for the answer, as long as ctx and the deadline of
// conn allow, and closes conn.
//
// The error is a [*RefusedError] if the agent refused; otherwise the exchange
// failed and nothing is known. It wraps [ErrHungUp] if the agent went away.
func Do(ctx context.Context, conn Conn, question Frame) (Frame, error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := roundTrip(conn, question)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer: %w", context.Cause(ctx))
	case os.IsTimeout(err):
		err = fmt.Errorf("no answer: %w", os.ErrDeadlineExceeded)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		err = fmt.Errorf("%w: %w", ErrHungUp, err)
	}
	return Frame{}, err
}

func roundTrip(conn Conn, question Frame) (Frame, error) {
	if err := question.Write(conn); err != nil {
		return Frame{}, err
	}
	answer, err := Read(bufio.NewReader(conn))
	if err != nil {
		return Frame{}, err
	}
	switch answer.Word {
	case OK:
		return answer, nil
	case Refused:
		return Frame{}, &RefusedError{text.OneLine(string(answer.Body))}
	}
	return Frame{}, ErrFrame
}
