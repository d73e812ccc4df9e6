//go:build unix

package deploy

import (
	"context"
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// sound reports whether all that a release needs is there, and as it should be. What git's
// check says of how an object is written is no damage: it came that way.
func (s *store) sound(ctx context.Context) bool {
	missing, err := s.git().Output(ctx, gitcmd.Scope{}, "fsck", "--no-dangling", "--no-progress")
	if err == nil || ctx.Err() != nil {
		return true
	}
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok || e.ExitCode <= 0 || len(missing) > 0 {
		return false
	}
	for line := range strings.Lines(e.Stderr) {
		line = strings.TrimSpace(line)
		kind, about, _ := strings.Cut(line, " in ")
		// The notice is that HEAD names no branch, which it never does here.
		if !strings.HasPrefix(line, "notice: ") && (about == "" || kind != "error" && kind != "warning") {
			return false
		}
	}
	return e.Stderr != ""
}
