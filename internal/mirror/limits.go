package mirror

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// budget is what is left of the requests that an installation may make in an hour, as answers
// have told it
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#primary-rate-limit-for-github-app-installations).
type budget struct {
	leave int // that others need

	mu   sync.Mutex
	left map[string]allowance // by resource: core, graphql
}

// allowance is that of one resource.
type allowance struct {
	limit, remaining int
	reset            time.Time
}

// budgetKey finds the budget in the context of a request.
type budgetKey struct{}

// within has requests with the context counted against the budget.
func (b *budget) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// spare is an error where so little is left that it belongs to others. Of a budget that is not
// twice what they need, half is theirs.
func (b *budget) spare() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.left {
		if leave := min(b.leave, a.limit/2); a.remaining <= leave && time.Now().Before(a.reset) {
			return &ghapp.Error{
				Kind: ghapp.ErrRateLimited, Op: "go on asking for this installation",
				Err: errors.New("of its hourly budget " + strconv.Itoa(a.remaining) + " requests are left, and " +
					strconv.Itoa(leave) + " of them are left to others (--leave)"),
				Detail: &ghapp.RateLimitError{Until: a.reset},
			}
		}
	}
	return nil
}

func (b *budget) note(h http.Header) {
	limit, err1 := strconv.Atoi(h.Get("X-RateLimit-Limit"))
	remaining, err2 := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	reset, err3 := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if errors.Join(err1, err2, err3) != nil || limit < 0 || remaining < 0 {
		return
	}
	// The clock of the server may be another: nothing is waited for longer than an hour.
	until := time.Unix(min(reset, time.Now().Add(time.Hour).Unix()), 0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == nil {
		b.left = map[string]allowance{}
	}
	b.left[h.Get("X-RateLimit-Resource")] = allowance{limit, remaining, until}
}

// counting counts the requests to the API, and has budgets noted.
type counting struct {
	http.RoundTripper
	calls *atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	b, ours := r.Context().Value(budgetKey{}).(*budget)
	uncounted := r.Context().Value(uncountedKey{}) != nil
	if !uncounted && !strings.HasSuffix(r.URL.Path, "/git-upload-pack") && !strings.HasSuffix(r.URL.Path, "/info/refs") {
		c.calls.Add(1)
	}
	answer, err := c.RoundTripper.RoundTrip(r)
	if err == nil && ours {
		b.note(answer.Header)
	}
	return answer, err
}

// gate has the transfers of an installation wait while GitHub wants to be asked less.
type gate struct {
	mu    sync.Mutex
	until time.Time
}

// longestGate is the longest that a transfer waits for the others' limit.
const longestGate = 15 * time.Minute

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		left := time.Until(g.until)
		g.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if err := wait.Sleep(ctx, left); err != nil {
			return err
		}
	}
}

// close closes the gate for as long as a limit says, and reports whether waiting makes sense.
func (g *gate) close(err error) bool {
	if !errors.Is(err, ghapp.ErrRateLimited) {
		return false
	}
	until := time.Now().Add(time.Minute) // GitHub: wait for at least one minute
	if limit, ok := errors.AsType[*ghapp.RateLimitError](err); ok {
		until = limit.Until
	}
	if time.Until(until) > longestGate {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until = until
	}
	return true
}
