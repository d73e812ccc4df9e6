package gitsession

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// OriginRemote is the repository of the current directory's remote origin, at the address
// that git itself makes of it.
func OriginRemote(ctx context.Context, git *gitcmd.Runner) (ghapp.RepositoryName, error) {
	out, err := git.Output(ctx, gitcmd.Scope{}, "remote", "get-url", "origin")
	if err != nil {
		failed, ok := errors.AsType[*gitcmd.Error](err)
		switch {
		case ctx.Err() != nil:
			return ghapp.RepositoryName{}, context.Cause(ctx)
		case ok && (failed.Reason == gitcmd.NoRemote || failed.Reason == gitcmd.NoRepository):
			return ghapp.RepositoryName{}, &fault.UsageError{Err: errors.New("no repository is named, " +
				"and the current directory has no remote origin; write ghapp exec OWNER/NAME -- COMMAND")}
		}
		return ghapp.RepositoryName{},
			fmt.Errorf("no repository is named, and git does not tell the remote origin of the current directory: %w", err)
	}
	repository, err := ghapp.ParseRepository(strings.TrimSuffix(string(out), "\n"))
	if err != nil {
		return repository,
			fmt.Errorf("no repository is named, and the remote origin of the current directory is not one: %w", err)
	}
	return repository, nil
}
