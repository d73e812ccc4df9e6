package diag

import (
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/refs"
)

// gitMeaning is the hint of a failure of git's and its exit code.
type gitMeaning struct {
	exit int
	hint string
}

// gitMeanings has every reason; a test holds it against gitcmd's list.
func gitMeanings() map[gitcmd.Reason]gitMeaning {
	return map[gitcmd.Reason]gitMeaning{
		gitcmd.Unknown:           {fault.GitFailed, ""},
		gitcmd.NotInstalled:      {fault.GitFailed, "install git (apt-get install git), or put it on PATH"},
		gitcmd.TooOld:            {fault.GitFailed, "git 2.31 or later is needed; 2.39 or later is supported"},
		gitcmd.Stopped:           {fault.Interrupted, ""},
		gitcmd.Killed:            {fault.GitFailed, "if the machine ran out of memory, clone with --depth 1"},
		gitcmd.DestinationExists: {fault.Usage, "give another directory, or empty this one; nothing was changed"},
		gitcmd.DestinationClosed: {fault.Failed, "check who owns the parent directory and its mode"},
		gitcmd.DiskFull:          {fault.GitFailed, "make room, or clone less: --depth 1, or -- --filter=blob:none"},
		gitcmd.DiskFailed: {fault.GitFailed, "check how the file system is mounted, " +
			"and what the kernel says of its disk (dmesg)"},
		gitcmd.LFSMissing: {fault.GitFailed, "install git-lfs (apt-get install git-lfs), " +
			"or set GIT_LFS_SKIP_SMUDGE=1 to do without the large files"},
		gitcmd.LFSFailed: {fault.GitFailed, "check that the file was pushed (git lfs push --all); " +
			"GIT_LFS_SKIP_SMUDGE=1 does without the large files, and so does `ghapp sync` without --lfs"},
		gitcmd.Rewritten: {fault.Configuration,
			"git config --show-origin --get-regexp '^url\\.' shows the rewriting rules"},
		gitcmd.ProtocolNotAllowed: {fault.GitFailed, "only https, and ssh for submodules of other hosts, are followed"},
		gitcmd.BranchNotFound: {fault.GitFailed, "check the branch's name, letter by letter; " +
			"without --branch the default branch is cloned"},
		gitcmd.Unauthorized: {fault.Refused, "run the command again for a new token; if that is refused as well, " +
			"`ghapp doctor` walks the whole way and names what is broken"},
		gitcmd.PromptDisabled: {fault.Refused, "git was given no credential: see the reason above, or run `ghapp doctor`"},
		gitcmd.Forbidden: {fault.Refused, "the App may see the repository but not its contents: " +
			"give it the permission Contents, and accept it on the installation's page"},
		gitcmd.RepositoryNotFound: {fault.Refused,
			"check the name; `ghapp repos` lists the repositories that the App reaches, " +
				"and `ghapp doctor` says what keeps it from others"},
		gitcmd.Redirected: {fault.Configuration,
			"the repository has another address: name that, and with --host another host"},
		gitcmd.RateLimited: {fault.Unreachable,
			"GitHub asks for fewer git operations: wait a few minutes; --depth 1 costs it less"},
		gitcmd.ServerError:     {fault.Unreachable, "GitHub itself fails; https://www.githubstatus.com says more"},
		gitcmd.ProxyFailed:     {fault.Unreachable, "check https_proxy, no_proxy and git's http.proxy"},
		gitcmd.ProxyUnreadable: {fault.Configuration, writeProxy("http.proxy")},
		gitcmd.HostUnresolved:  {fault.Unreachable, "check the host's name and this machine's DNS"},
		gitcmd.CertificateRefused: {fault.Configuration,
			"the server's certificate is signed by an authority this machine does not know: give its PEM file with --ca-file"},
		gitcmd.TLSFailed: {fault.Unreachable,
			"something between this machine and the host speaks no TLS: check the proxy"},
		gitcmd.TimedOut:          {fault.Unreachable, "check the network; --depth 1 transfers less"},
		gitcmd.ConnectionRefused: {fault.Unreachable, "check the network, https_proxy, git's http.proxy and --host"},
		gitcmd.ConnectionLost:    {fault.Unreachable, "run the command again; --depth 1 transfers less"},
		gitcmd.SSHFailed: {fault.GitFailed, "a submodule is on another host by ssh: " +
			"its key and host key are this machine's affair"},
		gitcmd.NoRepository: {fault.Usage, "go to a clone, or name the repository"},
		gitcmd.NoRemote:     {fault.Usage, "git remote -v lists the remotes there are; or name the repository"},
		gitcmd.OwnedByAnother: {fault.GitFailed, "run ghapp as the user who owns it; or, if you trust what is in it, " +
			"git config --global --add safe.directory DIRECTORY"},
		gitcmd.ConfigurationBroken: {fault.GitFailed, "git config --list --show-origin names the file and line"},
		gitcmd.CommitNotFound: {fault.GitFailed, "check the commit, digit by digit, and that it was pushed: " +
			"git branch --remotes --contains COMMIT"},
		gitcmd.ObjectRefused: {fault.GitFailed, "the word before the last colon names the check: " +
			"`ghapp sync --fsck-ignore NAME` leaves it out, " +
			"and fetch.fsck.NAME=ignore in git's configuration for other commands"},
		gitcmd.ObjectTooLarge: {fault.GitFailed, "nothing was taken over; GitHub takes no file of more than 100 MB: " +
			"where the host does take larger ones, GIT_ALLOC_LIMIT=8g in the environment has git make them"},
	}
}

