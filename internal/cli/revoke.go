package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/ghtoken"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/secret"
)

func (c *command) revoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke",
		Short: "End a token, read from standard input",
		Long: `Ends an installation access token at once, at GitHub, in the cache and in the agent. It
is read from standard input, so that it stands in no command line: as it is, or in any
form that ghapp token and git's credential protocol have for it (NAME=TOKEN, JSON, in
quotes). No key is needed: a token is revoked by presenting it.`,
		Example: `  ghapp revoke < token.txt`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if term.Is(c.Stdin) {
				c.progress("Paste the token, then press Ctrl-D.")
			}
			text, err := io.ReadAll(io.LimitReader(term.Reader(cmd.Context(), c.Stdin), ghtoken.MaxText+1))
			if err != nil {
				return fmt.Errorf("read the token: %w", err)
			}
			found, err := ghtoken.Installation(string(text))
			if err != nil {
				return &fault.UsageError{Err: err}
			}
			token := secret.New(found)
			reach, err := c.apps().Reach(ghapp.RepositoryName{})
			if err != nil {
				return err
			}
			// Before GitHub is told, so that nobody is given a dead one meanwhile.
			if err := ghapp.Purge(cmd.Context(), c.apps().Store(), token); err != nil {
				c.log().Warn("a revoked token stays in the cache", "error", err)
			}
			c.tellAgents(cmd.Context(), token)
			err = reach.Client.Revoke(cmd.Context(), token)
			if errors.Is(err, ghapp.ErrTokenRefused) {
				return &fault.ExitError{Code: fault.Refused, Err: err,
					Hint: "nothing needs to be done if it is a token of this host: it has expired, or was revoked before"}
			}
			if err != nil {
				return err
			}
			if c.json {
				return term.JSON(c.Stdout, map[string]bool{"revoked": true})
			}
			c.progress("The token is revoked.")
			return nil
		},
	}
}

// tellAgents has the agents that git asks hand out a token no more.
func (c *command) tellAgents(ctx context.Context, token secret.Text) {
	named, _ := c.lookup("GHAPP_AGENT_SOCK")
	sockets := []string{named, agent.SocketPath(c.lookup)}
	for _, socket := range slices.Compact(sockets) {
		if socket == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, agentAnswers)
		client, err := agent.Dial(socket)
		if err == nil {
			err = client.Forget(ctx, token)
		}
		cancel()
		if refused, ok := errors.AsType[*agentproto.RefusedError](err); ok && socket == named {
			// A command that answers for itself, such as exec, finds out when it uses it.
			c.log().Debug("the agent does not forget the token", "error", refused)
		} else if err != nil && !errors.Is(err, agentproto.ErrUnavailable) {
			c.log().Warn("an agent may hand out the revoked token once more", "socket", socket, "error", err)
		}
	}
}
