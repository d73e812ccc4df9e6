// Package diag says what an error means to a person: one message, one hint, one
// exit code.
package diag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/spelling"
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
		ofExit, ofInterruption, ofBarerepo, ofGitFailure, ofDeploy,
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

// meaning is the hint of a [ghapp.Kind] and its exit code.
type meaning struct {
	exit int
	hint func(*ghapp.Error) string
}

func text(hint string) func(*ghapp.Error) string {
	return func(*ghapp.Error) string { return hint }
}

// meanings has every Kind; a test holds it against the library's list.
func meanings() map[ghapp.Kind]meaning {
	return map[ghapp.Kind]meaning{
		ghapp.ErrInvalid: {fault.Usage, text("")},
		ghapp.ErrKey: {fault.Configuration,
			text("the key is there but does not sign; compare `ghapp keys fingerprint` with the App's settings page")},
		ghapp.ErrKeyMismatch: {fault.Configuration, text(
			"this key is not one of this App's, or was deleted there: compare `ghapp keys fingerprint` with the fingerprints " +
				"on the App's settings page (Private keys), and the client ID with the one at its top")},
		ghapp.ErrAppUnknown: {fault.Configuration, text(
			"give the client ID (Iv23li…) or the App ID from the top of the App's settings page, and check --host: " +
				"an App is known on one host only")},
		ghapp.ErrClockOff: {fault.Refused, func(e *ghapp.Error) string {
			offset := detail[ghapp.ClockError](e).Offset
			if !api.Believable(offset) {
				return "set this machine's clock (timedatectl set-ntp true); if it is right, " +
					"what answers is not GitHub: " + anotherServer
			}
			return fmt.Sprintf("this machine's clock is %s off by GitHub's, and signing by GitHub's clock did not help: "+
				"set the clock (timedatectl set-ntp true)", offset.Abs().Round(time.Second))
		}},
		ghapp.ErrNotInstalled: {fault.Refused, unlessNamed(
			"install the App on this owner (its public page, Install), or, if it is installed, check the owner's name: " +
				"`ghapp installations` lists where it is")},
		ghapp.ErrSuspended: {fault.Refused, text(
			"an owner of the account can lift the suspension: Settings, GitHub Apps, Configure, Unsuspend")},
		ghapp.ErrEnterprise: {fault.Refused, text("install the App on the organization that owns the repository")},
		ghapp.ErrRepositoryNotSelected: {fault.Refused, unlessNamed(
			"check the repository's name; if it is right, add it on the installation's page (Settings, GitHub Apps, " +
				"Configure, Repository access); `ghapp repos` lists those the App reaches")},
		ghapp.ErrPermission: {fault.Refused, func(e *ghapp.Error) string {
			about := detail[ghapp.PermissionError](e)
			if len(about.Wanted) > 0 && about.Asked.Covers(about.Wanted) {
				return notAccepted(about.Page)
			}
			if meant := misspelled(about.Wanted); meant != "" {
				return meant
			}
			granted := "unknown"
			if about.Granted != nil {
				granted = about.Granted.String()
			}
			return fmt.Sprintf("wanted %s, granted %s: add the permission to the App (Permissions & events), "+
				"then accept it on the installation's page; until an owner accepts, the old permissions hold",
				orNothing(about.Wanted.String()), orNothing(granted))
		}},
		ghapp.ErrTooBroad: {fault.Refused,
			text("GitHub granted more than was asked; the token was revoked and nothing was used. " +
				"A proxy that changes requests does this")},
		ghapp.ErrWrongHost: {fault.Configuration, text(
			"a credential goes to its own host only; name the host of the repository with --host, " +
				"and its API with --api-url if that is elsewhere")},
		ghapp.ErrIPAllowList: {fault.Refused, text(
			"the owner lets in listed addresses only: an organization owner adds this machine's address, " +
				"or the App's owner lists it for the App and the organization allows App lists")},
		ghapp.ErrSAML: {fault.Refused, text("the organization wants SAML single sign-on; tokens of an App need none, " +
			"so check that this token is an App's")},
		ghapp.ErrRateLimited: {fault.Unreachable, rateHint},
		ghapp.ErrTokenRefused: {fault.Refused, text(
			"the token has expired or was revoked; run the command again for a new one")},
		ghapp.ErrTokenUnknown: {fault.Unreachable, text(
			"GitHub spreads a new token to its git servers within seconds, sometimes longer: run the command again")},
		ghapp.ErrUnreachable: {fault.Unreachable, unreachableHint},
		ghapp.ErrUntrusted:   {fault.Configuration, untrustedHint},
		ghapp.ErrRefused: {fault.Refused,
			text("GitHub's message above is all there is; its request id helps GitHub's support")},
	}
}

// misspelled asks whether another permission was meant than one that GitHub may not have.
func misspelled(wanted ghapp.Permissions) string {
	names := permission.Names()
	for name := range wanted {
		if !slices.Contains(names, name) {
			hint := "GitHub may have no permission " + name
			if meant := spelling.Nearest(name, names); meant != "" {
				return spelling.DidYouMean(meant) + " " + hint
			}
			return hint + ": check its name; one that is new is added to the App (Permissions & events), " +
				"and accepted on the installation's page"
		}
	}
	return ""
}

// unlessNamed is a hint for an installation that GitHub was asked for by its owner. One
// that was named may be the mistake.
func unlessNamed(hint string) func(*ghapp.Error) string {
	return func(e *ghapp.Error) string {
		if errors.Is(e, fault.ErrInstallationNamed) {
			return leaveOut
		}
		return hint
	}
}

// leaveOut is the hint for every installation that should not have been named.
const leaveOut = "leave the installation out (--installation, GHAPP_INSTALLATION, " +
	"or installation in the config file): that of the repository's owner is found by itself"

// notAccepted is the hint for what the App asks for and the account does not grant.
func notAccepted(page string) string {
	return "the App asks for it already: an owner of the account accepts it on the installation's page, " + page
}

func rateHint(e *ghapp.Error) string {
	until := detail[ghapp.RateLimitError](e).Until
	if until.IsZero() {
		return "wait for at least a minute, then try again less often"
	}
	return fmt.Sprintf("try again after %s (in %s)", until.Local().Format(time.TimeOnly),
		max(time.Until(until), 0).Round(time.Second))
}

// detail is the one of its type that an error has, or the zero value.
func detail[T any, E interface {
	*T
	error
}](e *ghapp.Error) T {
	if found, ok := errors.AsType[E](e); ok {
		return *found
	}
	var none T
	return none
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

func ofGitHub(report *Report, e *ghapp.Error) {
	known, ok := meanings()[e.Kind]
	if !ok {
		known = meaning{fault.Failed, text("")}
	}
	report.Kind, report.Request, report.ExitCode, report.Hint = code(string(e.Kind)),
		e.RequestID, known.exit, known.hint(e)
	if errors.Is(e, fault.ErrInstallationNamed) {
		report.ExitCode = fault.Configuration
	}
	if proxy, ok := errors.AsType[*api.ProxyError](e.Err); ok && proxy.Setting != "" {
		report.ExitCode = fault.Configuration
	}
	if foreign, ok := errors.AsType[*api.ForeignError](e.Err); ok {
		ofTrouble(report, Foreign(foreign))
	}
	if e.Kind == ghapp.ErrKey {
		// The signer's own error may know better.
		if hint := fault.Hint(e.Err); hint != "" {
			report.Hint = hint
		}
	}
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
