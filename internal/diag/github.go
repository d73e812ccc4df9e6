package diag

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/spelling"
)

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
		ghapp.ErrNoKey: {fault.Configuration, text(
			"a broker gives out tokens for named repositories or owners, and nothing of the App itself: " +
				"run this where the key is, or name OWNER/NAME")},
		ghapp.ErrIdentity: {fault.Configuration, text(
			"the broker wants to know who asks: name with identity: (GHAPP_IDENTITY) what proves it here; " +
				"`ghapp doctor` shows what was found")},
		ghapp.ErrBrokerRefused: {fault.Refused, text(
			"a broker does not tell strangers why: `ghapp doctor` shows as whom it was asked; who runs the broker " +
				"finds the reason in its audit log, by the id")},
		ghapp.ErrBrokerUnreachable: {fault.Unreachable, text(
			"check broker: (GHAPP_BROKER), the network and https_proxy; tokens that are cached serve on while they live")},
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
