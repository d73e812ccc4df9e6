package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// GitHub takes about 180 requests for a token in a minute from one App before it refuses by its
// secondary limit. Fewer in shorter windows stay below that, and nobody waits long.
const (
	mintWindow = 10 * time.Second
	mints      = 25 // in each
)

// mintLimit is how many tokens of an App are asked for.
func mintLimit(app string) limit {
	return limit{name: "mint/" + app, most: mints, window: mintWindow}
}

// Mints returns a transport for an App's client in which requests for a token queue, over all
// replicas, below GitHub's secondary limit. Other requests go through. Where the caller's
// deadline comes first, the error is a [*BusyError].
func (e *Engine) Mints(app string, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &mintQueue{e, app, base}
}

type mintQueue struct {
	engine *Engine
	app    string
	base   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (q *mintQueue) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/access_tokens") {
		if err := q.engine.queue(req.Context(), mintLimit(q.app), "mint a token of App "+q.app); err != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, err
		}
	}
	return q.base.RoundTrip(req)
}

// Caller counts a request of a caller, by all replicas together, at most so many in a minute. Above
// that the error is a [*BusyError].
func (e *Engine) Caller(ctx context.Context, identity string, perMinute int) error {
	l := limit{name: "caller/" + identity, most: perMinute, window: time.Minute}
	if after, ok := e.take(ctx, l); !ok {
		return &BusyError{"requests of this caller", after}
	}
	return nil
}

// Budget is an installation's requests of an hour, as GitHub told them last.
type Budget struct {
	Limit     int       `json:"limit"`
	Remaining int       `json:"remaining"`
	Reset     time.Time `json:"reset"`
}

// budgetKey is the entry of an installation's budget.
func (e *Engine) budgetKey(app string, installation int64) string {
	return "budget." + e.keys[0].name("budget", app, strconv.FormatInt(installation, 10))
}

// Budget returns what is known of an installation's budget, and ok where anything is: what any
// replica has seen of it.
func (e *Engine) Budget(ctx context.Context, app string, installation int64) (b Budget, ok bool) {
	found, err := e.get(ctx, &e.work, e.budgetKey(app, installation))
	if err != nil || found.revision == 0 || json.Unmarshal(found.value, &b) != nil || !b.Reset.After(time.Now()) {
		return Budget{}, false
	}
	return b, true
}

// Spend takes one request of an installation's budget, of which other replicas spend as well, and
// whoever has its tokens. Where nothing is left the error is a [*BusyError]. Of a budget that
// nobody has seen yet nothing is known, and there is no limit.
func (e *Engine) Spend(ctx context.Context, app string, installation int64) error {
	b, ok := e.Budget(ctx, app, installation)
	if !ok {
		return nil
	}
	if b.Remaining <= 0 {
		return &BusyError{"requests of this installation", time.Until(b.Reset)}
	}
	const hour = time.Hour
	l := limit{
		name: "core/" + app + "/" + strconv.FormatInt(installation, 10), most: b.Limit, window: hour,
		shift: time.Duration(b.Reset.UnixNano()) % hour,
	}
	if after, ok := e.take(ctx, l); !ok {
		return &BusyError{"requests of this installation", after}
	}
	return nil
}

// Observe corrects an installation's budget by the headers of an answer that came to one of its
// tokens. Headers of an answer to the App's own JWT tell of another budget, and are not for here.
func (e *Engine) Observe(ctx context.Context, app string, installation int64, h http.Header) error {
	if resource := h.Get("X-Ratelimit-Resource"); resource != "" && resource != "core" {
		return nil
	}
	limit, err1 := strconv.Atoi(h.Get("X-Ratelimit-Limit"))
	remaining, err2 := strconv.Atoi(h.Get("X-Ratelimit-Remaining"))
	reset, err3 := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64)
	now := time.Now()
	seen := Budget{limit, remaining, time.Unix(reset, 0)}
	if errors.Join(err1, err2, err3) != nil || limit <= 0 || remaining < 0 || remaining > limit ||
		seen.Reset.Before(now) || seen.Reset.After(now.Add(2*time.Hour)) {
		return nil // no limit, or no answer of GitHub's
	}
	value, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	key := e.budgetKey(app, installation)
	for range 5 {
		found, err := e.get(ctx, &e.work, key)
		if err != nil {
			return err
		}
		var b Budget
		if found.revision > 0 && json.Unmarshal(found.value, &b) == nil &&
			(b.Reset.After(seen.Reset) || b.Reset.Equal(seen.Reset) && b.Remaining <= seen.Remaining) {
			return nil // an answer that has overtaken this one
		}
		if _, err := e.replace(ctx, &e.work, key, value, found.revision, 2*time.Hour); !errors.Is(err, errTaken) {
			return err
		}
	}
	return nil // those who were quicker have seen the same
}

// Once reports whether nobody has come with this ID of an issuer's yet, on any replica, until the
// time at which the token ends that it is of. Where the engine cannot be asked the error says so:
// whether another replica has seen it nobody can tell then.
func (e *Engine) Once(ctx context.Context, issuer, id string, until time.Time) (bool, error) {
	const most = 24 * time.Hour // no issuer's token of a job lives longer
	life := min(max(time.Until(until)+time.Minute, time.Minute), most)
	_, err := e.replace(ctx, &e.work, "once."+e.keys[0].name("once", issuer, id), []byte{}, 0, life)
	if errors.Is(err, errTaken) {
		return false, nil
	}
	return err == nil, err
}
