//go:build unix

package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/config"
)

// addOptionFlag adds the flag of an option.
func addOptionFlag(flags *pflag.FlagSet, option config.Option, field any) {
	f := flags.VarPF(&optionFlag{option: option, field: field}, option.Flag(), option.Short, option.Help)
	if option.Kind == config.SwitchOption {
		f.NoOptDefVal = "true"
	}
}

// optionFlag is a flag that takes what [config.Option.Assign] takes.
type optionFlag struct {
	option config.Option
	field  any
	given  bool
}

// Set implements [pflag.Value].
func (f *optionFlag) Set(text string) error {
	f.given = true
	return f.option.Assign(f.field, text)
}

// String implements [pflag.Value]: what was given, and no default, which the help tells.
func (f *optionFlag) String() string {
	if !f.given {
		return ""
	}
	switch field := f.field.(type) {
	case *string:
		return *field
	case *[]string:
		return strings.Join(*field, ",")
	case *int:
		return strconv.Itoa(*field)
	case *bool:
		return strconv.FormatBool(*field)
	case *int64:
		return strconv.FormatInt(*field, 10)
	case *time.Duration:
		return field.String()
	}
	return ""
}

func (f *optionFlag) choices() []string { return f.option.Values }

// Type implements [pflag.Value].
func (f *optionFlag) Type() string {
	return map[config.OptionKind]string{
		config.TextOption: "string", config.PathOption: "string",
		config.NumberOption: "int", config.DurationOption: "duration", config.SwitchOption: "bool",
		config.ListOption: "strings", config.PathsOption: "strings", config.SizeOption: "size",
	}[f.option.Kind]
}
