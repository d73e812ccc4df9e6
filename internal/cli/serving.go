package cli

import (
	"context"
	"errors"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/signer"
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
	first   *gitauth.Answerer       // as it was in the beginning

	mu     sync.Mutex
	now    *keyedAnswerer            // for the first's host
	others map[string]*keyedAnswerer // by origin
}

// keyedAnswerer is an App with the key that the configuration had for it.
type keyedAnswerer struct {
	*gitauth.Answerer
	session *session
}

// hosts answers for the host of a session first.
func (c *command) hosts(s *session, prepare func(*gitauth.Answerer)) *hosts {
	h := &hosts{command: c, prepare: prepare, first: c.answererFor(s), others: map[string]*keyedAnswerer{}}
	h.now = &keyedAnswerer{h.first, s}
	prepare(h.first)
	return h
}

// Credential implements [agent.Handler].
func (h *hosts) Credential(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	h.mu.Lock()
	a := h.now
	h.mu.Unlock()
	answer, err := a.Credential(ctx, op, asked)
	if errors.Is(err, gitauth.ErrNotOurs) {
		if a, err = h.other(ctx, asked); err == nil {
			answer, err = a.Credential(ctx, op, asked)
		}
	}
	if errors.Is(err, ghapp.ErrKeyMismatch) || errors.Is(err, ghapp.ErrKey) {
		if newer := h.renewed(ctx, a, asked); newer != nil {
			answer, err = newer.Credential(ctx, op, asked)
		}
	}
	if errors.Is(err, gitauth.ErrNotOurs) {
		return nil, nil
	}
	return answer, err
}

// other is who answers for the host of a question that is not the first's. The error is
// [gitauth.ErrNotOurs] where the configuration does not know the host.
func (h *hosts) other(ctx context.Context, asked *credential.Credential) (*keyedAnswerer, error) {
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
	a := &keyedAnswerer{h.command.answererFor(session), session}
	h.prepare(a.Answerer)
	h.others[host.Origin] = a
	return a, nil
}

// renewed takes the key that the configuration has by now, if it is another than the
// one that did not serve: a command may run for longer than a key lives. It is nil where
// there is none. Whoever holds a key is not asked again for the same one.
func (h *hosts) renewed(ctx context.Context, failed *keyedAnswerer, asked *credential.Credential) *keyedAnswerer {
	h.mu.Lock()
	defer h.mu.Unlock()
	origin, known := failed.Origin, h.now
	if origin != h.first.Origin {
		known = h.others[origin]
	}
	if known != failed {
		return known // somebody else has done so
	}
	again, session := h.command.rekeyed(ctx, failed.session, func(c *command) (config.AppSettings, error) { return c.settingsAsked(asked) })
	if session == nil {
		return nil
	}
	a := &keyedAnswerer{again.answererFor(session), session}
	h.prepare(a.Answerer)
	a.Permissions = failed.Permissions
	if origin == h.first.Origin {
		h.now = a
	} else {
		h.others[origin] = a
	}
	return a
}

// rekeyed opens an App anew whose key has failed, with the key that the configuration
// has by now, and what has read it. Both are nil where that is the same one.
func (c *command) rekeyed(ctx context.Context, failed *session, choose func(*command) (config.AppSettings, error)) (*command, *session) {
	again := *c
	again.loaded = nil
	settings, err := choose(&again)
	if err != nil {
		return nil, nil
	}
	before := failed.settings
	if settings.Key.Reveal() == before.Key.Reveal() && settings.PreviousKey.Reveal() == before.PreviousKey.Reveal() && signer.FilePath(settings.Key.Text) == "" {
		return nil, nil
	}
	session, err := again.connect(ctx, settings)
	if err != nil {
		c.log().Warn("the key in the configuration has changed and cannot be used", "error", refusalOf(err))
		return nil, nil
	}
	if session.app.Fingerprint() == failed.app.Fingerprint() && settings.PreviousKey.Reveal() == before.PreviousKey.Reveal() {
		return nil, nil
	}
	c.progress("App %s signs with its new key %s.", session.app.Issuer(), session.app.Fingerprint())
	return &again, session
}

// told puts the reason that git was not told in the place of what git made of it.
func (h *hosts) told(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	refusal := h.now.Refusal()
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

// forget has told tell only of what git asks from now on.
func (h *hosts) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.Forget()
	for _, other := range h.others {
		other.Forget()
	}
}
