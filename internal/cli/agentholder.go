package cli

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
)

// holder is the agent itself: it answers, counts, and changes its configuration.
type holder struct {
	command  *command
	listener *agent.Listener
	since    time.Time
	stop     func() // ends the process, in its time

	path        string                      // of the config file; empty: there is no place for one
	apps        atomic.Pointer[appSet]      // of the configuration in use
	file        atomic.Pointer[fs.FileInfo] // as it was when it was read last, with or without success
	configuring sync.Mutex
	mu          sync.Mutex
	reading     *reading // nil: none is going on

	answered, refused, others, erased, minted atomic.Int64
}

func (h *holder) close() { h.apps.Load().close() }

// Credential implements [agent.Handler].
func (h *holder) Credential(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	h.follow(ctx)
	answer, err := h.apps.Load().answer(ctx, op, asked)
	switch {
	case errors.Is(err, gitauth.ErrNotOurs):
		h.others.Add(1)
		return nil, nil
	case ctx.Err() != nil: // nobody listens to the answer
		return nil, err
	case err != nil:
		h.refused.Add(1)
		return nil, diag.OneLine(err)
	case op == credential.Erase:
		h.erased.Add(1)
	case answer != nil:
		h.answered.Add(1)
	}
	return answer, nil
}

// Stop implements [agent.Controller].
func (h *holder) Stop(context.Context) error {
	err := h.listener.Close()
	h.stop()
	return err
}

// Forget implements [agent.Controller].
func (h *holder) Forget(ctx context.Context, token credential.Secret) error {
	return h.apps.Load().forget(ctx, token)
}
