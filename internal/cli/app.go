package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) app() *cobra.Command {
	app := &cobra.Command{
		Use:   "app",
		Short: "Look at the App and its installations",
		Args:  noArguments,
		RunE:  help,
	}
	app.AddCommand(c.updatePermissions())
	return app
}

func (c *command) updatePermissions() *cobra.Command {
	return &cobra.Command{
		Use:   "update-permissions",
		Short: "Tell which installations do not grant yet what the App asks for",
		Long: `When an App asks for more, each account that has it installed keeps granting what it
did, until somebody there accepts the change in the browser: GitHub has no other way.
This lists the installations that lag behind, what they lack, and the page to accept it
on. With --json it lists all.

What an account of that type cannot grant does not count: the permissions of an
organization on a user's account, and those that a user grants to the App in person.

Exits with 0 where no installation lags behind, and with 1 where one does.`,
		Example: `  ghapp app update-permissions
  ghapp app update-permissions --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := c.apps().Open(cmd.Context(), ghapp.RepositoryName{})
			if err != nil {
				return err
			}
			info, err := session.App.Info(cmd.Context())
			if err != nil {
				return err
			}
			var all, lagging []grant
			for i, err := range session.App.Installations(cmd.Context()) {
				if err != nil {
					return err
				}
				g := grantOf(i, info.Permissions, session.App.Status().Origin)
				if all = append(all, g); len(g.Missing) > 0 {
					lagging = append(lagging, g)
				}
			}
			return c.tellGrants(info, all, lagging)
		},
	}
}

func (c *command) tellGrants(info *ghapp.AppInfo, all, lagging []grant) error {
	var err error
	switch {
	case c.json:
		if all == nil {
			all = []grant{} // null is no list
		}
		err = term.JSON(c.Stdout, map[string]any{"permissions": info.Permissions,
			"installations": all, "lagging": len(lagging)})
	case len(all) == 0:
		c.progress("%s is installed nowhere yet.", info.Name)
	case len(lagging) == 0:
		c.progress("Every installation of %s grants what the App asks for (%s): %d of %d.", info.Name,
			term.OrDash(info.Permissions.String()), len(all), len(all))
	default:
		rows := [][]string{{"INSTALLATION", "ACCOUNT", "ASKED", "GRANTED", "MISSING", "REVIEW"}}
		for _, g := range lagging {
			rows = append(rows, []string{
				strconv.FormatInt(g.ID, 10), term.OrDash(g.Account), term.OrDash(g.Asked.String()), term.OrDash(g.Granted.String()),
				g.Missing.String(), term.OrDash(g.Review),
			})
		}
		if err = term.Table(c.Stdout, rows); err == nil {
			c.progress("\n%d of %d installations of %s lag behind. An owner of the account accepts the change on the page "+
				"under REVIEW.", len(lagging), len(all), info.Name)
		}
	}
	if err == nil && len(lagging) > 0 {
		err = &examinedExit{fault.Failed}
	}
	return err
}

// grant is what an installation grants of what the App asks for.
type grant struct {
	ID          int64             `json:"id"`
	Account     string            `json:"account"`
	AccountType string            `json:"account_type"`
	Asked       ghapp.Permissions `json:"asked"` // of an account of this type
	Granted     ghapp.Permissions `json:"granted"`
	Missing     ghapp.Permissions `json:"missing"`
	Review      string            `json:"review_url"` // "": GitHub's answer names no page of its own
	SuspendedAt *time.Time        `json:"suspended_at"`
}

func grantOf(i *ghapp.InstallationInfo, asked ghapp.Permissions, origin string) grant {
	g := grant{
		ID: i.ID, Account: i.Account, AccountType: i.AccountType,
		Asked: ghapp.Permissions{}, Granted: i.Permissions, Missing: ghapp.Permissions{},
	}
	for name, value := range asked {
		if !grantable(name, i.AccountType) {
			continue
		}
		g.Asked[name] = value
		if !i.Permissions.Covers(ghapp.Permissions{name: value}) {
			g.Missing[name] = value
		}
	}
	// A person is about to follow the link and to accept what is there.
	if strings.HasPrefix(i.URL, origin+"/") {
		g.Review = i.URL + "/permissions/update"
	}
	if !i.SuspendedAt.IsZero() {
		g.SuspendedAt = &i.SuspendedAt
	}
	return g
}

// personal are the permissions that users grant when they authorize the App, and that no
// installation has
// (https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps).
var personal = []string{"email_addresses", "emails", "followers", "git_ssh_keys", "gpg_keys", "keys", "plan",
	"profile", "starring", "watching"}

// grantable reports whether an account of a type can grant a permission.
func grantable(permission, accountType string) bool {
	if slices.Contains(personal, permission) {
		return false
	}
	enterprise := strings.HasPrefix(permission, "enterprise_")
	switch accountType {
	case "Enterprise":
		return enterprise
	case "User":
		return !enterprise && permission != "members" && permission != "team_discussions" &&
			!strings.HasPrefix(permission, "organization_")
	}
	return !enterprise
}
