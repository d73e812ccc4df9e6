package gitsession

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// IdentityVariables have git make commits as the App
// (https://git-scm.com/docs/git#Documentation/git.txt-GITAUTHORNAME). Author and
// committer are left alone where the environment says anything of them: a name of one and
// the address of another would be nobody.
func IdentityVariables(identity *ghapp.Identity, lookup func(string) (string, bool)) []string {
	var list []string
	for _, who := range []string{"GIT_AUTHOR_", "GIT_COMMITTER_"} {
		name, _ := lookup(who + "NAME")
		email, _ := lookup(who + "EMAIL")
		if name == "" && email == "" {
			list = append(list, who+"NAME="+identity.Name, who+"EMAIL="+identity.Email)
		}
	}
	return list
}

// IdentitySection has git make commits as the App. A file in which somebody has said
// already who they are is refused.
func IdentitySection(ctx context.Context, o *apps.Opener, entries []gitsetup.Entry,
	file string) (gitsetup.Section, error) {
	none := gitsetup.Section{}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return none, fmt.Errorf("read %s: %w", file, err)
	}
	for _, e := range entries {
		if (e.Key == "user.name" || e.Key == "user.email") && leadsTo(e.File, file) && !gitsetup.Ours(text, e) {
			return none, &fault.SettingError{
				Err:  fmt.Errorf("--identity: %s:%d sets %s already", file, gitsetup.LineOf(text, e), e.Key),
				Hint: "take that away first, or use --local in the repositories whose commits are the App's",
			}
		}
	}
	settings, err := o.Settings(ghapp.RepositoryName{})
	if err != nil {
		return none, err
	}
	session, err := o.Start(ctx, settings)
	if err != nil {
		return none, err
	}
	token, err := anyToken(ctx, session.App)
	if err != nil {
		return none, err
	}
	identity, err := session.App.Identity(ctx, token)
	if err != nil {
		return none, err
	}
	return gitsetup.Section{Name: "user", Origin: session.App.Status().Origin, Settings: []gitsetup.Setting{
		{Name: "name", Value: identity.Name}, {Name: "email", Value: identity.Email},
	}}, nil
}

// leadsTo reports whether two paths are of one file.
func leadsTo(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// anyToken is one of the first installation that can be used, good for what everybody may
// know; nil where there is none.
func anyToken(ctx context.Context, app *ghapp.App) (*ghapp.Token, error) {
	for i, err := range app.Installations(ctx) {
		if err != nil {
			return nil, err
		}
		if i.AccountType == "Enterprise" || !i.SuspendedAt.IsZero() {
			continue
		}
		return app.Token(ctx, ghapp.TokenRequest{
			AllRepositories: true, Installation: i.Account, Permissions: ghapp.Permissions{"metadata": "read"},
		})
	}
	return nil, nil
}
