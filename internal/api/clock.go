package api

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock is GitHub's clock as far as this process knows it: the local clock plus
// the offset measured from the Date header of GitHub's answers. GitHub judges a
// JWT and a token's expiry by its own clock, so ours do too. The zero value is
// the local clock, not yet measured. It is safe for concurrent use.
type Clock struct {
	offset   atomic.Int64 // nanoseconds to add to the local clock
	measured atomic.Bool
}

// MaxOffset is how far a server's clock may be from ours to be believed. It has room for a
// machine that takes the time of its zone for UTC, up to 14 hours. A JWT is good at the
// times that stand in it: one that is signed for next year, because an answer named that
// date, would serve anyone who has copied it then.
const MaxOffset = 15 * time.Hour

// Now is the time at GitHub.
func (c *Clock) Now() time.Time { return time.Now().Add(c.Offset()) }

// Offset is what has to be added to the local clock. It is 0 where both agree as
// far as the one-second resolution of Date can tell, or where nothing has been
// measured.
func (c *Clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

// Measured reports whether an answer of GitHub has been seen.
func (c *Clock) Measured() bool { return c.measured.Load() }

// Assume sets an offset measured earlier, by another process say, unless this
// process has measured one itself. One beyond [MaxOffset] is not believed.
func (c *Clock) Assume(offset time.Duration) {
	if !c.Measured() && Believable(offset) {
		c.offset.Store(int64(offset))
	}
}

// observe keeps what [Measure] finds, and returns it. What is beyond [MaxOffset] changes
// nothing.
func (c *Clock) observe(header http.Header, sent, received time.Time) time.Duration {
	offset, _, ok := Measure(header, sent, received)
	if ok && Believable(offset) {
		c.offset.Store(int64(offset))
		c.measured.Store(true)
	}
	return offset
}

// Believable reports whether a server's clock may be so far from ours.
func Believable(offset time.Duration) bool { return -MaxOffset <= offset && offset <= MaxOffset }

// Measure returns what has to be added to the local clock to get that of the server
// whose answer came at received to a request that left at sent, and by how much that
// may be wrong either way. Date (RFC 9110 section 6.6.1) is cut to whole seconds, so the
// server's time lies in [date, date+1s); an offset of 0 is returned wherever that
// interval allows it, so that a right clock never jitters. An answer without a Date, or
// from a cache, whose date is that of an older one, measures nothing; nor does one that
// came before the request left.
func Measure(header http.Header, sent, received time.Time) (offset, uncertain time.Duration, ok bool) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || header.Get("Age") != "" || sent.IsZero() || received.Before(sent) {
		return 0, 0, false
	}
	least, most := date.Sub(received), date.Add(time.Second).Sub(sent)
	uncertain = (most - least) / 2
	if least > 0 || most < 0 {
		offset = least + uncertain // their sum may be more than a Duration holds
	}
	return offset, uncertain, true
}
