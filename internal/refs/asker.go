package refs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// ErrUnsupported is a git service that answers in no way that is understood here. git
// itself may still get on with it.
var ErrUnsupported = gitwire.ErrUnsupported

// Asker asks the git service of one host. It is safe for concurrent use and not to be
// copied, nor to be changed once it has been asked.
type Asker struct {
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

	once sync.Once
	wire gitwire.Service // once it is asked
}

// Ask returns which commit is wanted now. As a rule that is one request; see
// [gitwire.Service.List], also on tokens that are refused. A redirect on the host is
// followed and [Found.Repository] has the new name.
//
// The error is a [*RefError] where the repository has not got what is wanted, wraps
// [ErrUnsupported] where git may get further, and is else a [*ghapp.Error] of a Kind that
// [ghapp.App.Token] has too, or that of ctx.
func (a *Asker) Ask(ctx context.Context, r ghapp.RepositoryName, w Revision) (Found, error) {
	if err := w.Validate(); err != nil {
		return Found{}, err
	}
	if w.Commit != "" {
		return Found{Repository: r, Commit: strings.ToLower(w.Commit)}, nil
	}
	l, err := newListing(w)
	if err != nil {
		return Found{}, err
	}
	op := fmt.Sprintf("ask for %s of %s", w, r)
	listed, err := a.service().List(ctx, r, gitwire.Listing{Op: op, Prefixes: w.prefixes(),
		Begin: func() func(gitwire.Ref) error {
			l.reset()
			return l.take
		}})
	if err != nil {
		return Found{}, err
	}
	if l.found.Ref != "" {
		l.found.Repository = listed.Repository
		return l.found, nil
	}
	empty := l.count == 0
	if empty && !listed.All {
		// No HEAD either: it may stand for a branch that is yet to come, while there are others.
		if empty, err = a.isEmpty(ctx, r, op); err != nil {
			return Found{}, err
		}
	}
	return Found{}, &RefError{Repository: listed.Repository, Revision: w, Empty: empty}
}

// isEmpty reports whether a repository has no refs. The first of all tells.
func (a *Asker) isEmpty(ctx context.Context, r ghapp.RepositoryName, op string) (bool, error) {
	errFirst := errors.New("it has a ref")
	_, err := a.service().List(ctx, r, gitwire.Listing{Op: op, Begin: func() func(gitwire.Ref) error {
		return func(gitwire.Ref) error { return errFirst }
	}})
	if errors.Is(err, errFirst) {
		return false, nil
	}
	return err == nil, err
}

// Fetch fetches a pack of a repository on the connection that is asked on, as
// [gitwire.Service.Fetch] does.
func (a *Asker) Fetch(
	ctx context.Context, r ghapp.RepositoryName, want gitwire.Request, w io.Writer,
) (int64, error) {
	return a.service().Fetch(ctx, r, want, w)
}

// Discover has the next question about a repository begin as git's own do: under a name
// that has changed, a host may answer ls-refs as ever, and tell the new one only there.
func (a *Asker) Discover(r ghapp.RepositoryName) { a.service().Discover(r) }

func (a *Asker) service() *gitwire.Service {
	a.once.Do(func() {
		a.wire.Origin, a.wire.API, a.wire.Transport, a.wire.Log = a.Origin, a.API, a.Transport, a.Log
		a.wire.Token, a.wire.Drop = a.Token, a.Drop
	})
	return &a.wire
}
