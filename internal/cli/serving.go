package cli

import (
	"context"
	"errors"
	"sync"

	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
)

// serving answers on the listener while work runs. A question that is still open then
// is one of a helper whose git is gone.
func serving(ctx context.Context, listener *agent.Listener, h agent.Handler, work func() error) error {
	asked, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- agent.Serve(asked, listener, h) }()
	err := work()
	stop()
	return errors.Join(err, listener.Close(), <-served)
}

// hosts answers git while a command runs: for the host that the command is about, and
// for others that the configuration has an App for, which git asks about where its
// configuration names ghapp, as after git-setup. A question about yet another host is
// left unanswered, so that git goes on to the helpers it has for that.
type hosts struct {
	command *command
	prepare func(*gitauth.Answerer) // for such a command
	first   *gitauth.Answerer

	mu     sync.Mutex
	others map[string]*gitauth.Answerer // by origin
}

// hosts answers for the host of a session first.
func (c *command) hosts(s *session, prepare func(*gitauth.Answerer)) *hosts {
	h := &hosts{command: c, prepare: prepare, first: c.answererFor(s), others: map[string]*gitauth.Answerer{}}
	prepare(h.first)
	return h
}

// Credential implements [agent.Handler].
func (h *hosts) Credential(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	answer, err := h.first.Credential(ctx, op, asked)
	if errors.Is(err, gitauth.ErrNotOurs) {
		var other *gitauth.Answerer
		if other, err = h.other(ctx, asked); err == nil {
			answer, err = other.Credential(ctx, op, asked)
		}
	}
	if errors.Is(err, gitauth.ErrNotOurs) {
		return nil, nil
	}
	return answer, err
}

// other is who answers for the host of a question that is not the first's. The error is
// [gitauth.ErrNotOurs] where the configuration does not know the host.
func (h *hosts) other(ctx context.Context, asked *credential.Credential) (*gitauth.Answerer, error) {
	settings, err := h.command.settingsAsked(asked)
	if err != nil {
		return nil, err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return nil, &diag.SettingError{Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.others[host.Origin]; known != nil {
		return known, nil
	}
	session, err := h.command.start(ctx, settings)
	if err != nil {
		return nil, err
	}
	a := h.command.answererFor(session)
	h.prepare(a)
	h.others[host.Origin] = a
	return a, nil
}

// told puts the reason that git was not told in the place of what git made of it.
func (h *hosts) told(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	refusal := h.first.Refusal()
	for _, other := range h.others {
		if refusal == nil {
			refusal = other.Refusal()
		}
	}
	if err != nil && refusal != nil {
		return refusal
	}
	return err
}
