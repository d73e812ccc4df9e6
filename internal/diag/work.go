package diag

import (
	"errors"
	"strings"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// Work is what a failure has kept from being done, where its cure depends on that.
type Work string

// The works that have cures of their own.
const (
	Mirroring Work = "mirroring"
	Bundling  Work = "bundling"
	Restoring Work = "restoring"
)

// WorkError is a failure of a work.
type WorkError struct {
	Work Work
	Dir  string // that it writes to
	Err  error
}

// Error is that of the cause.
func (e *WorkError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *WorkError) Unwrap() error { return e.Err }

// During says of a failure what was being done, and in which directory. Nil stays nil.
func During(w Work, dir string, err error) error {
	if err == nil {
		return nil
	}
	return &WorkError{w, dir, err}
}

// workHints are those of causes whose cure is another for a work than for a clone. %s is the directory; a
// test holds it against the works.
func workHints() map[Work]map[gitcmd.Reason]string {
	const asItWas, madeNothing = "the mirror is as it was; ", "what was begun was taken away; "
	const soon = "GitHub asks for fewer git operations: wait a few minutes, or do fewer at once with --jobs"
	return map[Work]map[gitcmd.Reason]string{
		Mirroring: {
			gitcmd.DiskFull: asItWas + "make room in %s (df -h, df -i), or leave the repository out with --exclude",
			gitcmd.DiskFailed: asItWas + "check how the file system of %s is mounted, " +
				"and what the kernel says of its disk (dmesg)",
			gitcmd.Killed:         asItWas + "if the machine ran out of memory, give it more, or do fewer at once with --jobs",
			gitcmd.RateLimited:    asItWas + soon,
			gitcmd.TimedOut:       asItWas + "check the network; it is tried again",
			gitcmd.ConnectionLost: asItWas + "check the network; it is tried again",
			gitcmd.ObjectRefused: asItWas + "the word before the last colon names the check of git's that what was " +
				"pushed fails: `git clone -c fetch.fsckObjects=true --mirror` of the repository shows the same",
		},
		Bundling: {
			gitcmd.DiskFull: "the bundles of before are whole; make room in %s (df -h, df -i), " +
				"or give another directory with --to",
			gitcmd.DiskFailed: "the bundles of before are whole; check how the file system of %s is mounted, " +
				"and what the kernel says of its disk (dmesg)",
			gitcmd.Killed: "the bundles of before are whole; if the machine ran out of memory, give it more",
		},
		Restoring: {
			gitcmd.DiskFull: madeNothing + "make room in %s (df -h, df -i), or give another directory with --to",
			gitcmd.DiskFailed: madeNothing + "check how the file system of %s is mounted, " +
				"and what the kernel says of its disk (dmesg)",
			gitcmd.Killed:         madeNothing + "if the machine ran out of memory, give it more",
			gitcmd.TimedOut:       "check the network, and run the command again",
			gitcmd.ConnectionLost: "check the network, and run the command again",
		},
	}
}

// ofWork reads a failure of a work, and reports whether it is one.
func ofWork(report *Report, err error) bool {
	e, ok := errors.AsType[*WorkError](err)
	if !ok {
		return false
	}
	*report = explain(e.Err)
	report.Message = err.Error()
	reason := reasonOf(e.Err)
	hint, ok := workHints()[e.Work][reason]
	if errors.As(e.Err, new(*fault.ExitError)) || hasProblem(e.Err) || !ok {
		return true // it has a hint of its own
	}
	report.Kind, report.Hint = code(string(reason)), strings.ReplaceAll(hint, "%s", e.Dir)
	if reason == gitcmd.DiskFull {
		report.ExitCode = fault.Failed // the machine's, whoever has met it
	}
	return true
}

// hasProblem reports whether a failure of internal/barerepo is explained by itself.
func hasProblem(err error) bool {
	e, ok := errors.AsType[*barerepo.Error](err)
	return ok && e.Problem != "" && !errors.Is(err, syscall.ENOSPC)
}

// reasonOf is the reason of a failure that git has met, or that would have been git's.
func reasonOf(err error) gitcmd.Reason {
	if e, ok := errors.AsType[*gitcmd.Error](err); ok {
		return e.Reason
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return gitcmd.DiskFull
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		return gitcmd.DiskFailed
	}
	return gitcmd.Unknown
}
