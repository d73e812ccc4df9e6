package servercli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/control"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
)

// orderFlags are those of all commands that give orders.
type orderFlags struct {
	config string
	reason string
	json   bool
}

func (f *orderFlags) add(c *cobra.Command, reason bool) *cobra.Command {
	c.Flags().StringVar(&f.config, "config", "/etc/ghapp-server/ghapp-server.yaml", "the settings of the server")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	if reason {
		c.Flags().StringVar(&f.reason, "reason", "", "why, for the audit and for those who take the order back")
	}
	return c
}

// client reaches the server that runs with these settings.
func (f *orderFlags) client() (control.Client, error) {
	s, err := settings.Read(f.config)
	if err != nil {
		return control.Client{}, err
	}
	return control.Client{Path: s.Control}, nil
}

func newRevoke() *cobra.Command {
	f, t := &orderFlags{}, engine.Target{}
	c := &cobra.Command{
		Use:   "revoke",
		Short: "End the tokens that are out, and hand out none until told otherwise",
		Long: `Ends every token of the target at GitHub and hands out none for it any more, on all replicas,
until the order is taken back with resume. All tokens that reach a repository are ended, also
those that reach others as well.`,
		Example: `  ghapp-server revoke --repository acme/site --reason "leaked in a log"
  ghapp-server revoke --identity "https://token.actions.githubusercontent.com repo:acme/site:ref:refs/heads/main"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.give(cmd, t, true) },
	}
	flags := f.add(c, true).Flags()
	flags.StringVar(&t.Identity, "identity", "", "a caller: its issuer and subject, with a blank between them")
	flags.StringVar(&t.Repository, "repository", "", "a repository, OWNER/NAME")
	flags.Int64Var(&t.Installation, "installation", 0, "the ID of an installation")
	flags.BoolVar(&t.All, "all", false, "all callers and repositories")
	return c
}

func newSuspend() *cobra.Command {
	f := &orderFlags{}
	return f.add(&cobra.Command{
		Use:   "suspend RULE",
		Short: "Hand out nothing by a rule until told otherwise",
		Long:  `Hands out nothing by a rule of the policy, on all replicas. Tokens that are out live on.`,
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return f.give(cmd, engine.Target{Rule: args[0]}, false) },
	}, true)
}

func newResume() *cobra.Command {
	f := &orderFlags{}
	return f.add(&cobra.Command{
		Use:   "resume ORDER",
		Short: "Take back an order of revoke or suspend",
		Long:  `Takes back an order, by the ID that revoke or suspend has printed, and orders shows.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			answer, err := c.TakeBack(cmd.Context(), args[0])
			return f.print(cmd, answer, err)
		},
	}, false)
}

func newOrders() *cobra.Command {
	f := &orderFlags{}
	return f.add(&cobra.Command{
		Use:   "orders",
		Short: "Show the orders of revoke and suspend that hold",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			answer, err := c.Orders(cmd.Context())
			return f.print(cmd, answer, err)
		},
	}, false)
}

func (f *orderFlags) give(cmd *cobra.Command, t engine.Target, revoke bool) error {
	if err := t.Check(); err != nil {
		return &fault.UsageError{Err: err, Hint: fmt.Sprintf("see `%s --help`", cmd.CommandPath())}
	}
	c, err := f.client()
	if err != nil {
		return err
	}
	answer, err := c.Give(cmd.Context(), t, revoke, f.reason)
	return f.print(cmd, answer, err)
}

// print shows an answer. An order that holds on this replica alone, or is in no audit, is a failure.
func (f *orderFlags) print(cmd *cobra.Command, a control.Answer, err error) error {
	if err != nil {
		return err
	}
	if f.json {
		if err := term.JSON(cmd.OutOrStdout(), a); err != nil {
			return err
		}
	} else {
		printOrders(cmd.OutOrStdout(), a.Orders)
	}
	if a.Warning != "" {
		return &fault.ExitError{Code: fault.Failed, Err: errors.New(text.OneLine(a.Warning)),
			Hint: "the order holds on the replica that was asked; see `ghapp-server orders` on the others"}
	}
	return nil
}

func printOrders(w io.Writer, orders []engine.Order) {
	for _, o := range orders {
		what := "suspended"
		if o.Revoke {
			what = "revoked"
		}
		fmt.Fprintf(w, "%s  %s  %s  %s  %s\n", o.ID, o.Time.Format(time.RFC3339), what, text.OneLine(o.Target.String()),
			text.OneLine(o.Reason))
	}
}
