// Package gitauth answers git's questions for a credential: from the path git
// names to the repository, its owner, the owner's installation, and a token for
// just that repository. It is the one place where this is decided, for the first
// clone as for a submodule of another owner, an LFS object, and the second hour.
package gitauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/secret"
)

// Username is what stands before an installation token in GitHub's page "Authenticating as a
// GitHub App installation", under HTTP-based Git access.
const Username = "x-access-token"

// ErrNotOurs is a question about a host that is not ours: it is left to others.
var ErrNotOurs = errors.New("the host is not ours")

// Answerer answers for one host. It is safe for concurrent use.
type Answerer struct {
	// Origin is the one scheme, host and port that is answered for, such as
	// https://github.com.
	Origin string
	// App returns the App that is installed for an owner, and the installation if
	// one was named: it may be that of another owner. Empty: it is looked for.
	App func(ctx context.Context, owner string) (app *ghapp.App, installation string, err error)
	// Permissions says what git may do in a repository. Nil: read its contents.
	Permissions func(ghapp.RepositoryName) ghapp.Permissions
	// Transport asks GitHub's git service whether it knows a new token. Nil:
	// net/http's.
	Transport http.RoundTripper
	// HandedOut is told of every token before git has it, so that it can be kept
	// out of what git prints. May be nil.
	HandedOut func(secret.Text)
	// Granted is told of the same token, whose it is and what was asked for. May be
	// nil.
	Granted func(*ghapp.App, ghapp.TokenRequest, *ghapp.Token)
	// Store remembers for other processes which public repositories are read without
	// a credential. Nil: this Answerer alone remembers.
	Store ghapp.Store
	// Log is told of waiting, and of reading without a credential. Nil: nothing is
	// logged.
	Log *slog.Logger

	open sync.Map // key -> open

	mu      sync.Mutex
	untried string // see Untried
	refusal error
	erased  bool
}

// Credential answers one operation of git's credential protocol; its first
// parameter is the operation. The answer is nil where there is nothing to say. An
// error other than [ErrNotOurs] means that the question was ours and the answer
// is no: git should ask nobody else.
func (a *Answerer) Credential(ctx context.Context, op credential.Operation,
	asked *credential.Credential) (*credential.Credential, error) {
	if !a.Ours(asked) {
		return nil, ErrNotOurs
	}
	switch op {
	case credential.Get:
		answer, err := a.get(ctx, asked)
		if err != nil && ctx.Err() == nil { // else nobody waits for it
			a.mu.Lock()
			a.refusal = err
			a.mu.Unlock()
		}
		return answer, err
	case credential.Erase:
		return nil, a.erase(ctx, asked)
	}
	return nil, nil
}

// Refusal is the last question that was answered with no, whose error git cannot
// show: it only knows that it got no credential.
func (a *Answerer) Refusal() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusal
}

// Forget has Refusal and Erased tell only of what is asked from now on.
func (a *Answerer) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusal, a.erased = nil, false
}

// Erased reports whether git has said of a credential that it was refused. The next
// question gets another.
func (a *Answerer) Erased() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.erased
}

// Untried has git given a new token for one repository without a trial at GitHub's git
// service, which costs a request more than git makes. It is for a caller who has git begin
// anew when it fails, after Untried of the zero Repository.
func (a *Answerer) Untried(r ghapp.RepositoryName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.untried = strings.ToLower(r.String())
}

func (a *Answerer) isUntried(r ghapp.RepositoryName) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.untried == strings.ToLower(r.String())
}

func (a *Answerer) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// Ours reports whether a question is about the host that is answered for: scheme, host and
// port are compared whole. A host written in another way, even one that leads to the same
// server, gets nothing.
func (a *Answerer) Ours(asked *credential.Credential) bool {
	host := asked.Host
	if asked.Protocol == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	return asked.Protocol+"://"+host == a.Origin
}

// get answers git's question with a token, or with the word that none is needed.
func (a *Answerer) get(ctx context.Context, asked *credential.Credential) (*credential.Credential, error) {
	p, err := a.plan(ctx, asked)
	if err != nil {
		return nil, err
	}
	path, byItself := asksByItself(asked)
	if byItself && a.known(ctx, path) {
		return credential.AnswerAnonymous(), nil
	}
	p, token, err := a.obtain(ctx, p)
	switch {
	case err == nil:
		return a.handOut(asked, p, token), nil
	case byItself && a.public(ctx, path, err):
		return credential.AnswerAnonymous(), nil
	}
	return nil, err
}

// plan is what to ask GitHub for, and of which App, to answer git about a repository.
type plan struct {
	app        *ghapp.App
	request    ghapp.TokenRequest // of the repository, and then of those that store its large files
	repository ghapp.RepositoryName
}

