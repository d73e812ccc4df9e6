package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/lfsconfig"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) credential() *cobra.Command {
	return &cobra.Command{
		Use:   "credential get|store|erase|capability",
		Short: "Answer git's credential protocol",
		Long: `Answers one operation of git's credential protocol on standard input and output.
git runs this by itself, as git-credential-ghapp, where its configuration names
the helper ghapp.`,
		Hidden: true,
		Args:   usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			op := credential.Operation(args[0])
			switch op {
			case credential.Capability:
				_, err := fmt.Fprint(c.Stdout, credential.Announcement)
				return err
			case credential.Get, credential.Erase:
			default:
				return nil // store, and what git may add: we keep our own tokens
			}
			asked, err := credential.Parse(term.Reader(cmd.Context(), c.Stdin))
			if err != nil {
				return err
			}
			answer, err := c.answer(cmd.Context(), op, asked)
			switch {
			case errors.Is(err, gitauth.ErrNotOurs):
				return nil
			case err != nil && op == credential.Get:
				return c.refuse(err)
			case err != nil || answer == nil:
				return err
			}
			return answer.Encode(c.Stdout)
		},
	}
}

// answer asks the agent where there is one, as git-credential-ghapp does, unless
// flags say whose credentials are wanted.
func (c *command) answer(ctx context.Context, op credential.Operation,
	asked *credential.Credential) (*credential.Credential, error) {
	gitauth.Stored(asked, c.largeFileStores(ctx))
	socket, _ := c.lookup("GHAPP_AGENT_SOCK")
	if socket != "" && len(c.givenFlags()) == 0 {
		answer, err := agent.Ask(ctx, socket, op, asked)
		if !errors.Is(err, agentproto.ErrUnavailable) {
			return answer, err
		}
	}
	opener := c.apps().With(func(o *apps.Options) { o.ByGit, o.RefusalLife = true, apps.GitRefusalLife })
	return opener.Answer(ctx, op, asked, c.helperFlags())
}

// helperFlags are those that the helper's line in git's configuration has, and with which
// git-credential-ghapp starts this program: credential FLAG... get. They are nil where
// another has started it.
func (c *command) helperFlags() []string {
	if c.args[0] != "credential" {
		return nil
	}
	return append([]string{}, c.args[1:len(c.args)-1]...)
}

// largeFileStores are the addresses that .lfsconfig of the work tree names, in which git
// works. git reads it: it is in the format of git's own configuration.
func (c *command) largeFileStores(ctx context.Context) []string {
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	path := lfsconfig.Near(dir, c.lookup)
	if path == "" {
		return nil
	}
	git := gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own(), Dir: filepath.Dir(path)}
	out, err := git.Output(ctx, gitcmd.Scope{}, "config", "--null", "--file", path, "--get-regexp",
		`^(lfs\.(push)?url|remote\..*\.lfs(push)?url)$`)
	if err != nil {
		c.log().Debug("no store of large files is read from .lfsconfig", "error", err)
		return nil
	}
	var list []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, address, ok := strings.Cut(entry, "\n"); ok {
			list = append(list, address)
		}
	}
	return list
}

// refuse tells git to ask nobody else: another helper, or a person at a prompt,
// would bring another identity. git takes that from a helper that ends well, so
// the reason goes to standard error and the exit code is 0.
func (c *command) refuse(reason error) error {
	c.report(diag.Explain(reason))
	return (&credential.Credential{Quit: true}).Encode(c.Stdout)
}
