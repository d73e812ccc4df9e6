package door

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
)

// problem is an answer that is no token, RFC 6749 section 5.2.
type problem struct {
	status      int
	code        string
	description string
	retryAfter  time.Duration // 0: nothing is said
}

// Error is for problems of a request's form, which are found where it is read.
func (p *problem) Error() string { return p.description }

var (
	// refused is what everybody is told who is refused, RFC 8693 section 2.2.2.
	refused = &problem{http.StatusBadRequest, "invalid_request",
		"refused; the server's audit log has the reason under this id", 0}
	failed       = &problem{http.StatusInternalServerError, "server_error", "the server failed; its log has this id", 0}
	fromBrowser  = &problem{http.StatusForbidden, "invalid_request", "this is not for browsers", 0}
	wrongHost    = &problem{http.StatusMisdirectedRequest, "invalid_request", "no such host here", 0}
	notFromProxy = &problem{http.StatusForbidden, "invalid_request", "not by way of a proxy that is known here", 0}
	busy         = &problem{http.StatusServiceUnavailable, "temporarily_unavailable",
		"too many requests at once", time.Second}
)

// malformed is a request that is none, by itself: it says nothing about us.
func malformed(description string) *problem {
	return &problem{http.StatusBadRequest, "invalid_request", description, 0}
}

func slowDown(wait time.Duration) *problem {
	return &problem{http.StatusTooManyRequests, "slow_down", "too many requests; wait as long as Retry-After says", wait}
}

func later(wait time.Duration) *problem {
	return &problem{http.StatusServiceUnavailable, "temporarily_unavailable",
		"it cannot be done now; try again when Retry-After has passed", wait}
}

// retryAfter is told where nobody knows better.
const retryAfter = 5 * time.Second

// problemOf is what the caller is told of an error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if _, ok := errors.AsType[*caller.Refused](err); ok {
		return refused
	}
	if e, ok := errors.AsType[*exchange.Error](err); ok {
		wait := e.RetryAfter
		if wait <= 0 {
			wait = retryAfter
		}
		switch e.Outcome {
		case exchange.Refused:
			return refused
		case exchange.Limited:
			return slowDown(wait)
		case exchange.Unavailable:
			return later(wait)
		}
	}
	for _, passes := range []error{caller.ErrIssuerUnreachable, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, passes) {
			return later(retryAfter)
		}
	}
	return failed
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter, id string) {
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		ID          string `json:"id"`
	}{p.code, p.description, id})
	if err != nil {
		panic(err)
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	w.Write(body)
}

// step is what the time to a refusal is a multiple of. What has to ask GitHub first takes
// longer than a look at the rules; that is nobody's business either.
const step = 500 * time.Millisecond

// refuse answers with what an error comes to. A refusal leaves at a step's end, and holds no
// place in flight while it waits.
func (v *visit) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	p := problemOf(err)
	if p == refused {
		left := step - time.Since(v.began)%step
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	p.write(w, v.id)
}
