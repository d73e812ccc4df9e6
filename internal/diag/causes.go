package diag

import "github.com/ghapp-dev/ghapp/internal/fault"

// Trouble is a cause that no failed command names: it has not led to a failure yet, or the
// message of the failure leaves open what caused it. `ghapp doctor` finds troubles by looking. A new
// one is a constant here with its hint below, and a link of internal/doctor that finds it.
type Trouble string

// The troubles.
const (
	KeyOpen               Trouble = "key-open-to-others"
	KeyUnignored          Trouble = "key-not-ignored"
	KeyOfAnother          Trouble = "key-of-another-app"
	KeyNotTaken           Trouble = "newest-key-not-taken"
	ConfigurationOpen     Trouble = "configuration-open-to-others"
	NotGitHub             Trouble = "not-github"
	ClockOff              Trouble = "clock-off" // and mended by GitHub's
	AuthorityOfGit        Trouble = "authority-known-to-git-alone"
	GitUnsupported        Trouble = "git-unsupported"
	InstallationReplaced  Trouble = "installed-anew"
	InstallationIsApp     Trouble = "installation-is-app-id"
	InstallationOfAnother Trouble = "installation-of-another-owner"
	PermissionNotAccepted Trouble = "permission-not-accepted"
	RepositoryMoved       Trouble = "repository-moved"
	CacheClosed           Trouble = "cache-unusable"
	TokenStale            Trouble = "cached-token-refused"
	TokenFormat           Trouble = "token-format-refused"
	TokenLeft             Trouble = "token-not-revoked"
	BudgetLow             Trouble = "rate-limit-low"
	GitConfigured         Trouble = "git-configuration"
	LoginOfNetrc          Trouble = "netrc"
	CertificatesUnchecked Trouble = "certificates-unchecked"
	PlainGitFails         Trouble = "plain-git-fails"
	TokensTraced          Trouble = "traces-show-tokens"
	AgentUnreachable      Trouble = "agent-unreachable"
	AgentKey              Trouble = "agent-key"
	AudienceOther         Trouble = "audience-other-than-brokers"
	AudienceWrong         Trouble = "audience-wrong"
)

// TroubleError is a trouble that was found.
type TroubleError struct {
	Trouble Trouble
	// Text is what was found, one line.
	Text string
	// Subject is what the hint is about: a path, an address, a name.
	Subject string
	// Hint is the hint where what was found brings its own. Empty: the table's.
	Hint string
}

func (e *TroubleError) Error() string { return e.Text }

// troubleMeaning is the hint of a trouble and the exit code where it is one that
// stops the work.
type troubleMeaning struct {
	exit int
	hint func(subject string) string
}

func always(hint string) func(string) string { return func(string) string { return hint } }

// troubles are all of them; a test holds the table against the constants.
func troubles() map[Trouble]troubleMeaning {
	return map[Trouble]troubleMeaning{
		AudienceOther: {fault.Configuration, func(said string) string {
			return "leave audience: (GHAPP_AUDIENCE) out, or make it " + said
		}},
		AudienceWrong: {fault.Configuration, func(said string) string {
			return "have the token made for " + said + ": aud: of GitLab's id_tokens, audience: of a projected token of " +
				"Kubernetes, or whatever makes it"
		}},
		KeyOpen: {fault.Configuration, func(path string) string { return "chmod 600 " + path }},
		KeyUnignored: {fault.Configuration,
			func(path string) string { return "move " + path + " out of the work tree, so that nobody commits it" }},
		KeyOfAnother: {fault.Configuration, func(app string) string {
			return "give each App its own key: compare `ghapp keys fingerprint` with the settings " +
				"pages of this App and of " + app
		}},
		KeyNotTaken: {fault.Configuration, always(
			"a new key takes a moment at GitHub; after that, compare `ghapp keys fingerprint` with the App's settings page, " +
				"and take the old key away last")},
		ConfigurationOpen: {fault.Configuration,
			always("make the config file your own with chown, and keep others out with chmod go-w")},
		NotGitHub: {fault.Configuration, always(anotherServer)},
		ClockOff:  {fault.Refused, always("set the clock: timedatectl set-ntp true; until then ghapp goes by GitHub's")},
		AuthorityOfGit: {fault.Configuration, func(path string) string {
			return "git knows the authority, from " + path +
				": give ghapp the same file with --ca-file, or ca_file in the config file"
		}},
		PlainGitFails: {fault.GitFailed,
			always("`ghapp git-setup` points git anew, and `ghapp git-setup --local` a clone")},
		GitUnsupported:        {fault.GitFailed, always("2.39 or later is what ghapp is tested with: update git")},
		InstallationReplaced:  {fault.Configuration, always(leaveOut)},
		InstallationIsApp:     {fault.Configuration, always(leaveOut)},
		InstallationOfAnother: {fault.Configuration, always(leaveOut)},
		PermissionNotAccepted: {fault.Refused, notAccepted},
		RepositoryMoved: {fault.Refused, func(address string) string {
			return "use the new name, in clones by: git remote set-url origin " + address +
				"; the old one leads elsewhere as soon as another repository takes it"
		}},
		CacheClosed: {fault.Configuration,
			always("have XDG_CACHE_HOME name a directory of your own; until then each process gets tokens of its own")},
		TokenStale: {fault.Refused, always("nothing needs to be done: it was dropped, and the next command gets a new one")},
		TokenFormat: {fault.Refused, always("something between this machine and GitHub may cut long headers, " +
			"or a server may not know the format yet; GitHub chooses the format of ordinary tokens")},
		TokenLeft: {fault.Refused, always("it ends by itself within the hour")},
		BudgetLow: {fault.Unreachable,
			always("ask less often, or share tokens and lists between jobs; the budget is refilled every hour")},
		GitConfigured: {fault.Configuration, always(
			"git config --list --show-origin shows the entry; ghapp's own commands work in spite of it")},
		LoginOfNetrc: {fault.Configuration, always("delete the entry")},
		CertificatesUnchecked: {fault.Configuration,
			always("take the setting away: without it git refuses a server that pretends to be GitHub")},
		TokensTraced: {fault.Configuration, always("unset the variable: what is traced ends in logs and bug reports")},
		AgentUnreachable: {fault.Failed,
			always("`ghapp agent stop` ends it, or GHAPP_AGENT_SOCK names another socket; git works without an agent")},
		AgentKey: {fault.Configuration,
			always("wait for GitHub to take the new key, or put the old one back; `ghapp agent status` shows both")},
	}
}

func ofTrouble(report *Report, e *TroubleError) {
	known, ok := troubles()[e.Trouble]
	if !ok {
		known = troubleMeaning{fault.Failed, always("")}
	}
	report.Kind, report.ExitCode, report.Hint = string(e.Trouble), known.exit, e.Hint
	if report.Hint == "" {
		report.Hint = known.hint(e.Subject)
	}
}
