//go:build unix

package syncer

import (
	"cmp"
	"maps"
	"net/http"
	"strconv"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/lastday"
)

// rateLimits are what the answers of REST APIs have said last of the budget of requests
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
type rateLimits struct {
	points lastday.Counter // a point for each answer that tells of a budget

	mu   sync.Mutex
	last map[budget]rateLimit
}

// budget is what requests count against: core, graphql and so on.
type budget struct{ host, resource string }

func (b budget) compare(other budget) int {
	return cmp.Or(cmp.Compare(b.host, other.host), cmp.Compare(b.resource, other.resource))
}

// rateLimit is how many requests an hour there are, how many are left, and when, in seconds
// since 1970, there are as many again.
type rateLimit struct{ limit, remaining, reset int64 }

// all is a copy of all of them.
func (l *rateLimits) all() map[budget]rateLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.last)
}

// observe looks at the answers that come by a transport.
func (l *rateLimits) observe(transport http.RoundTripper) http.RoundTripper {
	return observing{transport, l}
}

type observing struct {
	http.RoundTripper
	limits *rateLimits
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
func (l *rateLimits) note(host string, header http.Header) {
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
		l.last = map[budget]rateLimit{}
	}
	l.last[budget{host, cmp.Or(header.Get("X-RateLimit-Resource"), "core")}] = rateLimit{limit, remaining, reset}
}