func (a *Answerer) plan(ctx context.Context, asked *credential.Credential) (plan, error) {
	if asked.Path == "" {
		return plan{}, &ghapp.Error{Kind: ghapp.ErrInvalid, Op: "choose a token", Err: fmt.Errorf(
			"git did not say which repository it is about; run `git config --global credential.%s.useHttpPath true`", a.Origin)}
	}
	repository, err := RepositoryOf(asked.Path)
	if err != nil {
		return plan{}, err
	}
	app, installation, err := a.App(ctx, repository.Owner)
	if err != nil {
		return plan{}, err
	}
	if app.Status().Origin != a.Origin {
		return plan{}, &ghapp.Error{Kind: ghapp.ErrWrongHost, Op: "choose a token", Err: fmt.Errorf(
			"the App for %s is on %s, but git asks for %s", repository.Owner, app.Status().Origin, a.Origin)}
	}
	request := ghapp.TokenRequest{
		Repositories: append([]string{repository.String()}, storesOf(asked, repository)...),
		Installation: installation,
	}
	if a.Permissions != nil {
		request.Permissions = a.Permissions(repository)
	}
	return plan{app, request, repository}, nil
}

// obtain gets the token that was planned, or one for the repository alone where the stores
// of its large files are out of reach: git itself needs no more. It returns what was granted.
func (a *Answerer) obtain(ctx context.Context, p plan) (plan, *ghapp.Token, error) {
	granted, token, err := a.token(ctx, p)
	repositories := p.request.Repositories
	if len(repositories) == 1 || !unreached(err) {
		return granted, token, err
	}
	granted.request.Repositories = repositories[:1]
	granted, token, err = a.token(ctx, granted)
	if err == nil {
		a.log().Warn("the token is for the repository alone, without the store of its large files that .lfsconfig names; "+
			"add that on the App's installation page",
			"repository", p.repository.String(), "store", strings.Join(repositories[1:], ","))
	}
	return granted, token, err
}

// token gets a token that GitHub's git service knows, and returns what it was granted for.
// One from the cache that turns out to be dead is replaced, once.
func (a *Answerer) token(ctx context.Context, p plan) (plan, *ghapp.Token, error) {
	token, err := p.app.Token(ctx, p.request)
	if p.request.Installation != "" && ofAnother(err) {
		p.request.Installation = ""
		token, err = p.app.Token(ctx, p.request)
	}
	if err != nil || token.Settled(p.repository.String()) || a.isUntried(p.repository) {
		return p, token, err
	}
	err = a.waitForPropagation(ctx, p, token)
	if dead(token, err) {
		token, err = a.replacement(ctx, p, token)
	}
	return p, token, err
}

// ofAnother reports whether an installation may have refused because the repository
// is not its owner's.
func ofAnother(err error) bool {
	return errors.Is(err, ghapp.ErrRepositoryNotSelected) || errors.Is(err, ghapp.ErrTooBroad) ||
		errors.Is(err, ghapp.ErrInvalid)
}

// dead reports whether a refusal will not end by waiting. A token that was minted just now
// and is still unknown may only be late.
func dead(t *ghapp.Token, refusal error) bool {
	kind := ghapp.KindOf(refusal)
	return kind == ghapp.ErrTokenRefused || kind == ghapp.ErrTokenUnknown && t.FromStore()
}

// replacement drops a token that is dead and gets a new one.
func (a *Answerer) replacement(ctx context.Context, p plan, refused *ghapp.Token) (*ghapp.Token, error) {
	a.log().Warn("GitHub refused a token from the cache; it is replaced by a new one", "repository", p.repository.String())
	if err := p.app.Forget(ctx, refused.Secret); err != nil {
		a.log().Warn("a refused token stays in the cache", "error", err)
	}
	token, err := p.app.Token(ctx, p.request)
	if err == nil {
		err = a.waitForPropagation(ctx, p, token)
	}
	return token, err
}

// handOut is the answer with a token, of which those are told first who have asked to be.
func (a *Answerer) handOut(asked *credential.Credential, p plan, token *ghapp.Token) *credential.Credential {
	if a.HandedOut != nil {
		a.HandedOut(token.Secret)
	}
	if a.Granted != nil {
		a.Granted(p.app, p.request, token)
	}
	// git compares the expiry with this machine's clock, not with GitHub's.
	expiry := time.Now().Add(token.Life())
	return credential.Answer(asked, Username, token.Secret, expiry)
}

// erase is git's word that the credential was refused, or that there was to be one.
func (a *Answerer) erase(ctx context.Context, asked *credential.Credential) error {
	if asked.Anonymous() {
		return a.forget(ctx, pathOf(asked))
	}
	_, password := asked.Login()
	if password.IsZero() {
		return nil
	}
	p, err := a.plan(ctx, asked)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.erased = true
	a.mu.Unlock()
	err = p.app.Invalidate(ctx, p.request, password)
	if p.request.Installation != "" {
		p.request.Installation = ""
		err = errors.Join(err, p.app.Invalidate(ctx, p.request, password))
	}
	return err
}
