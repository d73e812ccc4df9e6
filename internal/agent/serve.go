package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/text"
)

const (
	// maxCredentials is how many questions of git's are worked on at once; those
	// beyond it wait for their turn. git asks for one credential per process, and a
	// recursive clone runs a handful of processes. Who asks the agent about itself
	// waits for none of them: it may want to know why they take so long.
	maxCredentials = 64
	// requestTimeout is how long a client may take to say what it wants, and
	// answerTimeout how long to take the answer.
	requestTimeout = 30 * time.Second
	answerTimeout  = 10 * time.Second
	// acceptPause is the wait after a lack of file descriptors.
	acceptPause = 100 * time.Millisecond
)

// Handler answers requests. It is called from several goroutines at once.
type Handler interface {
	// Credential answers one request; operation is Get, Store or Erase. It
	// returns the answer, nil if it is not responsible for what the request is
	// about or has nothing to say, or an error to refuse: the error's text is
	// shown to the user, and git asks no one else. ctx ends when the client no
	// longer waits.
	Credential(ctx context.Context, operation credential.Operation,
		request *credential.Credential) (*credential.Credential, error)
}

// Serve answers the clients of l with h until l is closed, when the exchanges
// that run are finished, or ctx ends, when they are broken off: their clients get no
// answer, and so can ask elsewhere. It closes l and returns when the last exchange is
// over. The error is nil unless l failed.
func Serve(ctx context.Context, l *Listener, h Handler) error { return serve(ctx, l, h) }

func serve(ctx context.Context, l net.Listener, h Handler) error {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	// Clients who have not yet said what they want are not waited for.
	listening, stopListening := context.WithCancel(ctx)
	var exchanges sync.WaitGroup
	defer exchanges.Wait()
	defer stopListening()

	b := bounded{h, make(chan struct{}, maxCredentials)}
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			exchanges.Go(func() { exchange(ctx, listening, conn, b) })
			continue
		case errors.Is(err, net.ErrClosed):
			return nil
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE):
			return err
		}
		select {
		case <-time.After(acceptPause):
		case <-ctx.Done():
		}
	}
}

// bounded is a Handler with places for those who ask it for a credential.
type bounded struct {
	Handler
	places chan struct{}
}

// Credential waits for a place.
func (b bounded) Credential(ctx context.Context, operation credential.Operation,
	request *credential.Credential) (*credential.Credential, error) {
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
		return b.Handler.Credential(ctx, operation, request)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// exchange serves one connection. Nobody can be told of a failure here: the
// client is the only one concerned, and it is gone.
func exchange(ctx, listening context.Context, conn net.Conn, b bounded) {
	ctx, hangUp := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer conn.Close()
	defer hangUp()

	conn.SetReadDeadline(time.Now().Add(requestTimeout))
	stop := context.AfterFunc(listening, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	input := bufio.NewReader(conn)
	question, err := agentproto.Read(input)
	if !stop() {
		return
	}
	var answer agentproto.Frame
	switch {
	case err == nil:
		conn.SetReadDeadline(time.Time{})
		watch.Go(func() {
			// The client says no more: what comes is its end.
			_, _ = input.ReadByte()
			hangUp()
		})
		answer = answerTo(ctx, question, b)
		if ctx.Err() != nil {
			return
		}
	case errors.Is(err, agentproto.ErrVersion), errors.Is(err, agentproto.ErrFrame), errors.Is(err, agentproto.ErrSize):
		answer = refusal(err)
	default:
		return
	}
	conn.SetWriteDeadline(time.Now().Add(answerTimeout))
	_ = answer.Write(conn) // a client that has gone hears nothing
}

func answerTo(ctx context.Context, question agentproto.Frame, b bounded) agentproto.Frame {
	operation := credential.Operation(question.Word)
	switch operation {
	case credential.Get, credential.Store, credential.Erase:
	default:
		return control(ctx, question, b.Handler)
	}
	request, err := credential.Parse(bytes.NewReader(question.Body))
	if err != nil {
		return refusal(err)
	}
	found, err := b.Credential(ctx, operation, request)
	if err != nil {
		return refusal(err)
	}
	answer, err := agentproto.Of(agentproto.OK, found)
	if err != nil {
		return refusal(err)
	}
	return answer
}

func refusal(reason error) agentproto.Frame {
	line := text.Shorten(text.OneLine(reason.Error()), credential.MaxLine)
	return agentproto.Frame{Word: agentproto.Refused, Body: []byte(line)}
}