func ofGit(report *Report, e *gitcmd.Error) {
	known, ok := gitMeanings()[e.Reason]
	if !ok {
		known = gitMeanings()[gitcmd.Unknown]
	}
	report.Kind, report.Hint, report.ExitCode = code(string(e.Reason)), known.hint, known.exit
}

// ofGitInDeploy puts a hint of its own in the place of one that is about the options of a clone.
func ofGitInDeploy(report *Report, git *gitcmd.Error, e *deploy.Error) {
	hint, ok := deployGitHints()[git.Reason]
	if ok && e.First {
		hint = firstHint(hint)
	}
	if ok {
		report.Hint = hint
	}
}

// deployGitHints are those for failures of git that are met while a directory is brought to a commit.
func deployGitHints() map[gitcmd.Reason]string {
	return map[gitcmd.Reason]string{
		gitcmd.DiskFull:       diskFull + publishedStay,
		gitcmd.Killed:         "if the machine ran out of memory, give it more" + publishedStay,
		gitcmd.RateLimited:    "GitHub asks for fewer git operations: wait a few minutes" + publishedStay,
		gitcmd.TimedOut:       "check the network" + publishedStay,
		gitcmd.ConnectionLost: "run the command again" + publishedStay,
	}
}

// ofRef is what git itself would have failed with.
func ofRef(report *Report, e *refs.RefError) {
	report.Kind, report.ExitCode = "ref-not-found", fault.GitFailed
	switch {
	case e.Empty:
		report.Kind, report.Hint = "repository-empty", "push a first commit"
	case e.Revision.Branch != "":
		report.Hint = "check the branch's name, letter by letter; if it was deleted or renamed, give the new one"
	case e.Revision.Tag != "":
		report.Hint = "check the tag's name, letter by letter, and that it was pushed (git push origin TAG)"
	case e.Revision.Version != "":
		report.Hint = "a tag counts as a version with all three numbers, v1.2.3 or 1.2.3, " +
			"and a pre-release only where the constraint names one (>=1.0.0-0)"
	default:
		report.Hint = "name a branch, or set the default branch in the repository's settings"
	}
}

// NoWiki is the hint where a repository is there and its wiki is not.
const NoWiki = "a wiki is there once its first page was saved in the browser, " +
	"and while Wikis are on in the repository's settings"
