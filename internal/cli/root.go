package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
)

func (c *command) root() *cobra.Command {
	version := false
	root := &cobra.Command{
		Use:   "ghapp",
		Short: "From a GitHub App's key to a finished clone",
		Long: `ghapp authenticates as a GitHub App: it clones private repositories, and prints the
tokens to do so, with nobody's personal token and with nothing secret left behind.

Exit codes:
  ` + strings.Join(fault.ExitCodes(), "\n  "),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				return c.printVersion()
			}
			return help(cmd, args)
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseSwallowedFlags(cmd); err != nil {
				return err
			}
			return refuseEmptyFlags(cmd)
		},
	}
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpOn(root))
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
		c.setup(), c.clone(), c.sync(), c.mirror(), c.token(), c.jwt(), c.installations(), c.repos(), c.revoke(),
		c.doctor(), c.keys(), c.app(), c.config(), c.gitSetup(), c.exec(), c.agent(), c.credential(), c.version(),
	)
	if c.Demo != nil {
		root.AddCommand(c.demo())
	}
	if c.completing() {
		c.completes(root)
	}
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, wantsShell
		}
	}
	return root
}

// refuseSwallowedFlags is for a flag whose value was forgotten, so that the next flag was
// taken for it: --to --json would publish into a directory of that name.
func refuseSwallowedFlags(cmd *cobra.Command) error {
	var err error
	flag := regexp.MustCompile(`^--([a-z][a-z0-9-]*(=.*)?)?$`) // and not the first line of a key
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			if err == nil && flag.MatchString(value) {
				err = &fault.UsageError{
					Err:  fmt.Errorf("--%s has no value: what follows it, %s, is a flag", f.Name, text.Quoted(value)),
					Hint: "give it a value; a file or a directory of such a name is written with ./ before it: ./--json",
				}
			}
		}
	})
	return err
}

// refuseEmptyFlags is for a flag whose value was a variable that is not set: to go on
// as if there were no flag would print a token that was to go to a file, or ask for
// other permissions than were meant. The configuration's own flags are its to refuse,
// with their hints.
func refuseEmptyFlags(cmd *cobra.Command) error {
	var err error
	inherited := cmd.Root().PersistentFlags()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Changed && inherited.Lookup(f.Name) == nil && emptyValue(f.Value) {
			err = errors.Join(err, fmt.Errorf("--%s is empty; leave it out or give it a value", f.Name))
		}
	})
	if err != nil {
		return &fault.UsageError{Err: err}
	}
	return nil
}

// emptyValue reports whether the value of a flag, or of one of those that were given for
// it, is empty.
func emptyValue(v pflag.Value) bool {
	list, ok := v.(pflag.SliceValue)
	if !ok {
		return v.String() == ""
	}
	values := list.GetSlice()
	return len(values) == 0 || slices.Contains(values, "")
}

// helpOn is the command help, which fails for a command that there is not.
func helpOn(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say what a command does",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd := root
			for _, word := range args {
				i := slices.IndexFunc(cmd.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word })
				if i < 0 {
					return unknownCommand(cmd, word)
				}
				cmd = cmd.Commands()[i]
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// wantsShell is the command completion without the name of a shell that it knows. A shell
// that evaluates what it prints must not get the text of a help.
func wantsShell(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	var names []string
	for _, shell := range cmd.Commands() {
		names = append(names, shell.Name())
	}
	return &fault.UsageError{Err: errors.New("name the shell: " + strings.Join(names, ", ")),
		Hint: "usage: " + cmd.CommandPath() + " SHELL"}
}

// help is what a command does that only has others below it.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
