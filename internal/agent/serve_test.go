package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

type pipes struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case err := <-p.errs:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// controlled is a Controller.
type controlled struct {
	handlerFunc
	status string
	err    error
	stop   func()
	forget func(token string)
}

func (c controlled) Status(context.Context) ([]byte, error) { return []byte(c.status), c.err }

func (c controlled) Stop(context.Context) error {
	if c.stop != nil {
		c.stop()
	}
	return c.err
}

func (c controlled) Forget(_ context.Context, token secret.Text) error {
	if c.forget != nil {
		c.forget(token.Reveal())
	}
	return c.err
}

func TestSilentClientIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var served sync.WaitGroup
		served.Go(func() {
			serve(t.Context(), l, handlerFunc(func(context.Context, credential.Operation,
				*credential.Credential) (*credential.Credential, error) {
				t.Error("the handler was called")
				return nil, nil
			}))
		})
		conn := l.dial()
		testkit.Must(io.WriteString(conn, "ghapp-agent/1 get 100\nhost="))(t)
		asked := time.Now()
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("answered %q, %v", got, err)
		}
		testkit.Equal(t, time.Since(asked), requestTimeout, "given up after")
		l.Close()
		served.Wait()
	})
}

func TestClientThatTakesNoAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var served sync.WaitGroup
		served.Go(func() {
			serve(t.Context(), l, handlerFunc(func(context.Context, credential.Operation,
				*credential.Credential) (*credential.Credential, error) {
				return nil, nil
			}))
		})
		conn := l.dial()
		io.WriteString(conn, "ghapp-agent/1 get 0\n")
		synctest.Wait()
		asked := time.Now()
		l.Close()
		served.Wait()
		testkit.Equal(t, time.Since(asked), answerTimeout, "given up after")
	})
}

func TestSlowHandlerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var served sync.WaitGroup
		served.Go(func() {
			serve(t.Context(), l, handlerFunc(func(ctx context.Context, _ credential.Operation,
				_ *credential.Credential) (*credential.Credential, error) {
				select {
				case <-time.After(time.Hour):
				case <-ctx.Done():
				}
				return &credential.Credential{Username: "u"}, context.Cause(ctx)
			}))
		})
		got := testkit.Must((&Client{l.dial()}).Ask(t.Context(), credential.Get, request))(t)
		testkit.Equal(t, got.Username, "u")
		l.Close()
		served.Wait()
	})
}

func TestHandlerEndsWhenItsClientHangsUp(t *testing.T) {
	called, ended := make(chan struct{}), make(chan error, 1)
	l := start(t, handlerFunc(func(ctx context.Context, _ credential.Operation,
		_ *credential.Credential) (*credential.Credential, error) {
		close(called)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	}))
	ctx, hangUp := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		testkit.ErrorIs(t, testkit.ErrorOf(Ask(ctx, l.Path(), credential.Get, request)), context.Canceled, "Ask()")
	})
	<-called
	hangUp()
	testkit.ErrorIs(t, <-ended, context.Canceled, "the handler's context ended")
	asking.Wait()
}

func TestClosingFinishesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		const work = time.Hour
		served := make(chan error, 1)
		go func() {
			served <- serve(t.Context(), l, handlerFunc(func(ctx context.Context, _ credential.Operation,
				_ *credential.Credential) (*credential.Credential, error) {
				time.Sleep(work)
				return &credential.Credential{Username: "u"}, ctx.Err()
			}))
		}()
		// One client has not said what it wants, and one waits for its answer.
		silent := l.dial()
		began := time.Now()
		var asking sync.WaitGroup
		asking.Go(func() {
			got, err := (&Client{l.dial()}).Ask(t.Context(), credential.Get, request)
			if err != nil || got.Username != "u" {
				t.Errorf("Ask() = %v, %v", got, err)
			}
		})
		synctest.Wait()
		l.Close()
		if got, err := io.ReadAll(silent); len(got) > 0 || err != nil || time.Since(began) > 0 {
			t.Errorf("the silent client was told %q, %v after %v", got, err, time.Since(began))
		}
		if err := <-served; err != nil || time.Since(began) != work {
			t.Errorf("Serve returned %v after %v", err, time.Since(began))
		}
		asking.Wait()
	})
}

