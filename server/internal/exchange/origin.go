package exchange

import (
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// origins remembers since when tokens have been here, so that the audit tells one that was got for a
// caller from one that was there. The time at which a token was minted does not: GitHub tells it in
// whole seconds. The zero value is ready.
type origins struct {
	mu     sync.Mutex
	tokens map[string]origin // by the hash of the token
}

type origin struct{ since, until time.Time }

// of is where a token came from for a caller who began to wait for it at that time: it was "minted";
// "merged", where another who asked for the same meanwhile had it minted; or "cached".
func (o *origins) of(hash string, t *ghapp.Token, began time.Time) string {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.tokens[hash]; ok {
		if began.Before(known.since) && !t.FromStore() {
			return "merged"
		}
		return "cached"
	}
	if o.tokens == nil {
		o.tokens = map[string]origin{}
	}
	if len(o.tokens)%100 == 99 {
		for hash, one := range o.tokens {
			if one.until.Before(now) {
				delete(o.tokens, hash)
			}
		}
	}
	o.tokens[hash] = origin{now, now.Add(t.Life())}
	if t.FromStore() {
		return "cached"
	}
	return "minted"
}
