//go:build unix

package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/watch"
)

// manager tells the service manager, where there is one, how it stands. It looks at the
// directories as little as it can: passes are many.
type manager struct {
	watching *watching
	shows    map[string]bool      // names of directories that show something
	failing  map[string]time.Time // when they are tried again
	ready    atomic.Bool
	line     string // that it was told last
}

func (m *manager) passed(t *kept, p watch.Pass) {
	if p.Outcome == watch.Failed || p.Outcome == watch.Waiting {
		m.failing[t.entry.Name] = p.Retry
	} else {
		delete(m.failing, t.entry.Name)
	}
	if !m.ready.Load() && m.allShow() {
		m.ready.Store(true)
		m.watching.command.notify("READY=1")
	}
	if line := m.text(); line != m.line {
		m.line = line
		m.watching.command.notify("STATUS=" + line)
	}
}

// allShow reports whether every directory shows something.
func (m *manager) allShow() bool {
	for _, t := range m.watching.now.Load().kept {
		if m.shows[t.entry.Name] {
			continue
		}
		if r, err := t.deploy.Published(); err != nil || r == nil {
			return false
		}
		m.shows[t.entry.Name] = true
	}
	return true
}

// text is the state of all in a few words, for systemctl status.
func (m *manager) text() string {
	kept := m.watching.now.Load().kept
	text := fmt.Sprintf("%d directories are kept", len(kept))
	if !m.ready.Load() {
		text += "; not all show something yet"
	}
	n, next := 0, time.Time{}
	for _, t := range kept {
		again, fails := m.failing[t.entry.Name]
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

// watchdog tells the service manager, as often as that wants it, that the loop answers
// (sd_watchdog_enabled(3)).
func (w *watching) watchdog(ctx context.Context) {
	text, _ := w.command.lookup("WATCHDOG_USEC")
	pid, given := w.command.lookup("WATCHDOG_PID")
	usec, err := strconv.ParseInt(text, 10, 64)
	const longest = int64(24 * time.Hour / time.Microsecond) // more is as good as none
	if err != nil || usec <= 0 || usec > longest || given && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	half := time.Duration(usec) * time.Microsecond / 2
	for tick := time.NewTicker(half); ; {
		asked, cancel := context.WithTimeout(ctx, half)
		if w.watcher.Alive(asked) {
			w.command.notify("WATCHDOG=1")
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
