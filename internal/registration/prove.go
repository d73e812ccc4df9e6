package registration

import (
	"bytes"
	"context"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/setup"
)

// maxCandidates is how many repositories are looked at for the one to try.
const maxCandidates = 100

// Prove shows with a real token and with git that an installation works.
func (r *Run) Prove(ctx context.Context, i *ghapp.InstallationInfo) (*setup.Proof, error) {
	repository, err := candidate(ctx, r.Session.App, i)
	if err != nil || repository == "" {
		return &setup.Proof{}, err
	}
	request := ghapp.TokenRequest{Repositories: []string{repository}, Installation: i.Account}
	proof := &setup.Proof{Repository: repository, WithoutGit: i.Permissions["contents"] == ""}
	if proof.WithoutGit {
		request.Permissions = ghapp.Permissions{"metadata": "read"}
	}
	if _, err := r.Session.App.Token(ctx, request); err != nil || proof.WithoutGit {
		return proof, err
	}
	proof.Refs, err = r.countRefs(ctx, r.Session, repository)
	return proof, err
}

// candidate is the repository of an installation that was pushed to last, of the first
// hundred; "" where there is none.
func candidate(ctx context.Context, app *ghapp.App, i *ghapp.InstallationInfo) (string, error) {
	token, err := app.Token(ctx, ghapp.TokenRequest{
		Installation: i.Account, AllRepositories: true, Permissions: ghapp.Permissions{"metadata": "read"},
	})
	if err != nil {
		return "", err
	}
	var best *ghapp.RepositoryInfo
	seen := 0
	for r, err := range app.Repositories(ctx, token) {
		if err != nil {
			return "", err
		}
		if best == nil || best.Archived && !r.Archived || best.Archived == r.Archived && r.PushedAt.After(best.PushedAt) {
			best = r
		}
		if seen++; seen == maxCandidates {
			break
		}
	}
	if best == nil {
		return "", nil
	}
	return best.FullName, nil
}

// countRefs asks git for the references of a repository, with the credential helper.
func (r *Run) countRefs(ctx context.Context, s *apps.Session, repository string) (int, error) {
	session, err := gitsession.Listen(r.Opener)
	if err != nil {
		return 0, err
	}
	defer session.Close()
	address := s.App.Status().Origin + "/" + repository + ".git"
	scope := gitcmd.Scope{
		Origin: s.App.Status().Origin, URLs: []string{address}, Helper: gitsession.Helper(r.Opener.LookupEnv),
		CAFile: s.Settings.CAFile.Text,
	}
	answering := r.Opener.Router(r.Opener.Follow(s), func(a *gitauth.Answerer) {
		a.Permissions = nil // to read
		a.HandedOut = session.Tokens.Add
	})
	// The configuration may choose another App for this owner.
	answering.First().App = func(context.Context, string) (*ghapp.App, string, error) { return s.App, "", nil }
	var refs []byte
	err = session.Serve(ctx, answering, func() error {
		var err error
		refs, err = session.Git(r.GitOutput).Output(ctx, scope, "ls-remote", "--", address)
		return answering.Explained(err)
	})
	return bytes.Count(refs, []byte("\n")), err
}
