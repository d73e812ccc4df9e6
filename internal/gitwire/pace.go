package gitwire

import (
	"fmt"
	"time"
)

const (
	// slowest is how many bytes of a pack a second have to come in the long run, once it has begun: that
	// of a few minutes is no matter of chance.
	slowest = 1000
	// paceStalls is how many times that a server may take, with ever a byte in time, for as much as is
	// slowest for that long.
	paceStalls = 10
)

// pace ends an answer that never stops coming and gets nowhere, which no silence ends: that of a
// byte a second. Only the time counts that is waited for the server.
type pace struct {
	within time.Duration // a step has to be done; 0: in any time
	step   int64         // bytes of what is wanted
	what   string        // is wanted

	came   int64 // of the step
	waited time.Duration
}

// wait counts time, and is an error where it is too much.
func (p *pace) wait(d time.Duration) error {
	if p.waited += d; p.within <= 0 || p.waited <= p.within {
		return nil
	}
	return fmt.Errorf("only %d bytes of %s have come in %s", p.came, p.what, p.within)
}

// count counts bytes of what is wanted.
func (p *pace) count(n int) {
	if p.came += int64(n); p.came >= p.step {
		p.came, p.waited = 0, 0
	}
}
