// Package diag says what an error means to a person: one message, one hint, one
// exit code.
package diag

import (
	"context"
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/signer"
)

// Report is what a person, or a program with --json, is told of an error.
type Report struct {
	Message  string `json:"message"`           // what failed, and why
	Hint     string `json:"hint,omitempty"`    // what next: one line, a command if there is one
	Kind     string `json:"kind"`              // a stable code, such as repository-not-selected
	Request  string `json:"request,omitempty"` // GitHub's id of the request
	ExitCode int    `json:"exit_code"`
	// Errors are the parts, each with its own hint, where there are several; Message and
	// Hint have a line for each.
	Errors []Report `json:"errors,omitempty"`
}

// Explain returns the report of an error. The innermost error that knows its hint
// decides. Of several that were joined, each keeps its own hint, and the first one that
// knows its exit code decides about that.
func Explain(err error) Report {
	parts := joined(err)
	if len(parts) < 2 {
		report := explain(err)
		if report.Kind == "" {
			report.Kind = kindOfExit(report.ExitCode)
		}
		return report
	}
	reports := make([]Report, len(parts))
	for i, part := range parts {
		reports[i] = Explain(part)
	}
	return together(reports)
}

// joined are the errors that [errors.Join] has put together, and err itself where it is
// none of these.
func joined(err error) []error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var lines []string
	for _, part := range several.Unwrap() {
		lines = append(lines, part.Error())
	}
	if strings.Join(lines, "\n") != err.Error() {
		return []error{err} // one sentence, of which they are parts
	}
	var parts []error
	for _, part := range several.Unwrap() {
		parts = append(parts, joined(part)...)
	}
	return parts
}

// together is the report of several.
func together(reports []Report) Report {
	main := reports[0]
	var messages, hints []string
	for _, r := range reports {
		if main.ExitCode == fault.Failed && r.ExitCode != fault.Failed {
			main = r
		}
		messages = append(messages, r.Message)
		if r.Hint != "" {
			hints = append(hints, r.Hint)
		}
	}
	main.Message, main.Hint, main.Errors = strings.Join(messages, "\n"), strings.Join(hints, "\n"), reports
	return main
}

// explain is the report of one error: by the first of the tables that knows it.
func explain(err error) Report {
	report := Report{Message: err.Error(), ExitCode: fault.Failed}
	for _, knows := range []func(*Report, error) bool{
		ofExit, ofInterruption, ofWork, ofBarerepo, ofGitFailure, ofDeploy,
		known(ofRef), ofUnsupported, known(ofTooLarge), known(ofKey),
		known(ofConfig), known(ofSetting), known(ofTrouble), known(ofGitHub), known(ofNetwork),
		ofUsage, ofDeadline,
	} {
		if knows(&report, err) {
			break
		}
	}
	return report
}

// known is a table for the errors of a type: it knows those that have one in their chain.
func known[E error](of func(*Report, E)) func(*Report, error) bool {
	return func(report *Report, err error) bool {
		e, ok := errors.AsType[E](err)
		if ok {
			of(report, e)
		}
		return ok
	}
}

func ofExit(report *Report, err error) bool {
	e, ok := errors.AsType[*fault.ExitError](err)
	if !ok {
		return false
	}
	report.Hint, report.ExitCode = e.Hint, e.Code
	if inner := Explain(e.Err); inner.Kind != kindFailed {
		report.Kind = inner.Kind
	}
	return true
}

func ofInterruption(report *Report, err error) bool {
	if !errors.Is(err, context.Canceled) {
		return false
	}
	report.ExitCode = fault.Interrupted
	return true
}

// ofGitFailure is git's failure, also in what sync does.
func ofGitFailure(report *Report, err error) bool {
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok {
		return false
	}
	ofGit(report, e)
	if of, ok := errors.AsType[*deploy.Error](err); ok {
		ofGitInDeploy(report, e, of)
	}
	return true
}

func ofUnsupported(report *Report, err error) bool {
	if !errors.Is(err, refs.ErrUnsupported) {
		return false
	}
	report.ExitCode = fault.Unreachable
	report.Hint = "something between this machine and the host changes answers, or the host is no git service: " +
		"check --host and the proxy; `git ls-remote` shows what git gets"
	return true
}

func ofTooLarge(report *Report, _ *gitwire.TooLargeError) {
	report.Kind, report.ExitCode = "too-large", fault.GitFailed
	report.Hint = "if the repository is meant to be so large, let git have it (`git clone --mirror`); " +
		"`git ls-remote` shows its refs"
}

func ofKey(report *Report, e *signer.KeyError) {
	report.Kind, report.Hint, report.ExitCode = e.Problem.Code(), e.Hint(), fault.Configuration
	if e.Problem.Temporary() {
		report.ExitCode = fault.Unreachable
	}
}

func ofSetting(report *Report, e *fault.SettingError) {
	report.Hint, report.ExitCode = e.Hint, fault.Configuration
}

func ofUsage(report *Report, err error) bool {
	wrongLine, ok := errors.AsType[*fault.UsageError](err)
	if ok {
		report.Hint = wrongLine.Hint
	}
	if _, wrongOption := errors.AsType[*gitcmd.OptionError](err); !ok && !wrongOption {
		return false
	}
	report.ExitCode = fault.Usage
	return true
}

// ofDeadline is what no other table knows.
func ofDeadline(report *Report, err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		report.ExitCode = fault.Unreachable
	}
	return true
}

func ofConfig(report *Report, e *config.Error) {
	var reports []Report
	for _, p := range e.Problems {
		hint := p.Hint
		p.Hint = ""
		reports = append(reports, Report{Message: p.String(), Hint: hint, Kind: kindConfiguration,
			ExitCode: fault.Configuration})
	}
	switch len(reports) {
	case 0:
		report.ExitCode = fault.Configuration
	case 1:
		*report = reports[0]
	default:
		*report = together(reports)
	}
}
