package ghapp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// Propagating reports whether the token is so new that some of GitHub's servers may not
// know it yet: a refusal is to be waited out with the same token, since a new one
// would start anew.
func (t *Token) Propagating() bool {
	age := t.age()
	return -propagationDelay < age && age < propagationDelay
}

// propagationDelay bounds the time GitHub needs to spread a new token. Octokit waits five
// seconds; partners of GitHub have found that short.
const propagationDelay = 10 * time.Second

// propagationTries is how often the API is asked again with a new token: for six seconds.
// A 404 may as well be the truth, and who asks is to hear it soon.
const propagationTries = 3

// waitOut makes a call with the token, and again while it is refused because the
// token is so new that GitHub does not know it everywhere.
func (t *Token) waitOut(ctx context.Context, call func() error) error {
	err := call()
	for pause := range api.PropagationPauses(propagationTries) {
		answer, refused := errors.AsType[*api.Error](err)
		if !refused || !t.Propagating() || !mayPropagate(answer.Status, answer.Limit != api.NoLimit) {
			break
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		err = call()
	}
	return err
}

// mayPropagate reports whether an answer may come from a server that does not know the
// token yet (401, 404) or not its permissions (403), and not from a limit.
func mayPropagate(status int, limited bool) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusNotFound:
		return true
	case http.StatusForbidden:
		return !limited
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) error {
	if wait.Sleep(ctx, d) != nil {
		return api.Ended(ctx)
	}
	return nil
}
