package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) installations() *cobra.Command {
	return &cobra.Command{
		Use:   "installations",
		Short: "List where the App is installed, and what it may do there",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := c.apps().Open(cmd.Context(), ghapp.RepositoryName{})
			if err != nil {
				return err
			}
			var found []*ghapp.InstallationInfo
			for installation, err := range session.App.Installations(cmd.Context()) {
				if err != nil {
					return err
				}
				found = append(found, installation)
			}
			if c.json {
				return term.JSON(c.Stdout, installationsJSON(found))
			}
			if len(found) == 0 {
				c.progress("The App is installed nowhere yet. Install it from its public page, "+
					"https://%s/apps/NAME/installations/new", session.App.Status().Host)
				return nil
			}
			return term.Table(c.Stdout, installationRows(found))
		},
	}
}

func installationRows(found []*ghapp.InstallationInfo) [][]string {
	rows := [][]string{{"INSTALLATION", "ACCOUNT", "TYPE", "REPOSITORIES", "PERMISSIONS", "STATE"}}
	for _, i := range found {
		state := "active"
		if !i.SuspendedAt.IsZero() {
			state = "suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly)
		}
		rows = append(rows, []string{
			strconv.FormatInt(i.ID, 10), term.OrDash(i.Account), i.AccountType, selection(i),
			term.OrDash(i.Permissions.String()), state,
		})
	}
	return rows
}

func selection(i *ghapp.InstallationInfo) string {
	if i.AllRepositories {
		return "all"
	}
	return "selected"
}

type installationJSON struct {
	ID          int64             `json:"id"`
	Account     string            `json:"account"`
	AccountType string            `json:"account_type"`
	Selection   string            `json:"repository_selection"`
	Permissions ghapp.Permissions `json:"permissions"`
	URL         string            `json:"url"`
	SuspendedAt *time.Time        `json:"suspended_at"`
}

func installationsJSON(found []*ghapp.InstallationInfo) []installationJSON {
	list := make([]installationJSON, 0, len(found))
	for _, i := range found {
		entry := installationJSON{i.ID, i.Account, i.AccountType, selection(i), i.Permissions, i.URL, nil}
		if !i.SuspendedAt.IsZero() {
			entry.SuspendedAt = &i.SuspendedAt
		}
		list = append(list, entry)
	}
	return list
}
