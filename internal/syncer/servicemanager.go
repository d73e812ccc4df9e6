//go:build unix

package syncer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// serviceManager tells systemd, or what stands in its place, how it stands (sd_notify(3)). It
// looks at the directories as little as it can: passes are many.
type serviceManager struct {
	log       *slog.Logger
	lookupEnv func(name string) (value string, set bool)
	all       func() []*directory
	shows     map[string]bool      // names of directories that show something
	failing   map[string]time.Time // when they are tried again
	ready     atomic.Bool
	line      string // that it was told last
}

func newServiceManager(
	log *slog.Logger, lookupEnv func(string) (string, bool), all func() []*directory,
) *serviceManager {
	return &serviceManager{
		log: log, lookupEnv: lookupEnv, all: all, failing: map[string]time.Time{}, shows: map[string]bool{},
	}
}

// notify tells it a state. That it cannot be told is no failure.
func (m *serviceManager) notify(state string) {
	if err := agent.Notify(m.lookupEnv, state); err != nil {
		m.log.Warn(err.Error())
	}
}

func (m *serviceManager) onPass(d *directory, p watch.Pass) {
	if p.Outcome == watch.Failed || p.Outcome == watch.Waiting {
		m.failing[d.entry.Name] = p.Retry
	} else {
		delete(m.failing, d.entry.Name)
	}
	if !m.ready.Load() && m.allShow() {
		m.ready.Store(true)
		m.notify("READY=1")
	}
	if line := m.text(); line != m.line {
		m.line = line
		m.notify("STATUS=" + line)
	}
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
	if !m.ready.Load() {
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

// watchdog tells the service manager, as often as that wants it, that the loop is alive
// (sd_watchdog_enabled(3)).
func (m *serviceManager) watchdog(ctx context.Context, alive func(context.Context) bool) {
	text, _ := m.lookupEnv("WATCHDOG_USEC")
	pid, given := m.lookupEnv("WATCHDOG_PID")
	usec, err := strconv.ParseInt(text, 10, 64)
	const longest = int64(24 * time.Hour / time.Microsecond) // more is as good as none
	if err != nil || usec <= 0 || usec > longest || given && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	half := time.Duration(usec) * time.Microsecond / 2
	for tick := time.NewTicker(half); ; {
		asked, cancel := context.WithTimeout(ctx, half)
		if alive(asked) {
			m.notify("WATCHDOG=1")
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}
