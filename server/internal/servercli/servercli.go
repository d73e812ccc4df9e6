// Package servercli is commands: one file each, with its flags, one call of what it runs, and
// what is printed.
package servercli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Main runs ghapp-server with these arguments and returns its exit code. version is that of the build;
// empty: what Go knows of it.
func Main(version string, args []string) int {
	process.NoCore()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version}, args)
}

// Env is what a command has of the world around it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Version        string // of the build; empty: what Go knows of it
}

// Run is [Main] until ctx ends, and not until a signal.
func Run(ctx context.Context, env Env, args []string) int {
	root := newRoot(env)
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	ran, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return fault.Done
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return fault.Interrupted
	case !begun: // the command line was not understood
		err = &fault.UsageError{Err: err, Hint: fmt.Sprintf("see `%s --help`", ran.CommandPath())}
	}
	report := diag.Explain(err)
	for line := range strings.Lines(report.Message) {
		fmt.Fprintf(env.Stderr, "ghapp-server: error: %s\n", text.OneLine(line))
	}
	for line := range strings.Lines(report.Hint) {
		fmt.Fprintf(env.Stderr, "ghapp-server: hint: %s\n", text.OneLine(line))
	}
	return report.ExitCode
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "ghapp-server",
		Short:         "tokens of a GitHub App for machines that prove who they are",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newAudit(), newPolicy(), newRun(env), newVersion(env),
		newRevoke(), newSuspend(), newResume(), newOrders())
	return root
}
