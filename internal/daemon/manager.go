package daemon

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/agent"
)

// Manager is the service manager that started this process: systemd, or what stands in its place
// (sd_notify(3)). Where there is none, nobody is told.
type Manager struct {
	log       *slog.Logger
	lookupEnv func(name string) (value string, set bool)
	ready     atomic.Bool
	line      string // that it was told last
}

// Notify tells it a state. That it cannot be told is no failure.
func (m *Manager) Notify(state string) {
	if err := agent.Notify(m.lookupEnv, state); err != nil {
		m.log.Warn(err.Error())
	}
}

// Ready tells it that the process is ready, where that is new.
func (m *Manager) Ready() {
	if !m.ready.Swap(true) {
		m.Notify("READY=1")
	}
}

// IsReady reports whether it was told so.
func (m *Manager) IsReady() bool { return m.ready.Load() }

// Status tells it how things stand, in a line for systemctl status, where that is new. It is not
// for several goroutines at once.
func (m *Manager) Status(line string) {
	if line != m.line {
		m.line = line
		m.Notify("STATUS=" + line)
	}
}

// Watchdog tells it, as often as it wants that, that the work's loop is alive
// (sd_watchdog_enabled(3)), until ctx ends.
func (m *Manager) Watchdog(ctx context.Context, alive func(context.Context) bool) {
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
			m.Notify("WATCHDOG=1")
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
