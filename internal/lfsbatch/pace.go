package lfsbatch

import (
	"context"
	"fmt"
	"time"
)

const (
	// defaultStall is how long a server may be silent.
	defaultStall = time.Minute
	// paceStalls is how many times that it may take for as much as is slowest for that long.
	paceStalls = 10
	// slowest is how many bytes a second a server is waited for in the long run.
	slowest = 1000
	// mostStalled is how many transfers in a row may end for that, until no other of the repository
	// begins.
	mostStalled = 2 * together
)

// pace ends a transfer in which nothing comes, or so little that it never ends.
type pace struct {
	stall         time.Duration
	silence, slow *time.Timer
	came, step    int64
}

func newPace(stall time.Duration, cancel context.CancelCauseFunc) *pace {
	if stall == 0 {
		stall = defaultStall
	}
	within := paceStalls * stall
	p := &pace{stall: stall, step: int64(slowest * within.Seconds())}
	p.silence = time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing has come for %s", stall)) })
	p.slow = time.AfterFunc(within, func() { cancel(fmt.Errorf("hardly anything has come for %s", within)) })
	return p
}

// count counts bytes that have come.
func (p *pace) count(n int) {
	p.silence.Reset(p.stall)
	if p.came += int64(n); p.came >= p.step {
		p.came = 0
		p.slow.Reset(paceStalls * p.stall)
	}
}

func (p *pace) end() {
	p.silence.Stop()
	p.slow.Stop()
}
