// Package cli is the command line of ghapp: one file a command. It reads flags,
// environment and configuration, calls the packages that do the work, and prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Env is what a command has of the world around it.
type Env struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Environ []string // as os.Environ
	Version string   // of this program; empty: from the build
	// Demo is what the command demo does; nil: there is no such command.
	Demo func(context.Context, Env, DemoOptions) error
}

// Process is the Env of this process.
func Process(version string) Env {
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Version: version}
}

// lookup is os.LookupEnv on the Env's environment.
func (e Env) lookup(name string) (string, bool) { return childenv.Lookup(e.Environ)(name) }

// Main runs one command and returns its exit code; see [fault.ExitCodes].
func Main(env Env, args []string) int {
	process.NoCore()
	ctx, stop := untilSignal()
	defer stop()
	return Run(ctx, env, args)
}

// untilSignal is a context that ends with a signal to end. One that was ignored when
// this process was started, as in the background of a shell's script, stays so.
func untilSignal() (context.Context, context.CancelFunc) {
	signals := slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM}, signal.Ignored)
	if len(signals) == 0 { // which would stand for all that there are
		return context.WithCancel(context.Background())
	}
	return signal.NotifyContext(context.Background(), signals...)
}

// Run is [Main] until ctx ends, and not until a signal: for who runs several commands in a
// process.
func Run(ctx context.Context, env Env, args []string) int {
	c := &command{Env: env, args: args, warnings: &term.Warnings{}}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	ran, err := root.ExecuteContextC(ctx)
	if code, told := exitCode(ctx, err); told {
		c.reportWarnings()
		return code
	}
	if _, wrong := errors.AsType[*fault.UsageError](err); wrong && asksForJSON(args) {
		c.json = true // though the parser has not come to it
	}
	report := diag.Explain(err)
	if report.ExitCode == fault.Usage && report.Hint == "" {
		report.Hint = fmt.Sprintf("see `%s --help`", ran.CommandPath())
	}
	c.report(report)
	return report.ExitCode
}

// exitCode is that of an error of which there is nothing more to tell.
func exitCode(ctx context.Context, err error) (code int, told bool) {
	if err == nil {
		return fault.Done, true
	}
	if ended, ok := errors.AsType[*childExit](err); ok {
		return ended.code, true
	}
	if examined, ok := errors.AsType[*examinedExit](err); ok {
		return examined.code, true
	}
	// A person pressed Ctrl-C, and knows it.
	return fault.Interrupted, ctx.Err() != nil && errors.Is(err, context.Canceled)
}

// reportWarnings tells a program what was logged, where there is no error to tell it with.
func (c *command) reportWarnings() {
	if list := c.warnings.List(); len(list) > 0 {
		_ = term.JSON(c.Stderr, map[string]any{"warnings": list})
	}
}

// report tells of an error on standard error. A server, or a proxy before it, can
// repeat a credential in whatever it answers.
func (c *command) report(r diag.Report) {
	c.scrub(&r)
	if c.json {
		value := map[string]any{"error": r}
		if list := c.warnings.List(); len(list) > 0 {
			value["warnings"] = list
		}
		_ = term.JSON(c.Stderr, value)
		return
	}
	parts := r.Errors
	if len(parts) == 0 {
		parts = []diag.Report{r}
	}
	for _, part := range parts {
		for line := range strings.Lines(part.Message) {
			fmt.Fprintf(c.Stderr, "ghapp: error: %s\n", text.OneLine(line))
		}
		for line := range strings.Lines(part.Hint) {
			fmt.Fprintf(c.Stderr, "ghapp: hint: %s\n", text.OneLine(line))
		}
	}
}

// scrub takes what looks like a credential out of a report.
func (c *command) scrub(r *diag.Report) {
	var secrets scrub.Scrubber
	r.Message, r.Hint, r.Request = secrets.String(r.Message), secrets.String(r.Hint), secrets.String(r.Request)
	for i := range r.Errors {
		c.scrub(&r.Errors[i])
	}
}

// command holds what the flags on every command say.
type command struct {
	Env
	args    []string       // the command line
	global  *pflag.FlagSet // the flags on every command
	opener  *apps.Opener   // once it was needed
	json    bool
	quiet   bool
	verbose bool
	noCache bool
	// followed says that what is done goes on for a while, and is told at once and in lines,
	// also with --json.
	followed bool
	// warnings are what was logged, for a program that reads JSON.
	warnings *term.Warnings
}

// givenFlags are those flags on every command that were given, by name.
func (c *command) givenFlags() map[string]string {
	given := map[string]string{}
	c.global.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			given[f.Name] = f.Value.String()
		}
	})
	return given
}

// apps opens Apps as flags, environment and config file say.
func (c *command) apps() *apps.Opener {
	if c.opener == nil {
		options := apps.Options{
			Environ: c.Environ, Flags: c.givenFlags(), UserAgent: "ghapp-cli/" + c.release(),
			Log: c.log(), Tell: c.progress, NoCache: c.noCache,
		}
		if !c.quiet && !c.json {
			options.Notice = func(line string) { fmt.Fprintf(c.Stderr, "ghapp: key: %s\n", text.OneLine(line)) }
		}
		c.opener = apps.New(options)
	}
	return c.opener
}

// console is how the command talks to the person who runs it.
func (c *command) console() term.Console {
	return term.Console{In: c.Stdin, Err: c.Stderr, Quiet: c.quiet, Verbose: c.verbose, Unattended: c.json}
}

// log tells of what is not as it should be: a person at once, a program in one JSON text with
// the error, or in the place of one.
func (c *command) log() *slog.Logger {
	switch {
	case !c.json || c.verbose || c.followed:
		return c.console().Log()
	case c.quiet:
		return c.warnings.Logger(slog.LevelError)
	}
	return c.warnings.Logger(slog.LevelWarn)
}

// progress tells a person what is being done. A program has the result.
func (c *command) progress(format string, args ...any) {
	if !c.json || c.verbose || c.followed {
		c.console().Progress(format, args...)
	}
}

func (c *command) person() term.Person { return c.console().Person() }
