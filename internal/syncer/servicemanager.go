//go:build unix

package syncer

import (
	"fmt"
	"time"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// serviceManager tells the service manager how the directories stand. It looks at them as little
// as it can: passes are many.
type serviceManager struct {
	*daemon.Manager
	all     func() []*directory
	shows   map[string]bool      // names of directories that show something
	failing map[string]time.Time // when they are tried again
}

func newServiceManager(m *daemon.Manager, all func() []*directory) *serviceManager {
	return &serviceManager{Manager: m, all: all, failing: map[string]time.Time{}, shows: map[string]bool{}}
}

func (m *serviceManager) onPass(d *directory, p watch.Pass) {
	if p.Outcome == watch.Failed || p.Outcome == watch.Waiting {
		m.failing[d.entry.Name] = p.Retry
	} else {
		delete(m.failing, d.entry.Name)
	}
	if !m.IsReady() && m.allShow() {
		m.Ready()
	}
	m.Status(m.text())
}

// allShow reports whether every directory shows something.
func (m *serviceManager) allShow() bool {
	for _, d := range m.all() {
		if m.shows[d.entry.Name] {
			continue
		}
		if r, err := d.deploy.Published(); err != nil || r == nil {
			return false
		}
		m.shows[d.entry.Name] = true
	}
	return true
}

// text is the state of all in a few words, for systemctl status.
func (m *serviceManager) text() string {
	directories := m.all()
	text := fmt.Sprintf("%d directories are kept", len(directories))
	if !m.IsReady() {
		text += "; not all show something yet"
	}
	n, next := 0, time.Time{}
	for _, d := range directories {
		again, fails := m.failing[d.entry.Name]
		if !fails {
			continue
		}
		n++
		if next.IsZero() || again.Before(next) {
			next = again
		}
	}
	if n > 0 {
		text += fmt.Sprintf("; %d fail, and the next is tried again at %s", n, next.Format(time.RFC3339))
	}
	return text
}
