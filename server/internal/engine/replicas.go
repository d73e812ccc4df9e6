package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Times of the replicas.
const (
	heartbeat   = 3 * time.Second
	heartLife   = 10 * time.Second // after which a replica is not there
	memoryOfOne = 10 * time.Minute // after which a replica is gone for good
)

// replicas are who is there, of ghapp-server. The zero value knows this one alone.
type replicas struct {
	mu         sync.Mutex
	generation string               // of this one's policy
	seen       map[string]time.Time // when others, and this one, were last heard of, by ID
	policies   map[string]string    // their generations
	now        int                  // how many there were at the last look
}

// present is how many are there.
func (r *replicas) present() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.now, 1)
}

// known is how many were there of late.
func (r *replicas) known() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(len(r.seen), r.now, 1)
}

func (r *replicas) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	var generations []string
	for _, g := range r.policies {
		if g != "" && !slices.Contains(generations, g) {
			generations = append(generations, g)
		}
	}
	slices.Sort(generations)
	return Status{Replicas: max(r.now, 1), Known: max(len(r.seen), r.now, 1), Generations: generations}
}

// heard notes who is there now: generations by the ID of a replica.
func (r *replicas) heard(there map[string]string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]time.Time{}
	}
	for id := range there {
		r.seen[id] = now
	}
	for id, at := range r.seen {
		if now.Sub(at) > memoryOfOne {
			delete(r.seen, id)
		}
	}
	r.policies, r.now = there, len(there)
}

// left forgets replicas that have said that they go.
func (r *replicas) left(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, id)
}

// Announce tells the other replicas which generation of the policy this one has. Where they differ
// [Engine.Status] shows it.
func (e *Engine) Announce(ctx context.Context, generation string) error {
	e.others.mu.Lock()
	e.others.generation = e.keys[0].name("generation", generation)[:16]
	e.others.mu.Unlock()
	return e.beat(ctx)
}

// The subject of a replica that is there is replica.ID.GENERATION, so that one request lists all.
const (
	here         = "replica."
	noGeneration = "none"
)

// beat says that this replica is there, and looks who else is.
func (e *Engine) beat(ctx context.Context) error {
	e.others.mu.Lock()
	generation := e.others.generation
	e.others.mu.Unlock()
	if generation == "" {
		generation = noGeneration
	}
	if err := e.put(ctx, &e.work, here+e.id+"."+generation, nil, heartLife); err != nil {
		return err
	}
	there := map[string]string{}
	err := e.do(ctx, func(ctx context.Context) error {
		subject := e.work.subject(here + ">")
		info, err := (*e.work.stream.Load()).Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return err
		}
		for name := range info.State.Subjects {
			id, generation, _ := strings.Cut(strings.TrimPrefix(name, strings.TrimSuffix(subject, ">")), ".")
			if generation != noGeneration {
				there[id] = generation
			} else if there[id] == "" {
				there[id] = ""
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, ok := there[e.id]; !ok {
		return errors.New("this replica is not among those that are there")
	}
	there[e.id] = e.others.generation
	e.others.heard(there, time.Now())
	return nil
}

// heartbeat says every few seconds that this replica is there.
func (e *Engine) heartbeat(ctx context.Context) {
	again := time.NewTicker(heartbeat)
	defer again.Stop()
	for {
		if err := e.beat(ctx); err != nil && ctx.Err() == nil {
			e.log.Debug("the other replicas are not told that this one is here", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// leave says that this replica goes, so that nothing of a limit is kept for it.
func (e *Engine) leave(ctx context.Context) {
	if e.embedded != nil {
		return
	}
	err := e.do(ctx, func(ctx context.Context) error {
		return (*e.work.stream.Load()).Purge(ctx, jetstream.WithPurgeSubject(e.work.subject(here+e.id+".>")))
	})
	if err == nil {
		_ = e.conn.Publish(e.news(newsLeft), []byte(e.id))
		_ = e.conn.FlushTimeout(patience)
	}
}
