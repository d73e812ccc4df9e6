package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// usage makes a wrong command line an error with the right exit code, and says what the
// command takes.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &fault.UsageError{Err: err, Hint: "usage: " + useOf(cmd)}
		}
		return nil
	}
}

// useOf is a command with what it takes, in one line.
func useOf(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Use
	}
	return cmd.Parent().CommandPath() + " " + cmd.Use
}

// noArguments refuses them, and asks whether another command was meant.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return &fault.UsageError{
			Err:  fmt.Errorf("%s takes no arguments, and was given %s", cmd.CommandPath(), text.Quoted(args[0])),
			Hint: "see `" + cmd.CommandPath() + " --help`",
		}
	}
	return unknownCommand(cmd, args[0])
}

// unknownCommand refuses a word in the place of a command.
func unknownCommand(parent *cobra.Command, word string) error {
	e := &fault.UsageError{
		Err:  fmt.Errorf("%s has no command %s", parent.CommandPath(), text.Quoted(word)),
		Hint: "`" + parent.CommandPath() + " --help` lists those it has",
	}
	var names []string
	for _, cmd := range parent.Commands() {
		if cmd.IsAvailableCommand() || cmd.Name() == "help" {
			names = append(names, cmd.Name())
		}
	}
	meant := spelling.Nearest(word, names)
	_, err := ghapp.ParseRepository(word)
	switch {
	case meant != "":
		e.Hint = spelling.DidYouMean(meant)
	case err == nil && !parent.HasParent():
		e.Hint = "to clone it: ghapp clone " + text.ShellWord(word)
	}
	return e
}

// flagError says of a flag what is wrong with it in words of ours: those of the parsers
// of Go's are for programmers.
func flagError(cmd *cobra.Command, err error) error {
	e := &fault.UsageError{Err: err}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		e.Hint, e.Err = unknownFlag(cmd, unknown)
	}
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		flag := wrong.GetFlag()
		e.Err = fmt.Errorf("--%s takes %s, not %s", flag.Name, takes(flag, wrong.Unwrap()), text.Quoted(wrong.GetValue()))
		e.Hint = spelling.DidYouMean(spelling.Nearest(wrong.GetValue(), choices(flag)))
	}
	return e
}

// unknownFlag explains a flag that cmd does not have.
func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) (hint string, err error) {
	name, hints := "--"+unknown.GetSpecifiedName(), []string{}
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		name = "-" + unknown.GetSpecifiedName()
	} else {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if meant := spelling.Nearest(unknown.GetSpecifiedName(), names); meant != "" {
			hints = append(hints, spelling.DidYouMean("--"+meant))
		}
	}
	switch cmd.Name() {
	case "clone":
		hints = append(hints, "an option of git clone goes after --: ghapp clone REPO -- "+name)
	case "exec":
		hints = append(hints, "the command and its options go after --: ghapp exec REPO -- COMMAND")
	}
	return strings.Join(hints, "\n"), fmt.Errorf("%s has no flag %s", cmd.CommandPath(), text.Quoted(name))
}

// takes says what values a flag takes, after "takes".
func takes(flag *pflag.Flag, why error) string {
	if list := choices(flag); len(list) > 0 {
		return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
	}
	switch kind := flag.Value.Type(); {
	case why != nil && strings.HasPrefix(why.Error(), "want "):
		return strings.TrimPrefix(why.Error(), "want ")
	case kind == "bool":
		return "true or false"
	case kind == "duration":
		return "a duration such as 30s, 5m or 1h"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	}
	return "another value"
}

// choice is a flag whose value is one of a few words.
type choice struct {
	value *string
	words []string
}

// choose adds a flag of words, the first of which is the default.
func choose(flags *pflag.FlagSet, value *string, name, help string, words ...string) {
	*value = words[0]
	flags.Var(&choice{value, words}, name, help)
}

// Set implements [pflag.Value].
func (c *choice) Set(word string) error {
	if !slices.Contains(c.words, word) {
		return errors.New("want " + strings.Join(c.words, " or "))
	}
	*c.value = word
	return nil
}

// String implements [pflag.Value].
func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Type is what help shows for the value.
func (c *choice) Type() string { return "string" }

// choices are the words that a flag takes, where these are few.
func choices(flag *pflag.Flag) []string {
	if c, ok := flag.Value.(interface{ choices() []string }); ok {
		return c.choices()
	}
	return nil
}

func (c *choice) choices() []string { return c.words }

// asksForJSON reports whether a command line has --json in it. A parser that has stopped
// at what is wrong has not come to it.
func asksForJSON(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--":
			return false
		case "--json", "--json=true":
			return true
		}
	}
	return false
}
