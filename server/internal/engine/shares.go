package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// BusyError says that a limit is reached, and when there is room again.
type BusyError struct {
	What  string
	After time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s: the limit is reached; there is room in %s", e.What, e.After.Round(time.Second))
}

// limit is how many of something there may be in each window of time, of all replicas together.
type limit struct {
	name   string // no secret, and nothing that a caller chose, as it is
	most   int
	window time.Duration
	shift  time.Duration // how long after full windows since 1970 a window begins
}

// at is the number of the window at a time, and how long it lasts yet.
func (l limit) at(now time.Time) (window int64, left time.Duration) {
	since := time.Duration(now.UnixNano()) - l.shift
	window = int64(since / l.window)
	return window, time.Duration(window+1)*l.window - since
}

// portions is how many slices a replica's part of a limit is leased in: one request of the engine for
// each, and not for each thing that is counted.
const portions = 4

// shares are this replica's parts of limits. The zero value is ready.
type shares struct {
	mu    sync.Mutex
	parts map[string]*share
}

// share is this replica's part of one limit.
type share struct {
	mu     sync.Mutex
	window int64
	until  time.Time
	leased int // and not used
	used   int
	alone  bool // the engine was away in this window, or has lost what it knew
	spent  bool // all replicas together have leased all of this window
}

// crowded is when to come again where others are quicker each time.
const crowded = time.Second

// maxShares is how many limits are remembered before those are forgotten whose window is over.
const maxShares = 10_000

// of returns the share of a limit, and forgets what has ended.
func (s *shares) of(l limit) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = map[string]*share{}
	}
	if len(s.parts) >= maxShares {
		now := time.Now()
		for name, part := range s.parts {
			if part.mu.TryLock() {
				if part.until.Before(now) {
					delete(s.parts, name)
				}
				part.mu.Unlock()
			}
		}
	}
	part := s.parts[l.name]
	if part == nil {
		part = &share{}
		s.parts[l.name] = part
	}
	return part
}

// take takes one of a limit. Where none is left it returns when the next window begins.
func (e *Engine) take(ctx context.Context, l limit) (after time.Duration, ok bool) {
	part := e.shares.of(l)
	part.mu.Lock()
	defer part.mu.Unlock()
	now := time.Now()
	window, left := l.at(now)
	if window > part.window {
		part.window, part.until = window, now.Add(left)
		part.leased, part.used, part.alone, part.spent = 0, 0, false, false
	}
	if part.leased == 0 && !part.alone && !part.spent {
		granted, err := e.lease(ctx, l, part)
		switch {
		case ctx.Err() != nil:
			return left, false
		case errors.Is(err, errTaken):
			return min(left, crowded), false // the engine is there: that is no reason to go on alone
		}
		part.leased, part.alone, part.spent = granted, err != nil, err == nil && granted == 0
	}
	switch {
	case part.leased > 0:
		part.leased--
	case part.alone && part.used < max(l.most/e.others.known(), 1):
	default:
		return left, false
	}
	part.used++
	return 0, true
}

// used is how much of a limit all replicas have leased.
type used struct {
	Window int64 `json:"window"`
	Used   int   `json:"used"`
}

// errLost says that the engine has forgotten what was used.
var errLost = errors.New("the engine has lost what was used of a limit")

// lease takes a slice of a limit for this replica; 0: nothing is left. Replicas that were there of
// late and are not seen now may be alive on the other side of a split, and have their part kept for
// them.
func (e *Engine) lease(ctx context.Context, l limit, part *share) (granted int, err error) {
	key := "share." + e.keys[0].name("limit", l.name)
	present, known := e.others.present(), e.others.known()
	most := max(l.most*present/known, 1)
	slice := max(most/(portions*present), 1)
	for try := range 50 {
		if try > 0 {
			time.Sleep(rand.N(5 * time.Millisecond)) // others want some as well
		}
		found, err := e.get(ctx, &e.work, key)
		if err != nil {
			return 0, err
		}
		var all used
		switch {
		case found.revision == 0 && part.used > 0:
			return 0, errLost
		case found.revision > 0 && json.Unmarshal(found.value, &all) != nil:
			return 0, errLost
		}
		if all.Window != part.window { // one that is ahead has a clock that is
			all = used{Window: part.window}
		}
		granted := min(slice, most-all.Used)
		if granted <= 0 {
			return 0, nil
		}
		all.Used += granted
		value, err := json.Marshal(all)
		if err != nil {
			return 0, err
		}
		_, err = e.replace(ctx, &e.work, key, value, found.revision, 2*l.window)
		if !errors.Is(err, errTaken) {
			return granted, err
		}
	}
	return 0, errTaken // others are quicker each time
}

// queue takes one of a limit, and waits for the next window where none is left: as long as the
// context lasts, and not at all where it ends before.
func (e *Engine) queue(ctx context.Context, l limit, what string) error {
	for {
		after, ok := e.take(ctx, l)
		if ok {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if until, bounded := ctx.Deadline(); bounded && time.Until(until) < after {
			return &BusyError{what, after}
		}
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
