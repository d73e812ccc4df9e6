package watch

import (
	"context"
	"sync"
)

// Queue has work done for keys as soon as it is asked for, and never for one key twice at the
// same time. However often it is asked for while it is under way, it is done once more after
// that. Its fields are not to be changed once it is used.
type Queue[K comparable] struct {
	// Work does the work.
	Work func(ctx context.Context, key K) error
	// Jobs is for how many keys work is done at the same time. 0: [DefaultJobs].
	Jobs int
	// Most is how many may wait for an outcome. 0: none.
	Most int

	mu      sync.Mutex
	ctx     context.Context     // of Run; nil: it does not run
	waiting map[K][]func(error) // for work that has not begun
	order   []K                 // of those, the oldest first
	working map[K]bool
	waiters int
	running sync.WaitGroup
}

// Add asks for work that begins after this, and reports whether there is room. It does not wait:
// done is called once, with the outcome, or with the cause of the ctx of [Queue.Run].
func (q *Queue[K]) Add(key K, done func(error)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiters >= q.Most || q.ctx != nil && q.ctx.Err() != nil {
		return false
	}
	q.waiters++
	if q.waiting == nil {
		q.waiting, q.working = map[K][]func(error){}, map[K]bool{}
	}
	if _, known := q.waiting[key]; !known {
		q.order = append(q.order, key)
	}
	q.waiting[key] = append(q.waiting[key], done)
	q.begin()
	return true
}

// Run has work done until ctx ends, and returns once none is under way.
func (q *Queue[K]) Run(ctx context.Context) {
	q.mu.Lock()
	q.ctx = ctx
	q.begin()
	q.mu.Unlock()
	<-ctx.Done()
	q.running.Wait()
	q.mu.Lock()
	waiting := q.waiting
	q.waiting, q.order = nil, nil
	q.mu.Unlock()
	for _, list := range waiting {
		for _, done := range list {
			done(context.Cause(ctx))
		}
	}
}

// begin begins what can be begun. The lock is held.
func (q *Queue[K]) begin() {
	if q.ctx == nil || q.ctx.Err() != nil {
		return
	}
	jobs := q.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	for i := 0; i < len(q.order) && len(q.working) < jobs; {
		key := q.order[i]
		if q.working[key] {
			i++ // once more after this time
			continue
		}
		done := q.waiting[key]
		delete(q.waiting, key)
		q.order = append(q.order[:i], q.order[i+1:]...)
		q.working[key] = true
		q.running.Go(func() { q.work(key, done) })
	}
}

func (q *Queue[K]) work(key K, done []func(error)) {
	err := q.Work(q.ctx, key)
	q.mu.Lock()
	delete(q.working, key)
	q.waiters -= len(done)
	q.begin()
	q.mu.Unlock()
	for _, f := range done {
		f(err)
	}
}
