package diag

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/private"
)

// deployMeaning is the hint of a [deploy.Problem] and its exit code.
type deployMeaning struct {
	exit int
	hint string
}

// deployMeanings has every problem; a test holds it against the package's list.
func deployMeanings() map[deploy.Problem]deployMeaning {
	return map[deploy.Problem]deployMeaning{
		deploy.ErrBusy: {fault.Unreachable, "wait for the other one, whose check or exec may be hanging, or end it; " +
			"its lock goes with its process"},
		deploy.ErrForeign: {fault.Configuration, "nothing was touched: move it away, or give another directory with --to"},
		deploy.ErrOtherMode: {fault.Configuration, "nothing was touched: give the mode that it has " +
			"(--mode, or mode: in the config file), or another directory with --to"},
		deploy.ErrCheck: {fault.Failed, stays + "push a commit that passes the check, " +
			"or run the check by hand in a clone"},
		deploy.ErrExec: {fault.Failed, "it is tried again until it succeeds or another release comes; " +
			"run it by hand in the directory to see what is wrong"},
		deploy.ErrDamaged: {fault.Failed, "something has changed the files of a release: `ghapp sync rollback --rebuild` " +
			"builds it again and checks it, --as-is takes it as it is; `ghapp sync --force` publishes the newest commit anew"},
		deploy.ErrSignature: {fault.Failed, stays + "sign the commit with a key that is trusted here, " +
			"or add the key to the allowed signers"},
		deploy.ErrNoRelease: {fault.Usage, "`ghapp sync status` lists the releases that are kept; " +
			"the number of one is enough for --to"},
		deploy.ErrNothingBefore: {fault.Usage, "nothing was changed; `ghapp sync status` lists the releases that are kept, " +
			"and --to RELEASE goes to any of them"},
		deploy.ErrSubmodule: {fault.GitFailed, "mend .gitmodules in the repository, or leave out --submodules"},
		deploy.ErrUnsafe:    {fault.Configuration, "give a directory above which only you and root can write"},
		deploy.ErrSparse: {fault.Failed, stays + "mend --sparse (sparse: in the config file), " +
			"or push a commit that has the path"},
		deploy.ErrPointer: {fault.GitFailed, stays + "have the file pushed (git lfs push --all), " +
			"or leave out --lfs for pointers"},
		deploy.ErrNoExchange: {fault.Configuration, "use --mode link, which needs a symbolic link only"},
	}
}

// ofDeploy reads an error of internal/deploy, and reports whether it is one.
func ofDeploy(report *Report, err error) bool {
	if held, ok := errors.AsType[*deploy.HeldError](err); ok {
		report.Kind, report.ExitCode = "held", fault.Failed
		report.Hint = "push another commit, or have it published all the same: ghapp sync resume " + held.Dir
		return true
	}
	e, ok := errors.AsType[*deploy.Error](err)
	if !ok {
		return false
	}
	known, ok := deployMeanings()[e.Problem]
	if !ok {
		known = ofSystem(err)
	}
	if unsafe, ok := errors.AsType[*private.Error](err); ok && e.Problem == deploy.ErrUnsafe {
		known.hint = unsafe.Hint + "; or take --trust-parent where all who may write there are trusted"
		if strings.HasPrefix(unsafe.Hint, "run ghapp as") { // a user of a service has no login
			known.hint = unsafe.Hint + ", as `su -s /bin/sh USER -c 'ghapp ...'` does"
		}
	}
	if e.First {
		known.hint = firstHint(known.hint)
	}
	if e.Problem == deploy.ErrSignature && errors.Is(err, fs.ErrNotExist) {
		known = deployMeaning{fault.Configuration, "the file of --allowed-signers (allowed_signers: " +
			"in the config file) is not there"}
	}
	report.Kind, report.Hint, report.ExitCode = code(string(e.Problem)), known.hint, known.exit
	if e.Output != "" {
		report.Message += "\n" + strings.TrimRight(e.Output, "\n")
	}
	return true
}

// The parts of hints that are about what was published before.
const (
	stays         = "the release before it stays; "
	publishedStay = "; what is published stays"
	diskFull      = "make room: the disk is full, or has no inodes left (df -h, df -i)"
)

// firstHint is a hint where nothing was published before.
func firstHint(hint string) string {
	return strings.TrimSuffix(strings.TrimPrefix(hint, stays), publishedStay)
}

// ofSystem reads an error of the operating system's.
func ofSystem(err error) deployMeaning {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return deployMeaning{fault.Failed, diskFull + publishedStay}
	case errors.Is(err, syscall.EROFS):
		return deployMeaning{fault.Failed, "the file system is mounted read-only" + publishedStay}
	case errors.Is(err, fs.ErrPermission):
		return deployMeaning{fault.Failed, "the directory above must be writable for this user, " +
			"and all in it that is ghapp's must be this user's"}
	case errors.Is(err, syscall.ENOTDIR):
		return deployMeaning{fault.Configuration, "a file is in the way: give another directory with --to"}
	case errors.Is(err, syscall.EBUSY):
		return deployMeaning{fault.Configuration,
			"something is mounted there, and cannot be replaced: keep a directory in it, " +
				"and have whoever reads it follow the link"}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return deployMeaning{fault.Failed, "too many files are open: raise the limit (ulimit -n)"}
	}
	return deployMeaning{fault.Failed, ""}
}
