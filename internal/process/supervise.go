package process

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
)

// StartError is a program that could not be started, for the reason of [exec.Cmd.Start].
type StartError struct{ Err error }

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.Err }

// Supervise runs a program in the place of this one, to its end: it shares the terminal,
// and gets the signals that this process gets meanwhile. The code is that of a shell: 128
// and the number of the signal that ended the program, or what it has ended with. Where ctx
// has ended before the program starts, the error is ctx's cause; one that could not be
// started is a [*StartError].
func Supervise(ctx context.Context, child *exec.Cmd) (code int, err error) {
	signals := make(chan os.Signal, 8)
	if list := caught(); len(list) > 0 { // none would stand for all that there are
		signal.Notify(signals, list...)
	}
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err := child.Start(); err != nil {
		return 0, &StartError{err}
	}
	ended := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() { passOn(signals, child.Process, ended) })
	err = child.Wait()
	close(ended)
	passing.Wait()
	return exitCode(child.ProcessState), err
}

// UntilSignal is a context that ends with one of the signals that [Supervise] passes on. None
// of them ends this process before stop is called: what is left to do once the program has
// ended is done, though another signal comes meanwhile.
func UntilSignal(ctx context.Context) (until context.Context, stop context.CancelFunc) {
	list := caught()
	if len(list) == 0 {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, list...)
}

// caught are the signals that are passed on. One that is ignored, as under nohup, stays so,
// for the program too.
func caught() []os.Signal { return slices.DeleteFunc(passedOn(), signal.Ignored) }

// passOn sends the signals to a process until that has ended.
func passOn(signals <-chan os.Signal, to *os.Process, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if !reachesAll(s) {
				_ = to.Signal(s) // it may just have ended
			}
		case <-ended:
			return
		}
	}
}

func exitCode(state *os.ProcessState) int {
	if state == nil {
		return 1
	}
	if s, killed := Signal(state); killed {
		return 128 + int(s.(syscall.Signal))
	}
	return state.ExitCode()
}
