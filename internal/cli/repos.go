package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) repos() *cobra.Command {
	return &cobra.Command{
		Use:   "repos [OWNER]",
		Short: "List the repositories that the App reaches",
		Long: `Lists the repositories that the App reaches: of one owner, or of every owner it is
installed on. It asks for a token that may read metadata and nothing else.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var owner ghapp.RepositoryName
			if len(args) == 1 {
				owner.Owner = args[0]
			}
			session, err := c.apps().Open(cmd.Context(), owner)
			if err != nil {
				return err
			}
			installations := args
			if len(args) == 0 {
				if installations, err = c.repositoryOwners(cmd.Context(), session); err != nil {
					return err
				}
			}
			var found []*ghapp.RepositoryInfo
			for _, installation := range installations {
				if found, err = appendRepositories(cmd.Context(), found, session.App, installation); err != nil {
					return err
				}
			}
			if c.json {
				return term.JSON(c.Stdout, repositoriesJSON(found))
			}
			if len(found) == 0 {
				c.progress("The App reaches no repository.")
				return nil
			}
			rows := [][]string{{"REPOSITORY", "VISIBILITY", "DEFAULT BRANCH", "LAST PUSH"}}
			for _, r := range found {
				pushed := "-"
				if !r.PushedAt.IsZero() {
					pushed = r.PushedAt.UTC().Format(time.DateTime)
				}
				name := r.FullName
				if r.Archived {
					name += " (archived)"
				}
				rows = append(rows, []string{name, r.Visibility, r.DefaultBranch, pushed})
			}
			return term.Table(c.Stdout, rows)
		},
	}
}

// repositoryOwners are the installations that can have repositories. One that is
// suspended is left out and named, since it would end the listing.
func (c *command) repositoryOwners(ctx context.Context, s *apps.Session) ([]string, error) {
	if id := s.Installation(); id != "" {
		return []string{id}, nil
	}
	var owners []string
	for i, err := range s.App.Installations(ctx) {
		switch {
		case err != nil:
			return nil, err
		case i.AccountType == "Enterprise":
		case !i.SuspendedAt.IsZero():
			c.log().Warn("left out: the installation is suspended", "account", i.Account)
		default:
			owners = append(owners, i.Account)
		}
	}
	return owners, nil
}

func appendRepositories(ctx context.Context, list []*ghapp.RepositoryInfo, app *ghapp.App,
	installation string) ([]*ghapp.RepositoryInfo, error) {
	token, err := app.Token(ctx, ghapp.TokenRequest{
		Installation: installation, AllRepositories: true, Permissions: ghapp.Permissions{"metadata": "read"},
	})
	if err != nil {
		return nil, err
	}
	for r, err := range app.Repositories(ctx, token) {
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

type repositoryJSON struct {
	ID            int64      `json:"id"`
	FullName      string     `json:"full_name"`
	Visibility    string     `json:"visibility"`
	DefaultBranch string     `json:"default_branch"`
	Archived      bool       `json:"archived"`
	CloneURL      string     `json:"clone_url"`
	PushedAt      *time.Time `json:"pushed_at"`
}

func repositoriesJSON(found []*ghapp.RepositoryInfo) []repositoryJSON {
	list := make([]repositoryJSON, 0, len(found))
	for _, r := range found {
		entry := repositoryJSON{r.ID, r.FullName, r.Visibility, r.DefaultBranch, r.Archived, r.CloneURL, nil}
		if !r.PushedAt.IsZero() {
			entry.PushedAt = &r.PushedAt
		}
		list = append(list, entry)
	}
	return list
}
