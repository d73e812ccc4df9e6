package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// DemoOptions are for an [Env]'s Demo.
type DemoOptions struct {
	Serve bool         // keep the demo's GitHub running until ctx ends
	JSON  bool         // with Serve: print its environment for a program
	Own   childenv.Own // what no program that it starts gets
}

// demo is there where the program has one. It runs this package, and so it is handed in
// from above.
func (c *command) demo() *cobra.Command {
	serve := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way on this machine alone: an App, its key, a private repository, a clone",
		Long: `Shows the way from a GitHub App's key to a cloned private repository, with no
account and no network: a GitHub of our own runs in this process, on a loopback
port, with real git behind it. Every line that begins with $ is a command of ghapp
run as you would run it.

With --serve that GitHub goes on running, and the lines are printed that make ghapp use
it in another terminal.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.json && !serve {
				return &fault.UsageError{Err: errors.New("the demo is a story for people, and has no JSON")}
			}
			return c.Demo(cmd.Context(), c.Env, DemoOptions{Serve: serve, JSON: c.json, Own: c.apps().Own()})
		},
	}
	cmd.Flags().BoolVar(&serve, "serve", false, "keep the demo's GitHub running for you to try, until Ctrl-C")
	return cmd
}
