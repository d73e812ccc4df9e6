package engine

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// tokenLife is how long an entry of a [Store] is kept: as long as a token lives at most.
const tokenLife = time.Hour

// Times of the lock under which one replica mints for all.
const (
	lockLife  = 3 * time.Second        // after the holder was last heard of
	lockPause = 20 * time.Millisecond  // between two looks whether it is free
	lockWidth = 100 * time.Millisecond // the longest of these pauses
)

// Store returns the store of what one generation of the policy has authorised. An entry of
// another generation is in no answer of it.
func (e *Engine) Store(generation string) *Store { return &Store{e, generation} }

// Store is a [ghapp.Store] that all replicas share, and a [ghapp.Purger]. Where the engine is
// away it has nothing, and its updates exclude each other in this process alone.
type Store struct {
	engine     *Engine
	generation string
}

var _ ghapp.Purger = (*Store)(nil)

// tokens is the part of the bucket in which tokens are, and locks that of their locks.
const (
	tokens = "token."
	locks  = "lock."
)

func (s *Store) name(k *sealKey, key string) string { return k.name("token", s.generation, key) }

// Get implements [ghapp.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	value, _, err := s.find(ctx, key)
	return value, err
}

// find returns the value of an entry that is good, and the revision of one that is not as well.
func (s *Store) find(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	for i := range s.engine.keys {
		k := &s.engine.keys[i]
		name := s.name(k, key)
		found, err := s.engine.get(ctx, &s.engine.work, tokens+name)
		if err != nil {
			return nil, 0, err
		}
		if value, ok := k.open(name, found.value); ok {
			return value, found.revision, nil
		}
		revision = max(revision, found.revision)
	}
	return nil, revision, nil
}

// Update implements [ghapp.Store].
func (s *Store) Update(ctx context.Context, key string,
	fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	k := &s.engine.keys[0]
	name := s.name(k, key)
	release, err := s.engine.turns.wait(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	unlock, err := s.engine.lock(ctx, name)
	if err != nil && ctx.Err() != nil {
		return err
	}
	// Where there is no lock to be had we go on alone: a second mint is waste, and no harm.
	defer unlock()
	old, revision, findErr := s.find(ctx, key)
	if findErr != nil && ctx.Err() != nil {
		return findErr
	}
	next, err := fn(ctx, bytes.Clone(old))
	switch {
	case err != nil:
		return err
	case next == nil && revision == 0:
		return findErr
	case next == nil:
		return s.engine.drop(ctx, &s.engine.work, revision)
	case old != nil && bytes.Equal(next, old):
		return nil
	}
	sealed := k.seal(name, next, time.Now().Add(tokenLife))
	return s.engine.put(ctx, &s.engine.work, tokens+name, sealed, tokenLife)
}

// Purge implements [ghapp.Purger], for entries of all generations.
func (s *Store) Purge(ctx context.Context, gone func(entry []byte) bool) error {
	var failed error
	err := s.engine.scan(ctx, &s.engine.work, tokens+"*", func(key string, found entry) {
		for i := range s.engine.keys {
			value, ok := s.engine.keys[i].open(key[len(tokens):], found.value)
			if ok && gone(value) {
				failed = errors.Join(failed, s.engine.drop(ctx, &s.engine.work, found.revision))
			}
		}
	})
	return errors.Join(err, failed)
}

// lock takes the lock of an entry, which is held by one replica at a time, and waits for it as long
// as the context lasts. unlock may always be called. A replica that is killed holds it for lockLife.
func (e *Engine) lock(ctx context.Context, name string) (unlock func(), err error) {
	for pause := lockPause; ; pause = min(pause*2, lockWidth) {
		revision, err := e.replace(ctx, &e.work, locks+name, []byte(e.id), 0, lockLife)
		if err == nil {
			return e.hold(ctx, name, revision), nil
		}
		if !errors.Is(err, errTaken) {
			return func() {}, err
		}
		select {
		case <-ctx.Done():
			return func() {}, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// hold keeps a lock alive until it is given back.
func (e *Engine) hold(ctx context.Context, name string, revision uint64) (unlock func()) {
	ctx = context.WithoutCancel(ctx)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		again := time.NewTicker(lockLife / 3)
		defer again.Stop()
		for {
			select {
			case <-end:
				return
			case <-again.C:
			}
			next, err := e.replace(ctx, &e.work, locks+name, []byte(e.id), revision, lockLife)
			if errors.Is(err, errTaken) {
				return // we were too slow, and another has it
			}
			if err == nil {
				revision = next
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		// One that cannot be given back ends by itself.
		_ = e.drop(ctx, &e.work, revision)
	}
}

// turns have one goroutine at a time do something of a name. The zero value is ready.
type turns struct {
	mu      sync.Mutex
	waiting map[string]*turn
}

type turn struct {
	free  chan struct{}
	users int
}

// wait waits until nobody else has the name.
func (t *turns) wait(ctx context.Context, name string) (release func(), err error) {
	t.mu.Lock()
	if t.waiting == nil {
		t.waiting = map[string]*turn{}
	}
	mine := t.waiting[name]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.waiting[name] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.waiting, name)
		}
	}
	select {
	case <-mine.free:
		return func() { mine.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
