package agentserver

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/secret"
)

// configured is one reading of the configuration: its Apps, and the tokens that they have
// issued.
type configured struct {
	opener *apps.Opener
	since  time.Time
	tokens *tokens

	mu        sync.Mutex
	answerers map[*apps.App]*gitauth.Answerer
}

// configureBy reads the configuration and opens the Apps in it. It fails if none can be
// opened; one of several that cannot be is told, and tried again when it is needed.
func configureBy(ctx context.Context, opener *apps.Opener) (*configured, error) {
	loaded, err := opener.Load()
	if err != nil {
		return nil, err
	}
	c := &configured{opener: opener, since: time.Now(), answerers: map[*apps.App]*gitauth.Answerer{}}
	c.tokens = newTokens(opener.Log, c.renew)
	// At once: the holder of a key may take long to answer.
	list := eachApp(loaded)
	failures := make([]error, len(list))
	var opening sync.WaitGroup
	for n, r := range list {
		opening.Go(func() { _, failures[n] = opener.App(ctx, r) })
	}
	opening.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err // the end came meanwhile, and says nothing about an App
	}
	failures = slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	if len(opener.Apps()) == 0 {
		return nil, failures[0]
	}
	for _, err := range failures {
		opener.Log.Warn("an App cannot be used as yet", "error", err)
	}
	return c, nil
}

// eachApp chooses each App of the configuration; there is one at least.
func eachApp(loaded *config.Config) []ghapp.RepositoryName {
	var list []ghapp.RepositoryName
	var owner string
	for _, entry := range loaded.List() {
		switch entry.Key {
		case "app": // the first of each App's
			owner = ""
		case "owners":
			owner, _, _ = strings.Cut(entry.Value, ", ")
		case "host":
			list = append(list, ghapp.RepositoryName{Host: entry.Value, Owner: owner})
		}
	}
	return list
}

// answer answers one operation of git's.
func (c *configured) answer(ctx context.Context, op credential.Operation,
	asked *credential.Credential) (*credential.Credential, error) {
	defer func() {
		if c.tokens.ended() { // meanwhile, so nobody uses this connection again
			c.hangUp()
		}
	}()
	app, err := c.opener.AppAsked(ctx, asked)
	if err != nil {
		return nil, err
	}
	answerer := c.answerer(app)
	if op == credential.Get {
		var found *credential.Credential
		err := app.Do(ctx, func(*apps.Session) (err error) {
			found, err = answerer.Credential(ctx, op, asked)
			return err
		})
		return found, err
	}
	found, err := answerer.Credential(ctx, op, asked)
	if _, password := asked.Login(); op == credential.Erase && err == nil {
		c.tokens.rejected(password)
	}
	return found, err
}

// answerer answers for an App.
func (c *configured) answerer(app *apps.App) *gitauth.Answerer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.answerers[app]
	if a == nil {
		a = c.opener.Answerer(app)
		a.Granted = c.tokens.issued
		c.answerers[app] = a
	}
	return a
}

// renew gets a token anew for a repository that it was handed out for.
func (c *configured) renew(ctx context.Context, host string, request ghapp.TokenRequest) (*ghapp.Token, error) {
	owner, _, _ := strings.Cut(request.Repositories[0], "/")
	app, err := c.opener.App(ctx, ghapp.RepositoryName{Host: host, Owner: owner})
	if err != nil {
		return nil, err
	}
	return app.Session(ctx).App.Token(ctx, request)
}

func (c *configured) list() []AppStatus {
	var list []AppStatus
	for _, a := range c.opener.Apps() {
		app := a.Current().App
		list = append(list, AppStatus{
			Name: a.Settings().Name, App: cmp.Or(app.Status().Issuer, app.Status().Broker), Host: app.Status().Host,
			Fingerprint: app.Status().Fingerprint, Next: a.NextKey(),
		})
	}
	return list
}

// forget drops a token that somebody revokes.
func (c *configured) forget(ctx context.Context, token secret.Text) error {
	c.tokens.revoked(token)
	var failed error
	for _, a := range c.opener.Apps() {
		failed = errors.Join(failed, a.Current().App.Forget(ctx, token))
	}
	return failed
}

// close ends what goes on by itself. Those who are being answered are answered on.
func (c *configured) close() {
	c.tokens.close()
	c.hangUp()
}

// hangUp closes the connections that are not in use.
func (c *configured) hangUp() {
	for _, a := range c.opener.Apps() {
		a.HangUp()
	}
}

// countMints counts the tokens that GitHub mints.
func (s *Server) countMints(to http.RoundTripper) http.RoundTripper {
	return mintCounter{to, &s.minted}
}

type mintCounter struct {
	http.RoundTripper
	minted *atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (m mintCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := m.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode == http.StatusCreated && r.Method == http.MethodPost &&
		strings.HasSuffix(r.URL.Path, "/access_tokens") {
		m.minted.Add(1)
	}
	return answer, err
}

// CloseIdleConnections is what [http.Client] looks for.
func (m mintCounter) CloseIdleConnections() {
	(&http.Client{Transport: m.RoundTripper}).CloseIdleConnections()
}
