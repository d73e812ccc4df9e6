package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Option is one row of a table of what can be said to `ghapp sync` or `ghapp mirror`. The
// flags, their help, the variables, the keys of the config file and the documentation all
// come from it, so that a value that one of them takes is taken by every other.
type Option struct {
	// Command is the command's name, below which the config file has it: sync: NAME:.
	Command string
	// Key is its key there, and the name of its field in the structs of the command, such as
	// [Sync] or [SyncProcess]. The file has no key for what is about the process.
	Key string
	// Short is the flag's letter, or "".
	Short string
	// Env is its variable, where that is not GHAPP_SYNC_, or GHAPP_MIRROR_, and the key in
	// capitals.
	Env string
	// Kind says what a value is.
	Kind OptionKind
	// Least and Most bound a number, and a duration in nanoseconds. 0: no bound.
	Least, Most int64
	// Forever: a duration may be the word forever, which is [Forever].
	Forever bool
	// Values are those that a text may have, or each of a list; nil: any.
	Values []string
	// Check says what is wrong with a text, or with one of a list. Nil: nothing can be.
	Check func(string) error
	// Takes says what the file wants for a list.
	Takes string
	// Process: it is about the process, and not about one of what the file names.
	Process bool
	// Watching: it means something only to a process that goes on.
	Watching bool
	// Own: it says which one this is, and cannot be the same for several.
	Own bool
	// Emptied: one directory may say "" in the config file, for nothing where the defaults say
	// something.
	Emptied bool
	// Help is one line for people, without a full stop. A word in backquotes is what the
	// flag takes.
	Help string
}

// OptionKind is what a value of an [Option] is.
type OptionKind int

// The kinds of values.
const (
	TextOption     OptionKind = iota
	PathOption                // of a file or directory
	NumberOption              // from Least on
	DurationOption            // such as 30s or 90d
	SwitchOption              // true or false
	ListOption                // texts, separated by commas
	PathsOption               // paths, in a variable separated as in PATH
	SizeOption                // of bytes, such as 2G
)

// Forever is a duration that does not end.
const Forever = time.Duration(math.MaxInt64)

const (
	// ShortestPeriod is the least that a duration may be: GitHub is not to be asked without
	// a pause.
	ShortestPeriod = 100 * time.Millisecond
	// longestPeriod is the most of most. Who wants more wants something else.
	longestPeriod = 366 * 24 * time.Hour
	// mostNumber bounds a number: more of anything here is a slip of the finger.
	mostNumber = 1_000_000
)

// numberOption is a row of a number from 1 on.
func numberOption(key, help string) Option {
	return Option{Key: key, Kind: NumberOption, Least: 1, Most: mostNumber, Help: help}
}

// durationOption is a row of a time that something takes, or lies between two of something.
func durationOption(key, help string) Option {
	return Option{
		Key: key, Kind: DurationOption, Least: int64(ShortestPeriod), Most: int64(longestPeriod), Help: help,
	}
}

// rows are the rows of a table, each of its command.
func rows(command string, table []Option) []Option {
	for i := range table {
		table[i].Command = command
	}
	return table
}

// Flag is the name of the option's flag, without the dashes.
func (o Option) Flag() string { return strings.ReplaceAll(o.Key, "_", "-") }

// Variable is the name of the option's environment variable.
func (o Option) Variable() string {
	if o.Env != "" {
		return o.Env
	}
	return "GHAPP_" + strings.ToUpper(o.Command+"_"+o.Key)
}

// refusal is the error of a value that the option does not take, wherever it was given.
func (o Option) refusal() error {
	switch {
	case o.Values != nil:
		return fmt.Errorf("want %s", strings.Join(o.Values, " or "))
	case o.Kind == NumberOption:
		return fmt.Errorf("want a number from %d on", o.Least)
	case o.Forever:
		return fmt.Errorf("want a time from %s on, such as 90d, or forever", time.Duration(o.Least))
	case o.Kind == DurationOption:
		if o.Least >= int64(time.Minute) {
			return fmt.Errorf("want a time from %s on, such as 12h or 7d", time.Duration(o.Least))
		}
		return fmt.Errorf("want a time from %s on, such as 30s or 5m", time.Duration(o.Least))
	case o.Kind == SizeOption:
		return errors.New("want a size, such as 500M or 2G")
	case o.Kind == SwitchOption:
		return errors.New("want true or false")
	}
	return errors.New("want a single value")
}

