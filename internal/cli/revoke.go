package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// maxToken bounds what revoke reads: GitHub's longest token is about 520
// characters and may grow.
const maxToken = 16 << 10

func (c *command) revoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke",
		Short: "End a token, read from standard input",
		Long: `Ends an installation access token at once. It is read from standard input, so that
it stands in no command line. No key is needed: a token is revoked by presenting
it.`,
		Example: `  ghapp revoke < token.txt`,
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if term.Is(c.Stdin) {
				c.progress("Paste the token, then press Ctrl-D.")
			}
			text, err := io.ReadAll(io.LimitReader(term.Reader(cmd.Context(), c.Stdin), maxToken+1))
			if err != nil {
				return fmt.Errorf("read the token: %w", err)
			}
			token := strings.TrimSpace(string(text))
			switch {
			case token == "":
				return &diag.UsageError{Err: errors.New("there is no token on standard input")}
			case len(token) > maxToken, strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
				return &diag.UsageError{Err: errors.New("what is on standard input is not one token")}
			}
			reach, err := c.reach(ghapp.Repository{})
			if err != nil {
				return err
			}
			if err := ghapp.RevokeToken(cmd.Context(), reach, ghapp.NewSecret(token)); err != nil {
				return err
			}
			c.progress("The token is revoked.")
			return nil
		},
	}
}
