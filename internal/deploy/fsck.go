//go:build unix

package deploy

import (
	"context"
	"errors"

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
	return ok && len(missing) == 0 && gitcmd.OnlyWriting(e)
}
