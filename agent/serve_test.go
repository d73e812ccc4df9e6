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
			serve(t.Context(), l, handlerFunc(func(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error) {
				t.Error("the handler was called")
				return nil, nil
			}))
		})
		conn := l.dial()
		if _, err := io.WriteString(conn, "ghapp-agent/1 get 100\nhost="); err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("answered %q, %v", got, err)
		}
		if waited := time.Since(asked); waited != requestTimeout {
			t.Errorf("given up after %v, want %v", waited, requestTimeout)
		}
		l.Close()
		served.Wait()
	})
}

func TestClientThatTakesNoAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var served sync.WaitGroup
		served.Go(func() {
			serve(t.Context(), l, handlerFunc(func(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error) {
				return nil, nil
			}))
		})
		conn := l.dial()
		io.WriteString(conn, "ghapp-agent/1 get 0\n")
		synctest.Wait()
		asked := time.Now()
		l.Close()
		served.Wait()
		if waited := time.Since(asked); waited != answerTimeout {
			t.Errorf("given up after %v, want %v", waited, answerTimeout)
		}
	})
}

func TestSlowHandlerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var served sync.WaitGroup
		served.Go(func() {
			serve(t.Context(), l, handlerFunc(func(ctx context.Context, _ credential.Operation, _ *credential.Credential) (*credential.Credential, error) {
				select {
				case <-time.After(time.Hour):
				case <-ctx.Done():
				}
				return &credential.Credential{Username: "u"}, context.Cause(ctx)
			}))
		})
		got, err := (&Client{l.dial()}).Ask(t.Context(), credential.Get, request)
		if err != nil || got.Username != "u" {
			t.Errorf("Ask() = %v, %v", got, err)
		}
		l.Close()
		served.Wait()
	})
}

func TestHandlerEndsWhenItsClientHangsUp(t *testing.T) {
	called, ended := make(chan struct{}), make(chan error, 1)
	l := start(t, handlerFunc(func(ctx context.Context, _ credential.Operation, _ *credential.Credential) (*credential.Credential, error) {
		close(called)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	}))
	ctx, hangUp := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := Ask(ctx, l.Path(), credential.Get, request); !errors.Is(err, context.Canceled) {
			t.Errorf("Ask() = %v", err)
		}
	})
	<-called
	hangUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	asking.Wait()
}

func TestClosingFinishesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		const work = time.Hour
		served := make(chan error, 1)
		go func() {
			served <- serve(t.Context(), l, handlerFunc(func(ctx context.Context, _ credential.Operation, _ *credential.Credential) (*credential.Credential, error) {
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
	l, err := Listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	called, served := make(chan struct{}), make(chan error)
	go func() {
		served <- Serve(ctx, l, handlerFunc(func(ctx context.Context, _ credential.Operation, _ *credential.Credential) (*credential.Credential, error) {
			close(called)
			<-ctx.Done()
			return nil, errors.New("shutting down")
		}))
	}()
	go func() { <-called; cancel() }()
	// A refusal would keep the client from asking anybody else.
	if _, err := Ask(t.Context(), l.Path(), credential.Get, request); !errors.Is(err, ErrHungUp) {
		t.Errorf("Ask() = %v, want ErrHungUp", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if _, err := Ask(t.Context(), l.Path(), credential.Get, request); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Ask() = %v, want ErrUnavailable", err)
	}
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
		if err := serve(t.Context(), c.pipes, controlled{handlerFunc: h, status: "{}", stop: func() { c.Close() }}); err != nil {
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
		if got := c.running.Load(); got != maxCredentials {
			t.Errorf("%d are worked on, want %d", got, maxCredentials)
		}
		close(c.finish)
		c.asking.Wait()
		if got := c.most.Load(); got != maxCredentials {
			t.Errorf("%d were worked on at once, want %d", got, maxCredentials)
		}
		c.Close()
		c.served.Wait()
	})
}

// GitHub hangs, and so does all that git asks: what goes on can be seen, and ended.
func TestStatusAndStopWaitForNoQuestionOfGits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		begun := time.Now()
		if got, err := (&Client{c.dial()}).Status(t.Context()); err != nil || string(got) != "{}" {
			t.Errorf("Status() = %q, %v", got, err)
		}
		if err := (&Client{c.dial()}).Stop(t.Context()); err != nil {
			t.Errorf("Stop() = %v", err)
		}
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
		if got := c.called.Load(); got != maxCredentials+beyond {
			t.Errorf("%d were worked for, want %d", got, maxCredentials+beyond)
		}
	})
}

func TestServeWaitsForFileDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		served := make(chan error)
		go func() {
			served <- serve(t.Context(), l, handlerFunc(func(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error) {
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
		if waited := time.Since(began); waited != failures*acceptPause {
			t.Errorf("waited %v", waited)
		}
		broken := errors.New("broken")
		l.errs <- broken
		if err := <-served; !errors.Is(err, broken) {
			t.Errorf("serve() = %v, want %v", err, broken)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is still open: %v", err)
		}
	})
}