// takes is an error for a text that the option, or its list, does not take.
func (o Option) takes(text string) error {
	if o.Values != nil && !slices.Contains(o.Values, text) {
		return o.refusal()
	}
	if o.Check != nil {
		return o.Check(text)
	}
	return nil
}

// ParseDuration is [time.ParseDuration], with days before the rest: 90d, or 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	before, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	days, err := strconv.ParseUint(before, 10, 16)
	if err != nil || rest == "" {
		return time.Duration(days) * 24 * time.Hour, err
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, errors.Join(err, errors.New("negative"))
	}
	return time.Duration(days)*24*time.Hour + more, nil
}

// parseSize reads a number of bytes, or of KiB (K), MiB, GiB or TiB.
func parseSize(text string) (int64, bool) {
	number := strings.TrimRight(text, "KMGTiB")
	factor, ok := map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[strings.TrimSuffix(
		text[len(number):], "iB")]
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 || n > (1<<62)/factor {
		return 0, false
	}
	return n * factor, true
}

// Assign reads the text of a value into its field, as [Sync.Field] or [Mirror.Field] returns it. A list is
// appended to. The error says what was wanted, and does not repeat the text.
func (o Option) Assign(field any, text string) error {
	switch field := field.(type) {
	case *string:
		if err := o.takes(text); err != nil {
			return err
		}
		*field = text
	case *int:
		n, err := strconv.Atoi(text)
		switch {
		case err != nil || int64(n) < o.Least:
			return o.refusal()
		case int64(n) > o.Most:
			return fmt.Errorf("want a number up to %d", o.Most)
		}
		*field = n
	case *int64:
		n, ok := parseSize(text)
		if !ok {
			return o.refusal()
		}
		*field = n
	case *time.Duration:
		d, err := ParseDuration(text)
		switch {
		case o.Forever && text == "forever":
			d = Forever
		case err != nil || int64(d) < o.Least:
			return o.refusal()
		case int64(d) > o.Most:
			return fmt.Errorf("want a time up to %.0fh", time.Duration(o.Most).Hours())
		}
		*field = d
	case *bool:
		yes, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return o.refusal()
		}
		*field = yes
	case *[]string:
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if err := o.takes(item); err != nil {
				return err
			}
			*field = append(*field, item)
		}
	default:
		panic("config: the option " + o.Key + " has no field") // a row without one; a test walks them all
	}
	return nil
}

// FromVariable reads the option's variable into its field, and reports whether it is set.
// One that is empty is not, as everywhere. A path is made absolute, with ~ expanded.
func (o Option) FromVariable(lookup func(string) (string, bool), field any) (set bool, err error) {
	text, _ := lookup(o.Variable())
	if text = strings.TrimSpace(text); text == "" {
		return false, nil
	}
	home, _ := lookup(homeVariable())
	switch {
	case secretIn(text) == aPrivateKey || secretIn(text) == aToken:
		err = fmt.Errorf("it holds %s", secretIn(text))
	case o.Key != "notify" && unfit("", text) != "":
		err = errors.New(unfit("", text))
	case o.Kind == PathsOption:
		for _, path := range filepath.SplitList(text) {
			if path, err = absolute(path, home); err != nil {
				break
			}
			list := field.(*[]string)
			*list = append(*list, path)
		}
	case o.Kind == PathOption:
		if text, err = absolute(text, home); err == nil {
			err = o.Assign(field, text)
		}
	default:
		err = o.Assign(field, text)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", o.Variable(), err)
	}
	return true, nil
}

// absolute is a path from the environment, with ~ expanded.
func absolute(path, home string) (string, error) {
	path, err := expand(path, home)
	if err != nil {
		return "", err
	}
	if _, err := os.Getwd(); err != nil && !filepath.IsAbs(path) {
		return "", errors.New("the path is relative, and the working directory is gone")
	}
	return filepath.Abs(path)
}
