// Package fault has the errors that every floor may return to say what kind of mistake was
// made, with which code the program ends, and what to do next. What the errors of the other
// packages mean is in internal/diag.
package fault

import (
	"errors"
	"fmt"
)

// The exit codes of ghapp.
const (
	Done          = 0
	Failed        = 1   // for a cause that none of the others names
	Usage         = 2   // the command line is wrong
	Configuration = 3   // so is the configuration, or the key
	Refused       = 4   // by GitHub
	Unreachable   = 5   // GitHub, or rate limited: try later
	GitFailed     = 6   // git failed
	Interrupted   = 130 // by Ctrl-C or SIGTERM, as a shell has it
)

// ExitCodes says what each exit code means, for help and manual.
func ExitCodes() []string {
	return []string{
		fmt.Sprintf("%d  done", Done),
		fmt.Sprintf("%d  failed", Failed),
		fmt.Sprintf("%d  wrong command line", Usage),
		fmt.Sprintf("%d  wrong configuration or key", Configuration),
		fmt.Sprintf("%d  refused by GitHub", Refused),
		fmt.Sprintf("%d  GitHub unreachable or rate limited: try later", Unreachable),
		fmt.Sprintf("%d  git failed", GitFailed),
		fmt.Sprintf("%d  interrupted", Interrupted),
	}
}

// UsageError is a wrong command line.
type UsageError struct {
	Err  error
	Hint string // what to do next, one line; may be empty
}

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *UsageError) Unwrap() error { return e.Err }

// SettingError is a setting that cannot be used, or one that is missing.
type SettingError struct {
	Err  error
	Hint string // what to do next, one line; may be empty
}

func (e *SettingError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *SettingError) Unwrap() error { return e.Err }

// ExitError has an exit code of its own, such as that of a program that ran inside
// ours.
type ExitError struct {
	Code int
	Err  error
	Hint string // what to do next, one line; may be empty
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *ExitError) Unwrap() error { return e.Err }

// Hint is what an error in the chain of err says to do next, one line, such as a
// signer.KeyError. It is empty where none says so.
func Hint(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return e.Hint()
	}
	return ""
}

// ErrInstallationNamed in the detail of a refusal says that the cause may be the
// installation that the caller named: it is none of the App's, or that of another account.
var ErrInstallationNamed = errors.New("the installation was named")
