//go:build unix

package cli

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/ghapp-dev/ghapp/internal/deploy"
)

// printed is whether a person has seen what the command after a release says.
type printed struct{ seen atomic.Bool }

// by shows what the command after a release says to whoever has started one pass, or a
// rollback; that of a check is shown where it fails. A process that watches has a log for
// both, and so has a person who wants it (--verbose).
func (p *printed) by(c *command, log *slog.Logger, watching func() bool) func(command, line string) {
	return func(command, line string) {
		if command != "exec" || c.json || watching() || log.Enabled(context.Background(), slog.LevelInfo) {
			return
		}
		if !c.quiet {
			p.seen.Store(true)
		}
		c.progress("%s", line)
	}
}

// once takes out of an error what was seen when it was printed. A program that reads JSON
// has it in there.
func (p *printed) once(c *command, err error) error {
	if e, ok := errors.AsType[*deploy.Error](err); ok && e.Problem == deploy.ErrExec && p.seen.Load() && !c.json {
		e.Output = ""
	}
	return err
}
