//go:build unix

package cli

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// mirrorBoard shows a person how a pass gets on: one line for the whole, and one for each
// transfer. Nil: nobody is there, or a log is written.
type mirrorBoard struct {
	board *term.Board

	mu      sync.Mutex
	began   time.Time
	planned int
	done    int
	bytes   int64
	now     map[string]*transfer
	stop    chan struct{}
	stopped chan struct{}
}

// transfer is one under way.
type transfer struct {
	name   string
	began  time.Time
	bytes  int64
	sizeKB int64 // that GitHub tells; 0: it is no measure
}

const (
	// redraw lies between two drawings.
	redraw = 200 * time.Millisecond
	// lasting is how long a transfer is under way until it has a line.
	lasting = 500 * time.Millisecond
	// mostLines is how many transfers have one.
	mostLines = 12
)

// mirrorBoard is the board of a run. What else is told is told above it.
func (c *command) mirrorBoard(o config.MirrorProcess) *mirrorBoard {
	name, _ := c.lookup("TERM")
	if !term.Is(c.Stderr) || c.json || c.quiet || c.verbose || o.Watch || o.LogFormat != "" || name == "dumb" {
		return nil
	}
	terminal := c.Stderr
	b := &mirrorBoard{board: &term.Board{W: terminal, Width: func() int { return term.Width(terminal) }}}
	c.Stderr = b.board
	return b
}

func (b *mirrorBoard) observer() mirror.Observer {
	if b == nil {
		return mirror.Observer{}
	}
	locked := func(do func()) {
		b.mu.Lock()
		defer b.mu.Unlock()
		do()
	}
	return mirror.Observer{
		Planned: func(n int) { locked(func() { b.planned = n }) },
		Began: func(name string, sizeKB int64) {
			locked(func() { b.now[name] = &transfer{name: name, began: time.Now(), sizeKB: sizeKB} })
		},
		Received: func(name string, bytes int64) {
			locked(func() {
				if t := b.now[name]; t != nil {
					b.bytes += max(bytes-t.bytes, 0)
					t.bytes = bytes
				}
			})
		},
		Ended: func(out mirror.Outcome) {
			locked(func() {
				delete(b.now, out.Record.Name)
				b.done++
			})
		},
	}
}

// begin begins to draw a pass.
func (b *mirrorBoard) begin() {
	if b == nil {
		return
	}
	b.began, b.planned, b.done, b.bytes, b.now = time.Now(), 0, 0, 0, map[string]*transfer{}
	b.stop, b.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(b.stopped)
		defer b.board.Clear()
		ticks := time.NewTicker(redraw)
		defer ticks.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-ticks.C:
				b.board.Draw(b.lines(time.Now())...)
			}
		}
	}()
}

// end takes it away.
func (b *mirrorBoard) end() {
	if b == nil {
		return
	}
	close(b.stop)
	<-b.stopped
}

// lines are what is shown at a time.
func (b *mirrorBoard) lines(now time.Time) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	took := now.Sub(b.began)
	if b.planned == 0 {
		return []string{fmt.Sprintf("asking GitHub what there is … %s", took.Round(time.Second))}
	}
	whole := fmt.Sprintf("%d of %d, %s", b.done, b.planned, text.Size(b.bytes))
	if seconds := took.Seconds(); seconds > 1 {
		whole += fmt.Sprintf(", %s/s", text.Size(int64(float64(b.bytes)/seconds)))
	}
	if b.done > 0 && b.done < b.planned && took > 3*time.Second {
		left := time.Duration(float64(took) / float64(b.done) * float64(b.planned-b.done))
		whole += ", about " + left.Round(time.Second).String() + " left"
	}
	lines := []string{whole}
	var list []*transfer
	for _, t := range b.now {
		if now.Sub(t.began) >= lasting {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *transfer) int {
		return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.name, b.name))
	})
	for _, t := range list[:min(len(list), mostLines)] {
		line := fmt.Sprintf("  %s  %s", t.name, text.Size(t.bytes))
		if t.sizeKB > 0 {
			line += " of about " + text.Size(t.sizeKB<<10)
		}
		if seconds := now.Sub(t.began).Seconds(); t.bytes > 0 {
			line += fmt.Sprintf(", %s/s", text.Size(int64(float64(t.bytes)/seconds)))
		}
		lines = append(lines, line)
	}
	return lines
}

// mirrorLog is the log of a run.
func (c *command) mirrorLog(o config.MirrorProcess) *slog.Logger {
	return c.syncLog(config.SyncProcess{Watch: o.Watch, LogFormat: o.LogFormat})
}
