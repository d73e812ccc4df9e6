// Package servercli is commands: one file each, with its flags, one call of what it runs, and
// what is printed.
package servercli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/process"
)

// Main runs ghapp-server with these arguments and returns its exit code.
func Main(args []string) int {
	process.NoCore()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ghapp-server: "+err.Error())
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "ghapp-server",
		Short:         "tokens of a GitHub App for machines that prove who they are",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newAudit())
	return root
}
