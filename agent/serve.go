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
)

const (
	// maxExchanges is how many connections are served at once; the system holds
	// the others back. git asks for one credential per process, and a recursive
	// clone runs a handful of processes.
	maxExchanges = 64
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
	Credential(ctx context.Context, operation credential.Operation, request *credential.Credential) (*credential.Credential, error)
}

// Serve answers the clients of l with h until l is closed, when the exchanges
// that run are finished, or ctx ends, when they are broken off. It closes l and
// returns when the last of them is over. The error is nil unless l failed.
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

	free := make(chan struct{}, maxExchanges)
	for {
		free <- struct{}{}
		conn, err := l.Accept()
		switch {
		case err == nil:
			exchanges.Go(func() {
				defer func() { <-free }()
				exchange(ctx, listening, conn, h)
			})
			continue
		case errors.Is(err, net.ErrClosed):
			return nil
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE):
			return err
		}
		<-free
		select {
		case <-time.After(acceptPause):
		case <-ctx.Done():
		}
	}
}

// exchange serves one connection. Nobody can be told of a failure here: the
// client is the only one concerned, and it is gone.
func exchange(ctx, listening context.Context, conn net.Conn, h Handler) {
	ctx, hangUp := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer conn.Close()
	defer hangUp()

	conn.SetReadDeadline(time.Now().Add(requestTimeout))
	stop := context.AfterFunc(listening, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	input := bufio.NewReader(conn)
	question, err := readFrame(input)
	if !stop() {
		return
	}
	var answer frame
	switch {
	case err == nil:
		conn.SetReadDeadline(time.Time{})
		watch.Go(func() {
			// The client says no more: what comes is its end.
			input.ReadByte()
			hangUp()
		})
		answer = answerTo(ctx, question, h)
	case errors.Is(err, errVersion), errors.Is(err, errFrame), errors.Is(err, errSize):
		answer = refusal(err)
	default:
		return
	}
	conn.SetWriteDeadline(time.Now().Add(answerTimeout))
	answer.writeTo(conn)
}

func answerTo(ctx context.Context, question frame, h Handler) frame {
	operation := credential.Operation(question.word)
	switch operation {
	case credential.Get, credential.Store, credential.Erase:
	default:
		return control(ctx, question, h)
	}
	request, err := credential.Parse(bytes.NewReader(question.body))
	if err != nil {
		return refusal(err)
	}
	found, err := h.Credential(ctx, operation, request)
	if err != nil {
		return refusal(err)
	}
	answer, err := frameOf(wordOK, found)
	if err != nil {
		return refusal(err)
	}
	return answer
}

func refusal(reason error) frame {
	text := oneLine(reason.Error())
	return frame{wordRefused, []byte(text[:min(len(text), credential.MaxLine)])}
}
