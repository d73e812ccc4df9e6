// Package gitwire speaks git's protocol with a git host over kept connections, without git:
// it lists the refs of a repository, and fetches packs (gitprotocol-v2(5)).
package gitwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
)

// ErrUnsupported is a git service that answers in no way that is understood here. git
// itself may still get on with it.
var ErrUnsupported = errors.New("the git service answers in a way that only git may understand")

// Service is the git service of one host. It is safe for concurrent use and not to be
// copied.
//
// A refusal of a token in its first seconds is waited out with the same token; the 401
// of an older one drops it, and the next is tried once. A redirect on the host is
// followed. What is asked of it fails with an error that wraps [ErrUnsupported] where git
// may get further, with a [*ghapp.Error] of a Kind that [ghapp.App.Token] has too, or
// with that of the context.
type Service struct {
	// Origin is scheme and host of the repositories, such as https://github.com.
	Origin string
	// API is the root of the host's REST API. A token of another is not sent. Empty: the one that
	// GitHub documents for Origin.
	API string
	// Transport sends the requests, and keeps connections. Nil: net/http's.
	Transport http.RoundTripper
	// Token returns the token to ask for a repository with; a nil one asks without a
	// credential. Nil: that always.
	Token func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error)
	// Drop is told of a token that the service refused, before the next is asked for.
	// Nil: the refusal stands.
	Drop func(context.Context, ghapp.RepositoryName, *ghapp.Token) error
	// Log is told of waiting, and of a service that wants to be asked in another way.
	// Nil: nothing is logged.
	Log *slog.Logger

	forms       sync.Map    // repository, in lower case -> form, where that is not the zero one
	warned      atomic.Bool // what is waited for, since the last answer
	taken       sync.Map    // repository, in lower case -> the token that was taken for it in its first seconds
	compressors sync.Pool   // of *gzip.Writer
}

// form is how the service wants to be asked for a repository.
type form struct {
	discover bool   // by git's own first request; else ls-refs comes at once
	version0 bool   // the answer to which has the refs in it
	format   string // object-format; empty: SHA-1
	noUnborn bool   // a HEAD that stands for no branch yet cannot be asked for
}

// Discover has the next question for the refs of a repository begin as git's own do: under
// a name that has changed, a host may answer ls-refs as ever, and tell the new one only there.
func (s *Service) Discover(r ghapp.RepositoryName) {
	s.forms.Store(key(r), form{discover: true})
}

func (s *Service) form(r ghapp.RepositoryName) form {
	known, _ := s.forms.Load(key(r))
	f, _ := known.(form)
	return f
}

func key(r ghapp.RepositoryName) string { return strings.ToLower(r.String()) }

func (s *Service) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// question is one in the asking, with one token at a time.
type question struct {
	errorContext
	service    *Service
	repository ghapp.RepositoryName
	api        string // whose tokens may be sent
	requests   int    // that were sent
}

// ask has a question asked with the repository's token, and once more with the next where
// that is refused.
func (s *Service) ask(
	ctx context.Context, op string, r ghapp.RepositoryName, once func(*question) error,
) error {
	q := &question{errorContext: errorContext{op: op, origin: s.Origin}, service: s, repository: r}
	if err := q.check(); err != nil {
		return err
	}
	if s.Token == nil {
		return once(q)
	}
	var err error
	if q.token, err = s.Token(ctx, r); err != nil {
		return err
	}
	err = q.settle(ctx, once)
	refusedNow := ghapp.KindOf(err) == ghapp.ErrTokenRefused || q.outlived(err)
	if !refusedNow || q.token == nil || q.token.Propagating() || s.Drop == nil {
		return err
	}
	refused := q.token
	if dropped := s.Drop(ctx, r, refused); dropped != nil {
		return errors.Join(err, dropped)
	}
	next, nextErr := s.Token(ctx, r)
	switch {
	case nextErr != nil:
		return nextErr
	case next == nil || next.Secret.Reveal() == refused.Secret.Reveal():
		return err
	}
	q.token = next
	return q.settle(ctx, once)
}

