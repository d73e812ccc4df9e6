package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// Outcome is what the caller is told of an error: nothing else.
type Outcome int

// The outcomes.
const (
	// Refused is no, whatever the reason.
	Refused Outcome = iota
	// Limited is no for a while, since the caller has had too many.
	Limited
	// Unavailable is no for a while, since something that is needed does not work.
	Unavailable
)

// Error is why there is no token. Its text is for the log and the audit alone: it says what
// the policy is, and what there is at GitHub.
type Error struct {
	Outcome    Outcome
	ID         string        // of the request, by which the audit explains it
	RetryAfter time.Duration // 0: nobody knows
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// classify finds out what to tell the caller: by who has to act, and whether it helps to try
// again. What was granted and is not there at GitHub is refused as that which was not granted.
func classify(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Outcome: Refused, Err: err}
	limit, limited := errors.AsType[*ghapp.RateLimitError](err)
	kind := ghapp.KindOf(err)
	switch kind {
	case ghapp.ErrRateLimited:
		e.Outcome, e.RetryAfter = Unavailable, time.Minute
		if limited {
			e.RetryAfter = max(time.Until(limit.Until), time.Second)
		}
	case ghapp.ErrTokenUnknown:
		e.Outcome, e.RetryAfter = Unavailable, 5*time.Second
	case ghapp.ErrUnreachable, ghapp.ErrUntrusted, ghapp.ErrTooBroad, ghapp.ErrTokenRefused,
		ghapp.ErrKey, ghapp.ErrKeyMismatch, ghapp.ErrAppUnknown, ghapp.ErrClockOff:
		e.Outcome = Unavailable
	}
	if kind == "" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		e.Outcome = Unavailable
	}
	return e
}
