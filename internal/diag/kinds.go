package diag

import (
	"strings"
	"unicode"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// The kinds of errors that say no more than their exit code.
const (
	kindFailed        = "failed"
	kindUsage         = "usage"
	kindConfiguration = "configuration"
	kindRefused       = "refused"
	kindUnreachable   = "unreachable"
	kindGit           = "git-failed"
	kindInterrupted   = "interrupted"
)

// kindOfExit is the kind of an error that has no other.
func kindOfExit(code int) string {
	switch code {
	case fault.Usage:
		return kindUsage
	case fault.Configuration:
		return kindConfiguration
	case fault.Refused:
		return kindRefused
	case fault.Unreachable:
		return kindUnreachable
	case fault.GitFailed:
		return kindGit
	case fault.Interrupted:
		return kindInterrupted
	}
	return kindFailed
}

// code is the kind that programs are told, in JSON, notices and metrics: a few words with
// hyphens, which stay when the sentence that people read becomes a better one. A cause
// of few words is its own.
func code(cause string) string {
	if known, ok := codes()[cause]; ok {
		return known
	}
	return strings.Join(strings.FieldsFunc(strings.ToLower(cause), func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), "-")
}

// codes has every cause whose words are a sentence; a test finds those that lack one.
func codes() map[string]string {
	return map[string]string{
		string(ghapp.ErrKeyMismatch):  "key-mismatch",
		string(ghapp.ErrAppUnknown):   "app-unknown",
		string(ghapp.ErrNotInstalled): "not-installed",
		string(ghapp.ErrSuspended):    "suspended",
		string(ghapp.ErrTooBroad):     "granted-too-much",
		string(ghapp.ErrIPAllowList):  "ip-not-allowed",
		string(ghapp.ErrSAML):         "saml-required",
		string(ghapp.ErrUnreachable):  kindUnreachable,
		string(ghapp.ErrUntrusted):    "certificate-not-trusted",
		string(ghapp.ErrNoKey):        "no-key",

		string(gitcmd.Unknown):             kindGit,
		string(gitcmd.NotInstalled):        "git-missing",
		string(gitcmd.TooOld):              "git-too-old",
		string(gitcmd.Killed):              "git-killed",
		string(gitcmd.DestinationExists):   "destination-exists",
		string(gitcmd.DestinationClosed):   "destination-closed",
		string(gitcmd.DiskFull):            "disk-full",
		string(gitcmd.DiskFailed):          "disk-failed",
		string(gitcmd.LFSMissing):          "git-lfs-missing",
		string(gitcmd.Rewritten):           "url-rewritten",
		string(gitcmd.PromptDisabled):      "no-credential",
		string(gitcmd.HostUnresolved):      "host-not-resolved",
		string(gitcmd.ConfigurationBroken): "git-configuration-broken",
		string(gitcmd.ObjectRefused):       "object-refused",
		string(gitcmd.ObjectTooLarge):      "object-too-large",

		string(barerepo.ErrMissing):       "objects-missing",
		string(barerepo.ErrBroken):        "pack-broken",
		string(barerepo.ErrNoCommit):      "branch-no-commit",
		string(barerepo.ErrListing):       "refs-not-credible",
		string(barerepo.ErrForeign):       "foreign-repository",
		string(barerepo.ErrDamaged):       "mirror-damaged",
		string(barerepo.ErrConfiguration): "mirror-configuration",
		string(barerepo.ErrBundle):        "bundle-damaged",
		string(barerepo.ErrHistoryLost):   "history-lost",
		string(barerepo.ErrNoHistory):     "time-unknown",

		string(deploy.ErrBusy):          "busy",
		string(deploy.ErrForeign):       "foreign-directory",
		string(deploy.ErrOtherMode):     "other-mode",
		string(deploy.ErrCheck):         "check-failed",
		string(deploy.ErrExec):          "exec-failed",
		string(deploy.ErrDamaged):       "release-damaged",
		string(deploy.ErrSignature):     "signature-refused",
		string(deploy.ErrNoRelease):     "no-such-release",
		string(deploy.ErrNothingBefore): "no-release-before",
		string(deploy.ErrSubmodule):     "submodule-failed",
		string(deploy.ErrUnsafe):        "unsafe-directory",
		string(deploy.ErrPointer):       "large-file-missing",
		string(deploy.ErrSparse):        "sparse-path-missing",
		string(deploy.ErrNoExchange):    "no-exchange",
	}
}