func TestEndOfContextBreaksOffWhatRuns(t *testing.T) {
	l := testkit.Must(Listen(t.TempDir()))(t)
	ctx, cancel := context.WithCancel(t.Context())
	called, served := make(chan struct{}), make(chan error)
	go func() {
		served <- Serve(ctx, l, handlerFunc(func(ctx context.Context, _ credential.Operation,
			_ *credential.Credential) (*credential.Credential, error) {
			close(called)
			<-ctx.Done()
			return nil, errors.New("shutting down")
		}))
	}()
	go func() { <-called; cancel() }()
	// A refusal would keep the client from asking anybody else.
	testkit.ErrorIs(t, testkit.ErrorOf(Ask(t.Context(), l.Path(), credential.Get, request)),
		agentproto.ErrHungUp, "Ask()")
	testkit.OK(t, <-served)
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(l.Path())), os.ErrNotExist, "the socket is left behind")
	testkit.ErrorIs(t, testkit.ErrorOf(Ask(t.Context(), l.Path(), credential.Get, request)),
		agentproto.ErrUnavailable, "Ask()")
}

// crowd is more clients than are worked for at once, each of whom waits.
type crowd struct {
	*pipes
	served, asking sync.WaitGroup
	running, most  atomic.Int64
	called         atomic.Int64
	finish         chan struct{} // lets all who are worked for have their answer
}

const beyond = 5 // of a crowd, who wait for their turn

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{pipes: newPipes(), finish: make(chan struct{})}
	h := handlerFunc(func(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error) {
		c.called.Add(1)
		c.most.Store(max(c.most.Load(), c.running.Add(1)))
		<-c.finish
		c.running.Add(-1)
		return nil, nil
	})
	c.served.Go(func() {
		if err := serve(t.Context(), c.pipes, controlled{handlerFunc: h, status: "{}",
			stop: func() { c.Close() }}); err != nil {
			t.Error(err)
		}
	})
	for range maxCredentials + beyond {
		c.asking.Go(func() {
			if _, err := (&Client{c.dial()}).Ask(t.Context(), credential.Get, request); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	return c
}

func TestQuestionsWorkedOnAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		testkit.Equal(t, c.running.Load(), maxCredentials, "are worked on")
		close(c.finish)
		c.asking.Wait()
		testkit.Equal(t, c.most.Load(), maxCredentials, "were worked on at once")
		c.Close()
		c.served.Wait()
	})
}

// GitHub hangs, and so does all that git asks: what goes on can be seen, and ended.
func TestStatusAndStopWaitForNoQuestionOfGits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		begun := time.Now()
		testkit.Equal(t, string(testkit.Must((&Client{c.dial()}).Status(t.Context()))(t)), "{}", "Status()")
		testkit.OK(t, (&Client{c.dial()}).Stop(t.Context()), "Stop()")
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("they took %s", waited)
		}
		// Those who wait for their turn have been heard, and are not let down.
		close(c.finish)
		c.asking.Wait()
		c.served.Wait()
	})
}

func TestWhoLeavesBeforeItsTurnIsNotWorkedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		ctx, leave := context.WithCancel(t.Context())
		var leaving sync.WaitGroup
		leaving.Go(func() {
			if _, err := (&Client{c.dial()}).Ask(ctx, credential.Get, request); !errors.Is(err, context.Canceled) {
				t.Errorf("Ask() = %v", err)
			}
		})
		synctest.Wait()
		leave()
		leaving.Wait()
		synctest.Wait()
		close(c.finish)
		c.asking.Wait()
		c.Close()
		c.served.Wait()
		testkit.Equal(t, c.called.Load(), maxCredentials+beyond, "were worked for")
	})
}

func TestServeWaitsForFileDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		served := make(chan error)
		go func() {
			served <- serve(t.Context(), l, handlerFunc(func(context.Context, credential.Operation,
				*credential.Credential) (*credential.Credential, error) {
				return &credential.Credential{Username: "u"}, nil
			}))
		}()
		began := time.Now()
		const failures = 5
		for range failures {
			l.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		}
		if got, err := (&Client{l.dial()}).Ask(t.Context(), credential.Get, request); err != nil || got.Username != "u" {
			t.Errorf("Ask() = %v, %v", got, err)
		}
		testkit.Equal(t, time.Since(began), failures*acceptPause, "waited")
		broken := errors.New("broken")
		l.errs <- broken
		testkit.ErrorIs(t, <-served, broken, "serve()")
		testkit.ErrorIs(t, testkit.ErrorOf(l.Accept()), net.ErrClosed, "the listener is still open")
	})
}
