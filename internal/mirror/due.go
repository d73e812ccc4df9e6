package mirror

import (
	"time"
)

// settled is how long after a push a comparison must come for the time of that push to stand for
// it: another one in the same second would not be told from it.
const settled = 2 * time.Second

// due reports whether a mirror has to be compared with GitHub ref by ref. now is this machine's.
func (r *Record) due(every time.Duration, now time.Time) bool {
	if r.Path == "" || r.Code.ComparedAt.IsZero() {
		return true
	}
	return !r.PushedAt.Equal(r.PushedThen) || r.DefaultBranch != r.BranchThen ||
		slot(r.ID, every, now) != slot(r.ID, every, r.Code.ComparedAt)
}

// wikiDue is [Record.due] for the wiki, of which GitHub gives no signal.
func (r *Record) wikiDue(every time.Duration, now time.Time) bool {
	return r.HasWiki && (r.Wiki.ComparedAt.IsZero() || slot(^r.ID, every, now) != slot(^r.ID, every, r.Wiki.ComparedAt))
}

// slot is which period of a repository's own a time is in. The periods of each begin at a
// moment that its ID chooses, so that not all are compared at once.
func slot(id int64, every time.Duration, at time.Time) int64 {
	shift := int64(mix(uint64(id)) % uint64(every))
	return (at.UnixNano() - shift) / int64(every)
}

// mix spreads IDs, of which neighbours are made at one time (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	// firstPause lies between a failure and the next try, and doubles with each.
	firstPause = 5 * time.Minute
	// longestPause is the most that lies between two.
	longestPause = 24 * time.Hour
)

// pause is how long after that many failures in a row the next try comes.
func pause(tries int) time.Duration {
	if tries > 9 {
		return longestPause
	}
	return min(firstPause<<(tries-1), longestPause)
}

// waits reports whether the next try of what failed is yet to come.
func (f *Failure) waits(now time.Time) bool { return f != nil && now.Before(f.Again) }
