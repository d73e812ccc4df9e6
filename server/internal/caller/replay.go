package caller

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Errors of [Memory.First]. Nothing is handed out then.
var (
	ErrNoID       = errors.New("the proof has no ID by which it would be known again")
	ErrMemoryFull = errors.New("no more proofs can be remembered before some of them have ended")
)

// Memory remembers proofs that serve once, until they have ended, in this process. The zero value
// is ready. It is safe for concurrent use.
type Memory struct {
	// Limit is how many are remembered; then new ones are refused, since whatever is forgotten
	// could be used again. 0 means a hundred thousand, which take 10 MB.
	Limit int

	mu    sync.Mutex
	seen  map[[sha256.Size]byte]time.Time
	swept time.Time // when those that had ended were forgotten
}

// First reports whether the caller's proof is here for the first time, and remembers it.
func (m *Memory) First(_ context.Context, c Caller) (bool, error) {
	if c.ID == "" {
		return false, ErrNoID
	}
	limit := m.Limit
	if limit == 0 {
		limit = 100_000
	}
	key, now := proofKey(c), time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if until, known := m.seen[key]; known && now.Before(until) {
		return false, nil
	}
	if m.seen == nil {
		m.seen = map[[sha256.Size]byte]time.Time{}
	}
	// A flood of new ones is not to make each of them look at all.
	if ago := now.Sub(m.swept); ago >= time.Minute || len(m.seen) >= limit && ago >= time.Second {
		m.forget(now)
	}
	if len(m.seen) >= limit {
		return false, ErrMemoryFull
	}
	m.seen[key] = c.Expires.Add(leeway)
	return true, nil
}

func (m *Memory) forget(now time.Time) {
	m.swept = now
	for key, until := range m.seen {
		if !now.Before(until) {
			delete(m.seen, key)
		}
	}
}

// proofKey has the length before each part, so that no two proofs share one.
func proofKey(c Caller) [sha256.Size]byte {
	var text []byte
	for _, part := range []string{c.Issuer, c.ID} {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	return sha256.Sum256(text)
}