// renewal lies between two tokens that are made since the service does not know a repository.
const renewal = 5 * time.Minute

// outlived reports whether a token may have been made for another repository, which had the name before: the
// service does not know the one that has it now with such a token. Of a token for several, that is for who
// asked for it to find out.
func (q *question) outlived(err error) bool {
	refusal, ok := errors.AsType[*ghapp.Error](err)
	return ok && refusal.Status == http.StatusNotFound && q.token != nil && len(q.token.Repositories) == 1 &&
		!q.repository.Wiki && q.token.ExpiresAt.Sub(q.token.MintedAt)-q.token.Life() > renewal
}

// believe notes that the service has taken a token in its first seconds.
func (q *question) believe() {
	q.service.taken.Store(strings.ToLower(codeOf(q.repository).String()), q.token.Secret.Reveal())
}

// believed reports whether the service has taken the token for the code of the repository: that it does not
// know the wiki is no sign any more of a token that has not spread.
func (q *question) believed() bool {
	of, _ := q.service.taken.Load(strings.ToLower(codeOf(q.repository).String()))
	secret, _ := of.(string)
	return q.repository.Wiki && secret == q.token.Secret.Reveal()
}

// codeOf is the repository that a wiki belongs to, or itself.
func codeOf(r ghapp.RepositoryName) ghapp.RepositoryName {
	r.Wiki = false
	return r
}

// settle waits while a new token spreads.
func (q *question) settle(ctx context.Context, once func(*question) error) (err error) {
	try := func() (int, string) {
		err = once(q)
		if refusal, ok := errors.AsType[*ghapp.Error](err); ok && refusal.Kind != ghapp.ErrRateLimited {
			return refusal.Status, refusal.Message
		}
		return 0, ""
	}
	switch {
	case q.token == nil || !q.token.Propagating():
		try()
		return err
	case q.believed():
		if status, _ := try(); status == http.StatusNotFound { // of two servers, both know the token
			try()
		}
		return err
	}
	if late := gitauth.WaitForPropagation(ctx, q.service.log(), q.token, q.repository, try); late != nil {
		return late
	}
	if err == nil {
		q.believe()
	}
	return err
}

// check holds the repository's names, which stand in the path, against what they may be.
func (q *question) check() error {
	if _, err := ghapp.ParseRepository(q.repository.String()); err != nil {
		return err
	}
	host, err := api.ParseHost(q.origin, q.service.API)
	if err != nil {
		return err
	}
	q.api = host.API
	if q.repository.Host != "" && !host.Is(q.repository.Host, q.repository.AnyPort) {
		return &ghapp.Error{Kind: ghapp.ErrWrongHost, Op: q.op,
			Err: fmt.Errorf("the repository is on %s, but %s is asked", q.repository.Host, q.origin)}
	}
	return nil
}

// authorize puts the token into a request, unless it is of another host.
func (q *question) authorize(req *http.Request) error {
	if q.token == nil {
		return nil
	}
	if q.token.API != q.api {
		return &ghapp.Error{Kind: ghapp.ErrWrongHost, Op: q.op,
			Err: fmt.Errorf("the token is for %s, and the API of %s is %s", q.token.API, q.origin, q.api)}
	}
	gitauth.Authorize(req, q.token)
	return nil
}

// unsupported is what only git may understand.
func (q *question) unsupported(problem error) error {
	return fmt.Errorf("cannot %s: %w: %w", q.op, ErrUnsupported, problem)
}

// path is that of the repository, as it is asked for.
func (q *question) path() string { return q.repository.String() + ".git" }

// answered is the repository at a path that has answered.
func (q *question) answered(path string) (ghapp.RepositoryName, error) {
	r, err := ghapp.ParseRepository(path)
	r.Host, r.AnyPort = q.repository.Host, q.repository.AnyPort
	return r, err
}

// isProtocol reports whether an answer was understood in no way.
func isProtocol(err error) bool {
	_, ok := errors.AsType[*ProtocolError](err)
	return ok
}
