package cli

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// holder is the agent itself: it answers, counts, and changes its configuration.
type holder struct {
	command  *command
	listener *agent.Listener
	since    time.Time
	stop     func() // ends the process, in its time

	apps atomic.Pointer[apps] // of the configuration in use

	answered, refused, others, erased, minted atomic.Int64
}

// configure reads the configuration, and has it take the place of the one before
// with everything that was made by it: Apps, keys, certificate authorities. Tokens
// are found again in the cache.
func (h *holder) configure(ctx context.Context) error {
	again := *h.command
	again.loaded = nil
	next, err := openApps(ctx, &again, &h.minted)
	if err != nil {
		return err
	}
	if before := h.apps.Swap(next); before != nil {
		before.close()
	}
	return nil
}

func (h *holder) close() { h.apps.Load().close() }

// Credential implements [agent.Handler].
func (h *holder) Credential(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	answer, err := h.apps.Load().answer(ctx, op, asked)
	switch {
	case errors.Is(err, gitauth.ErrNotOurs):
		h.others.Add(1)
		return nil, nil
	case ctx.Err() != nil: // nobody listens to the answer
		return nil, err
	case err != nil:
		h.refused.Add(1)
		return nil, refusalOf(err)
	case op == credential.Erase:
		h.erased.Add(1)
	case answer != nil:
		h.answered.Add(1)
	}
	return answer, nil
}

// refusalOf is an error with its cure, in the one line that the helper shows. A
// server can repeat a credential in whatever it answers.
func refusalOf(err error) error {
	report := diag.Explain(err)
	text := report.Message
	if report.Hint != "" {
		text += " (" + report.Hint + ")"
	}
	var secrets scrub.Scrubber
	return errors.New(strings.ReplaceAll(secrets.String(text), "\n", "; "))
}

// Stop implements [agent.Controller].
func (h *holder) Stop(context.Context) error {
	err := h.listener.Close()
	h.stop()
	return err
}
