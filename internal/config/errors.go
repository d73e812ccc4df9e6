package config

import (
	"errors"
	"strings"
)

// ErrOtherHost is wrapped by the error of [Config.App] where the repository is on
// a host that no App of the configuration is for.
var ErrOtherHost = errors.New("no App is configured for this host")

// Error is everything that is wrong with the configuration; there is at least one
// problem.
type Error struct {
	Problems []Problem
	Err      error // the cause, for errors.Is: ErrOtherHost, that of a file, or nil
}

// Error has one line for each problem. It holds no value of a setting, since
// somebody may have put a secret in the wrong place.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
