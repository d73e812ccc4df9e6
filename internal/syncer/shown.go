//go:build unix

package syncer

import (
	"errors"
	"sync/atomic"

	"github.com/ghapp-dev/ghapp/internal/deploy"
)

// Shown shows a person what the command after a release prints, and keeps an error from
// repeating it. That of a check is shown where it fails.
type Shown struct {
	// Show shows a line, and reports whether it was shown. Nil: nobody is there.
	Show func(line string) bool

	seen atomic.Bool
}

// Printed is told of each line that a command prints; see [deploy.Target].
func (s *Shown) Printed(command, line string) {
	if command == "exec" && s.Show != nil && s.Show(line) {
		s.seen.Store(true)
	}
}

// Once takes out of an error what was shown already.
func (s *Shown) Once(err error) error {
	if e, ok := errors.AsType[*deploy.Error](err); ok && e.Problem == deploy.ErrExec && s.seen.Load() {
		e.Output = ""
	}
	return err
}
