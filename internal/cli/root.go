package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ghapp",
		Short: "From a GitHub App's key to a finished clone",
		Long: `ghapp authenticates as a GitHub App: it clones private repositories, and prints the
tokens to do so, with nobody's personal token and with nothing secret left behind.

Exit codes:
  ` + strings.Join(diag.ExitCodes(), "\n  "),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage(cobra.NoArgs),
		RunE:          help,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &diag.UsageError{Err: err} })
	flags := root.PersistentFlags()
	for _, setting := range config.Settings() {
		switch {
		case setting.Key == "key":
			flags.Var(new(keyFlag), setting.Flag, setting.Help)
		case setting.Flag != "":
			flags.String(setting.Flag, "", setting.Help)
		}
	}
	c.global = flags
	flags.BoolVar(&c.json, "json", false, "print JSON, errors too")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print errors and results only")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "tell every request")
	flags.BoolVar(&c.noCache, "no-cache", false, "share no tokens with other processes")
	root.AddCommand(
		c.demo(), c.setup(), c.clone(), c.sync(), c.token(), c.jwt(), c.installations(), c.repos(), c.revoke(),
		c.doctor(), c.keys(), c.app(), c.config(), c.gitSetup(), c.exec(), c.agent(), c.credential(), c.version(),
	)
	return root
}

// help is what a command does that only has others below it.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
