package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/wait"
)

// keyHolder is who signs, in what is told of waiting.
const keyHolder = "whoever holds the key to sign"

// waiting tells what one call waits for, once, and only if the wait is long. It is as
// silent again for the next calls until GitHub has answered: a whole command says it
// once, and a process that runs for months once for each time that GitHub was away.
type waiting struct {
	client *Client
	began  time.Time
	timer  *time.Timer

	mu    sync.Mutex // held while something is told
	what  string
	ended bool
}

// wait begins a call. It must be ended.
func (c *Client) wait(ctx context.Context) *waiting {
	w := &waiting{client: c, began: time.Now(), what: c.base.Host}
	w.timer = time.AfterFunc(wait.Patience, func() {
		if ctx.Err() == nil {
			w.tell()
		}
	})
	return w
}

// forWhat says whose turn it is.
func (w *waiting) forWhat(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what = what
}

// pause is told of a wait before the next attempt.
func (w *waiting) pause(next time.Duration, err error) {
	left := max(wait.Patience-time.Since(w.began), 0)
	if next > left {
		w.timer.Stop() // it is told here
	}
	if next <= left || !w.tell(slog.Duration("wait", next.Round(time.Second)), slog.Any("error", err)) {
		w.client.Log.Info("waiting to try again", "wait", next.Round(time.Millisecond), "error", err)
	}
}

func (w *waiting) tell(details ...any) (told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.client.toldWaiting.Swap(true) {
		return false
	}
	w.client.Log.Warn("waiting for "+w.what, details...)
	return true
}

// end is the end of the call: nothing is told of it any more.
func (w *waiting) end(err error) {
	w.timer.Stop()
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	if err == nil {
		w.client.toldWaiting.Store(false)
	}
}
