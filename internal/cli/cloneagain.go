package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// mend finds out whether a clone that has failed can be made once more, with clone, into
// which it writes what has changed. If not, it returns the reason for the failure.
func (c *command) mend(ctx context.Context, failed error, answerer *gitauth.Answerer, r ghapp.Repository, clone *gitcmd.CloneOptions, dir string) error {
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
	case e.Reason == gitcmd.Forbidden && strings.Contains(e.Remote, "IP allow list"):
		refusal := &ghapp.Error{Kind: ghapp.ErrIPAllowList, Op: "clone " + r.String(), Status: 403, Message: e.Remote}
		if answerer.Public(ctx, r, refusal) {
			return nil
		}
		return refusal
	}
	return failed
}

// presentName is the name that GitHub has the repository under, as it said when it
// minted the token.
func presentName(token *ghapp.Token, r ghapp.Repository) ghapp.Repository {
	if len(token.Repositories) != 1 {
		return r
	}
	present, err := ghapp.ParseRepository(token.Repositories[0])
	if err != nil {
		return r
	}
	return present
}

// follow has the repository cloned under another name, into the directory that its old
// name stands for, and reports whether that name is another.
func (c *command) follow(clone *gitcmd.CloneOptions, dir string, from, to ghapp.Repository) bool {
	if strings.EqualFold(from.String(), to.String()) {
		return false
	}
	c.progress("%s is %s now.", from, to)
	clone.URL, clone.Dir = clone.Origin+"/"+to.String()+".git", dir
	return true
}
