package mirror

import (
	"errors"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// writePause lies between two writings of what is remembered, each of which waits for the disk.
const writePause = time.Second

// pending is what is to be written of a [State]. Records are written as they were when they were
// put there: who works on one goes on changing it.
type pending struct {
	store   *Store
	host    func() string
	present func() *fault.ExitError // why there is nothing to write to; nil: there is

	mu      sync.Mutex
	changed changes
	wrote   time.Time
}

func (p *pending) put(r *Record) {
	now := *r
	p.set(r.ID, &now)
}

// forget has a record taken out.
func (p *pending) forget(id int64) { p.set(id, nil) }

func (p *pending) set(id int64, r *Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed.repositories == nil {
		p.changed.repositories = map[int64]*Record{}
	}
	p.changed.repositories[id] = r
}

func (p *pending) putInstallation(i *Installation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed.installations == nil {
		p.changed.installations = map[int64]*Installation{}
	}
	p.changed.installations[i.ID] = i
}

func (p *pending) putPass(last *LastPass) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.pass = last
}

// write writes it, unless that was done less than a pause ago.
func (p *pending) write(pause time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	nothing := len(p.changed.repositories) == 0 && len(p.changed.installations) == 0 && p.changed.pass == nil
	if nothing || time.Since(p.wrote) < pause {
		return nil
	}
	if gone := p.present(); gone != nil {
		return gone
	}
	if err := p.store.write(p.host(), p.changed); errors.Is(err, syscall.ENOSPC) {
		return diag.During(diag.Mirroring, filepath.Dir(p.store.Path), err)
	} else if err != nil {
		return &fault.ExitError{Code: fault.Failed, Err: err,
			Hint: "the mirrors are whole; the next run compares them anew"}
	}
	p.changed, p.wrote = changes{}, time.Now()
	return nil
}
