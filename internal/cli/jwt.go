package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) jwt() *cobra.Command {
	return &cobra.Command{
		Use:   "jwt",
		Short: "Print a JSON Web Token of the App",
		Long: `Prints a JSON Web Token, signed with the App's key: it opens the endpoints of the
App itself (GET /app and the like), not repositories. It lives five minutes.`,
		Example: `  curl -H "Authorization: Bearer $(ghapp jwt)" https://api.github.com/app`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := c.apps().Open(cmd.Context(), ghapp.RepositoryName{})
			if err != nil {
				return err
			}
			token, err := session.App.JWT(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return term.JSON(c.Stdout, map[string]any{"jwt": token.Secret.Reveal(), "expires_at": token.ExpiresAt})
			}
			_, err = fmt.Fprintln(c.Stdout, token.Secret.Reveal())
			return err
		},
	}
}
