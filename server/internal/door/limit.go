package door

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

// Limits are those of callers, in each of our processes. The zero value is that of New's defaults.
type Limits struct {
	// PerIdentity and PerAddress are requests in a second that an identity, and an address (of
	// IPv6, a network of /64), may make for long; for once, ten times as many. 0 means 20 and
	// 100, below 0 there is no limit.
	PerIdentity, PerAddress float64
	// InFlight is how many requests are worked on at once. 0 means 1,000.
	InFlight int
}

// most is how many identities and how many addresses are told apart. What comes beyond them
// shares one limit.
const most = 50_000

// burst is how many requests may come at once, in seconds' worth.
const burst = 10

type limits struct {
	identities, addresses *buckets
	inFlight              chan struct{}
}

func newLimits(l Limits) *limits {
	if l.PerIdentity == 0 {
		l.PerIdentity = 20
	}
	if l.PerAddress == 0 {
		l.PerAddress = 100
	}
	if l.InFlight == 0 {
		l.InFlight = 1000
	}
	return &limits{
		newBuckets(l.PerIdentity), newBuckets(l.PerAddress), make(chan struct{}, l.InFlight),
	}
}

// enter takes a place among those in flight, and leave gives it back.
func (l *limits) enter() bool {
	select {
	case l.inFlight <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *limits) leave() { <-l.inFlight }

// address returns how long to wait; 0 lets the request through.
func (l *limits) address(a netip.Addr) time.Duration {
	if !a.IsValid() {
		return 0
	}
	if a.Is6() {
		a = netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return l.addresses.take(a.String())
}

// identity returns how long to wait; 0 lets the request through.
func (l *limits) identity(c caller.Caller) time.Duration {
	return l.identities.take(c.Issuer + "\x00" + c.Subject) // no claim has a control character in it
}

// buckets are one limit for each key. They forget who has been away for long enough to be at
// the beginning again.
type buckets struct {
	perSecond rate.Limit

	mu     sync.Mutex
	known  map[[sha256.Size]byte]*rate.Limiter // of names of any length
	others *rate.Limiter                       // shared by those that are too many
	swept  time.Time
}

func newBuckets(perSecond float64) *buckets {
	b := &buckets{perSecond: rate.Limit(perSecond), known: map[[sha256.Size]byte]*rate.Limiter{}}
	b.others = b.fresh()
	return b
}

func (b *buckets) fresh() *rate.Limiter {
	return rate.NewLimiter(b.perSecond, max(1, int(b.perSecond*burst)))
}

func (b *buckets) take(name string) time.Duration {
	if b.perSecond < 0 {
		return 0
	}
	now := time.Now()
	reservation := b.limiter(sha256.Sum256([]byte(name)), now).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now) // whoever is refused has used nothing
	}
	return wait
}

func (b *buckets) limiter(key [sha256.Size]byte, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.known[key]; l != nil {
		return l
	}
	if len(b.known) >= most && now.Sub(b.swept) >= time.Second {
		b.swept = now
		for key, l := range b.known {
			if l.TokensAt(now) >= float64(l.Burst()) {
				delete(b.known, key)
			}
		}
	}
	if len(b.known) >= most {
		return b.others
	}
	b.known[key] = b.fresh()
	return b.known[key]
}
