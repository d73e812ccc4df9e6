// Package lastday counts what has happened over the last day, by quarters of an hour.
package lastday

import (
	"sync"
	"time"
)

const (
	// Quarters is how many quarters of an hour there are.
	Quarters = 96
	// Quarter is how long one is.
	Quarter = 15 * time.Minute
)

// Counter counts. The zero value has counted nothing, and is ready. It is safe for concurrent use.
type Counter struct {
	mu     sync.Mutex
	last   int64           // the quarter that is under way, counted from 1970
	counts [Quarters]int64 // of quarter n at n % Quarters
}

// Add counts n more, now.
func (c *Counter) Add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.counts[c.last%Quarters] += n
}

// Counts are those of the quarters, the oldest first; the last one is under way.
func (c *Counter) Counts() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	list := make([]int64, 0, Quarters)
	for i := c.last + 1; i <= c.last+Quarters; i++ {
		list = append(list, c.counts[i%Quarters])
	}
	return list
}

// advance forgets what is older than a day. A clock that was put back counts in the quarter that
// it had come to, until it comes there again; one that was put back by more than a day begins anew.
func (c *Counter) advance() {
	now := time.Now().Unix() / int64(Quarter/time.Second)
	if now < c.last-Quarters {
		c.counts, c.last = [Quarters]int64{}, now
	}
	for i := max(c.last+1, now-Quarters+1); i <= now; i++ {
		c.counts[i%Quarters] = 0
	}
	c.last = max(c.last, now)
}
