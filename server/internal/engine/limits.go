package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// Callers limits those who ask, over all replicas.
type Callers struct {
	Engine *Engine
	// PerMinute is how many tokens one caller may ask for in a minute.
	PerMinute int
}

// Spend counts a token for a caller, whichever rule grants it. It returns for how long to wait where
// there is none left: 0 where there is.
func (l Callers) Spend(ctx context.Context, c caller.Caller, _ policy.Grant) (wait time.Duration) {
	wait, ok := l.Engine.take(ctx, limit{name: "caller/" + identity(c), most: l.PerMinute, window: time.Minute})
	if ok {
		return 0
	}
	return max(wait, time.Second)
}

// GitHub takes about 180 requests for a token in a minute from one App before it refuses by its
// secondary limit. Fewer in shorter windows stay below that, and nobody waits long.
const (
	mintWindow = 10 * time.Second
	mints      = 25 // in each
)

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

// spend takes one request of an installation's budget, of which other replicas spend as well, and
// whoever has its tokens. Where nothing is left the error is a [*BusyError]. Of a budget that
// nobody has seen yet nothing is known, and there is no limit.
func (e *Engine) spend(ctx context.Context, app string, installation int64) error {
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

// observe corrects an installation's budget by the headers of an answer that came to one of its
// tokens. Headers of an answer to the App's own JWT tell of another budget, and are not for here.
func (e *Engine) observe(ctx context.Context, app string, installation int64, h http.Header) error {
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
