package diag

import (
	"errors"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// barerepoMeanings has every problem; a test holds it against the package's list.
func barerepoMeanings() map[barerepo.Problem]deployMeaning {
	return map[barerepo.Problem]deployMeaning{
		barerepo.ErrMissing: {fault.GitFailed, "the mirror is as it was; `git clone` of the repository shows whether the " +
			"host has all of it: where it has not, GitHub's support can mend it"},
		barerepo.ErrBroken: {fault.GitFailed, "the mirror is as it was, and it is tried again; where that fails too, " +
			"`git clone --mirror` of the repository shows whether it is broken on the host, or on the way from there"},
		barerepo.ErrNoCommit: {fault.GitFailed, "the mirror is as it was; " +
			"point the branch to a commit, or delete it on GitHub"},
		barerepo.ErrListing: {fault.Unreachable, "the mirror is as it was; something between this machine and the host " +
			"changes answers: `git ls-remote` shows what git gets"},
		barerepo.ErrForeign: {fault.Configuration, "nothing was touched: " +
			"move it away, and the mirror is made at the next run"},
		barerepo.ErrDamaged: {fault.Failed, "`git fsck` in it says what is damaged; the next run of `ghapp mirror` " +
			"fetches it anew beside, takes over what it kept, and lets the two change places"},
		barerepo.ErrConfiguration: {fault.Configuration, "nothing was run: take that out of the file `config` in it, and " +
			"where you have not written it, ask who has before you trust the rest"},
		barerepo.ErrBundle: {fault.Failed, "nothing was made of it: take another copy of these files, or write them anew " +
			"with `ghapp mirror bundle --full` where the mirror still is"},
		barerepo.ErrHistoryLost: {fault.Failed, "look for it in .ghapp/damaged of the mirrors' directory, or bring it back " +
			"from a copy of the mirror, with its ghapp-journal, or from bundles with `ghapp mirror restore --mirror`; " +
			"where there are none, `ghapp mirror --full` goes on with what is there"},
		barerepo.ErrNoHistory: {fault.Usage, "give a time since which the mirror has been kept"},
	}
}

// ofBarerepo reads an error of internal/barerepo, and reports whether it is one.
func ofBarerepo(report *Report, err error) bool {
	e, ok := errors.AsType[*barerepo.Error](err)
	if !ok {
		return false
	}
	known, ok := barerepoMeanings()[e.Problem]
	if !ok { // what stands behind it knows more
		return false
	}
	report.Kind, report.Hint, report.ExitCode = code(string(e.Problem)), known.hint, known.exit
	return true
}
