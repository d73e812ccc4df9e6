package agentserver

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

// configWait is how long git waits for a configuration that is being read anew. The holder
// of a key may take longer; meanwhile the one before serves.
const configWait = 5 * time.Second

// configure reads the configuration, and has it take the place of the one before
// with everything that was made by it: Apps, keys, certificate authorities. Tokens
// are found again in the cache.
func (s *Server) configure(ctx context.Context) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	file := s.configFile() // before it is read: what changes in between is read again
	next, err := configureBy(ctx, s.opener.Fresh())
	s.file.Store(&file)
	if err != nil {
		return err
	}
	if before := s.now.Swap(next); before != nil {
		before.close()
	}
	return nil
}

// configFile describes the config file, or is nil where there is none.
func (s *Server) configFile() fs.FileInfo {
	if s.path == "" {
		return nil
	}
	info, err := os.Stat(s.path)
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
func (s *Server) follow(ctx context.Context) {
	if s.upToDate() {
		return
	}
	s.mu.Lock()
	if s.upToDate() { // another reading has just ended
		s.mu.Unlock()
		return
	}
	r := s.reading
	if r == nil {
		r = &reading{time.Now(), make(chan struct{})}
		s.reading = r
		go func() {
			s.reread(context.WithoutCancel(ctx))
			s.mu.Lock()
			s.reading = nil
			s.mu.Unlock()
			close(r.done)
		}()
	}
	s.mu.Unlock()
	wait := time.NewTimer(configWait - time.Since(r.begun))
	defer wait.Stop()
	select {
	case <-r.done:
	case <-ctx.Done():
	case <-wait.C:
	}
}

func (s *Server) reread(ctx context.Context) {
	if err := s.configure(ctx); err != nil {
		s.opener.Log.Warn("the configuration has changed and cannot be used; it is used on as it was", "error",
			diag.OneLine(err))
		return
	}
	s.opener.Tell("The configuration has changed, and was read anew.")
}

func (s *Server) upToDate() bool { return apps.SameFile(*s.file.Load(), s.configFile()) }
