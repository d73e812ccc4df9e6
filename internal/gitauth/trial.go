package gitauth

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
)

// Trial asks GitHub's git service whether it takes a token for a repository, with git's
// own first request. A refusal of a new token is waited out, as for git. The error is
// nil where git would get on, an [*api.NetworkError] where there was no answer, and else
// a [*ghapp.Error].
func (a *Answerer) Trial(ctx context.Context, t *ghapp.Token, r ghapp.RepositoryName) error {
	status, message, err := a.try(ctx, t, r)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		_, host, _ := strings.Cut(a.Origin, "://")
		return &api.NetworkError{Host: host, Err: err}
	case status < 400:
		return nil
	case t.Propagating() && status < 500 && status != http.StatusTooManyRequests:
		return WaitForPropagation(ctx, a.log(), t, r, func() (int, string) {
			status, message, _ := a.try(ctx, t, r)
			return status, message
		})
	}
	return &ghapp.Error{Kind: RefusedBy(status, message), Op: fmt.Sprintf("read %s with the token", r),
		Status: status, Message: message}
}
