package cli

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
)

// configWait is how long git waits for a configuration that is being read anew. Whoever
// holds a key may take longer; meanwhile the one before serves.
const configWait = 5 * time.Second

// configure reads the configuration, and has it take the place of the one before
// with everything that was made by it: Apps, keys, certificate authorities. Tokens
// are found again in the cache.
func (h *holder) configure(ctx context.Context) error {
	h.configuring.Lock()
	defer h.configuring.Unlock()
	file := h.configFile() // before it is read: what changes in between is read again
	next, err := openApps(ctx, h.command.apps().Fresh(), &h.minted)
	h.file.Store(&file)
	if err != nil {
		return err
	}
	if before := h.apps.Swap(next); before != nil {
		before.close()
	}
	return nil
}

// configFile describes the config file, or is nil where there is none.
func (h *holder) configFile() fs.FileInfo {
	if h.path == "" {
		return nil
	}
	info, err := os.Stat(h.path)
	if err != nil {
		return nil
	}
	return info
}

// reading is a configuration that is being read because its file has changed.
type reading struct {
	begun time.Time
	done  chan struct{} // closed in the end
}

// follow reads the configuration anew where its file is another than the one that was
// read. One that cannot be used is told once, and changes nothing.
func (h *holder) follow(ctx context.Context) {
	if h.upToDate() {
		return
	}
	h.mu.Lock()
	if h.upToDate() { // another reading has just ended
		h.mu.Unlock()
		return
	}
	r := h.reading
	if r == nil {
		r = &reading{time.Now(), make(chan struct{})}
		h.reading = r
		go func() {
			h.reread(context.WithoutCancel(ctx))
			h.mu.Lock()
			h.reading = nil
			h.mu.Unlock()
			close(r.done)
		}()
	}
	h.mu.Unlock()
	wait := time.NewTimer(configWait - time.Since(r.begun))
	defer wait.Stop()
	select {
	case <-r.done:
	case <-ctx.Done():
	case <-wait.C:
	}
}

func (h *holder) reread(ctx context.Context) {
	if err := h.configure(ctx); err != nil {
		h.command.log().Warn("the configuration has changed and cannot be used; it is used on as it was", "error", diag.OneLine(err))
		return
	}
	h.command.progress("The configuration has changed, and was read anew.")
}

func (h *holder) upToDate() bool { return sameFile(*h.file.Load(), h.configFile()) }

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
