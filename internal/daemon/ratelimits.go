package daemon

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/lastday"
	"github.com/ghapp-dev/ghapp/internal/page"
)

// RateLimits are what the answers of REST APIs have said last of the budget of requests
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api). The zero value
// knows of none. It is safe for concurrent use.
type RateLimits struct {
	points lastday.Counter // a point for each answer that tells of a budget

	mu   sync.Mutex
	last map[budget]RateLimit
}

// budget is what requests count against: core, graphql and so on.
type budget struct{ host, resource string }

// RateLimit is how many requests an hour there are, how many are left, and when there are as many
// again.
type RateLimit struct {
	Host, Resource   string
	Limit, Remaining int64
	Reset            time.Time
}

// All are all of them, in the order of their hosts and resources.
func (l *RateLimits) All() []RateLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.last), func(a, b RateLimit) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Resource, b.Resource))
	})
}

// Activity is what a page tells of them, beside the bytes that came.
func (l *RateLimits) Activity(bytes *lastday.Counter) page.Activity {
	a := page.Activity{Bytes: bytes.Counts(), Points: l.points.Counts()}
	for _, r := range l.All() {
		a.Budgets = append(a.Budgets, page.Budget{
			Host: r.Host, Resource: r.Resource, Limit: r.Limit, Left: r.Remaining, Reset: r.Reset,
		})
	}
	return a
}

// Observe looks at the answers that come by a transport.
func (l *RateLimits) Observe(transport http.RoundTripper) http.RoundTripper {
	return observing{transport, l}
}

type observing struct {
	http.RoundTripper
	limits *RateLimits
}

// RoundTrip implements [http.RoundTripper].
func (o observing) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := o.RoundTripper.RoundTrip(r)
	if err == nil {
		o.limits.note(r.URL.Host, answer.Header)
	}
	return answer, err
}

// note notes what an answer says, if it says anything.
func (l *RateLimits) note(host string, header http.Header) {
	number := func(name string) (int64, bool) {
		n, err := strconv.ParseInt(header.Get(name), 10, 64)
		return n, err == nil && n >= 0
	}
	limit, said := number("X-RateLimit-Limit")
	remaining, left := number("X-RateLimit-Remaining")
	reset, known := number("X-RateLimit-Reset")
	if !said || !left || !known {
		return
	}
	l.points.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[budget]RateLimit{}
	}
	resource := cmp.Or(header.Get("X-RateLimit-Resource"), "core")
	l.last[budget{host, resource}] = RateLimit{host, resource, limit, remaining, time.Unix(reset, 0)}
}
