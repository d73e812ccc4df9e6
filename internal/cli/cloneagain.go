package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// mend finds out whether a clone that has failed can be made once more, with clone, into
// which it writes what has changed. If not, it returns the reason for the failure.
func (c *command) mend(ctx context.Context, failed error, answerer *gitauth.Answerer, r ghapp.RepositoryName, clone *gitcmd.CloneOptions, dir string) error {
	e, ok := errors.AsType[*gitcmd.Error](failed)
	switch {
	case !ok || e.Submodule != "":
	case e.Reason == gitcmd.Unauthorized && answerer.Erased():
		c.log().Warn("GitHub refused a token from the cache; cloning once more, with a new one")
		return nil
	case e.Reason == gitcmd.Redirected:
		moved, err := answerer.Moved(ctx, r)
		if err != nil {
			return err
		}
		if c.follow(clone, dir, r, moved) {
			return nil
		}
	case e.Reason == gitcmd.RepositoryNotFound && r.Wiki:
		return &diag.ExitError{Code: diag.Refused, Err: failed, Hint: diag.NoWiki}
	case e.Reason == gitcmd.Forbidden && strings.Contains(e.Remote, "IP allow list"):
		refusal := &ghapp.Error{Kind: ghapp.ErrIPAllowList, Op: "clone " + r.String(), Status: 403, Message: e.Remote}
		if answerer.Public(ctx, r, refusal) {
			return nil
		}
		return refusal
	}
	return failed
}

// attempt is the first one at a clone.
type attempt struct {
	app        *ghapp.App
	token      *ghapp.Token // nil: without a credential
	repository ghapp.RepositoryName
	answering  *apps.Router
}

// firstClone clones. A token in its first seconds, of which nobody knows whether GitHub's
// git service has it yet, is given to git all the same: most are taken, and that is known
// to all from then on. Where it is refused the clone is made once more, and waits for it.
func (c *command) firstClone(ctx context.Context, git *gitcmd.Runner, clone *gitcmd.CloneOptions, a attempt) error {
	if a.token == nil || a.token.Settled(a.repository.String()) {
		return git.Clone(ctx, *clone)
	}
	answerer := a.answering.First()
	shown := &withheld{to: git.Stderr}
	first := *git
	if git.Stderr != nil {
		first.Stderr = shown
	}
	answerer.Untried(a.repository)
	err := first.Clone(ctx, *clone)
	answerer.Untried(ghapp.RepositoryName{})
	switch e, ok := errors.AsType[*gitcmd.Error](err); {
	case err == nil:
		taken := func(context.Context) (bool, error) { return true, nil }
		if err := a.app.Settle(ctx, a.token, a.repository.String(), taken); err != nil {
			c.log().Debug("other processes are not told that the token is known", "error", err)
		}
	case ok && e.Submodule == "" && ctx.Err() == nil &&
		(e.Reason == gitcmd.Unauthorized || e.Reason == gitcmd.Forbidden || e.Reason == gitcmd.RepositoryNotFound) &&
		!strings.Contains(e.Remote, "IP allow list"):
		c.log().Debug("git was refused with a new token; cloning once more", "error", err)
		a.answering.Forget()
		return git.Clone(ctx, *clone)
	}
	shown.flush()
	return err
}

// withheld keeps back what git says until it has got through to the repository: of an
// attempt that is made once more nobody needs to read. It is for one goroutine.
type withheld struct {
	to     io.Writer
	text   bytes.Buffer
	passed bool
}

// withheldMost is more than git says before that, in bytes.
const withheldMost = 8 << 10

// Write implements [io.Writer].
func (w *withheld) Write(text []byte) (int, error) {
	if w.passed {
		return w.to.Write(text)
	}
	w.text.Write(text)
	for _, sign := range []string{"remote: Enumerating", "remote: Counting", "Receiving objects"} {
		w.passed = w.passed || bytes.Contains(w.text.Bytes(), []byte(sign))
	}
	if w.passed = w.passed || w.text.Len() > withheldMost; w.passed {
		w.flush()
	}
	return len(text), nil
}

// flush shows what was kept back, and all that comes.
func (w *withheld) flush() {
	w.passed = true
	if w.text.Len() > 0 {
		_, _ = w.to.Write(w.text.Bytes())
		w.text.Reset()
	}
}

// askedFor knows which repositories of a host git asks a credential for. It is safe for
// concurrent use.
type askedFor struct {
	origin  string
	mu      sync.Mutex
	waiting map[string][]chan struct{} // by repository, in lower case
}

// watch implements [gitcmd.CloneOptions].Asked.
func (a *askedFor) watch(address string) <-chan struct{} {
	signal := make(chan struct{})
	path := strings.TrimSuffix(strings.TrimRight(strings.TrimPrefix(address, a.origin+"/"), "/"), ".git")
	path = strings.TrimSuffix(path, ".wiki") // for which a token is its repository's
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string][]chan struct{}{}
	}
	a.waiting[strings.ToLower(path)] = append(a.waiting[strings.ToLower(path)], signal)
	return signal
}

// granted is what an answerer tells of a token before git has it.
func (a *askedFor) granted(app *ghapp.App, r ghapp.TokenRequest, _ *ghapp.Token) {
	if app.Status().Origin != a.origin {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name := strings.ToLower(r.Repositories[0])
	for _, signal := range a.waiting[name] {
		close(signal)
	}
	delete(a.waiting, name)
}

// presentName is the name that GitHub has the repository under, as it said when it
// minted the token.
func presentName(token *ghapp.Token, r ghapp.RepositoryName) ghapp.RepositoryName {
	if len(token.Repositories) != 1 {
		return r
	}
	present, err := ghapp.ParseRepository(token.Repositories[0])
	if err != nil {
		return r
	}
	present.Wiki = r.Wiki // a token is the repository's
	return present
}

// follow has the repository cloned under another name, into the directory that its old
// name stands for, and reports whether that name is another.
func (c *command) follow(clone *gitcmd.CloneOptions, dir string, from, to ghapp.RepositoryName) bool {
	if strings.EqualFold(from.String(), to.String()) {
		return false
	}
	if !c.json {
		c.progress("%s is %s now.", from, to)
	}
	clone.URL, clone.Dir = clone.Origin+"/"+to.String()+".git", dir
	return true
}
