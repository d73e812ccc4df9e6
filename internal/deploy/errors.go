package deploy

import (
	"fmt"
	"time"
)

// Problem is why a release was not published. Callers branch on it with [errors.Is].
type Problem string

// The problems that are not git's ([*gitcmd.Error]) or the operating system's.
const (
	// ErrBusy means that another process works on the same directory.
	ErrBusy Problem = "another process is at work on this directory"
	// ErrForeign is a directory, or a link, that was not made here.
	ErrForeign Problem = "something else is in the place of the directory"
	// ErrOtherMode is a directory that was published in another [Mode].
	ErrOtherMode Problem = "the directory was published in another mode"
	// ErrCheck is a check that did not succeed: the release was not published.
	ErrCheck Problem = "the check failed"
	// ErrExec is a command that did not succeed: the release is published.
	ErrExec Problem = "the release is published, but the command after it failed"
	// ErrDamaged is a release that is not as git made it.
	ErrDamaged Problem = "the release is not whole"
	// ErrSignature is a commit that nobody who is trusted has signed.
	ErrSignature Problem = "the signature is not accepted"
	// ErrNoRelease is a release that is not there.
	ErrNoRelease Problem = "there is no such release"
	// ErrNothingBefore is a rollback where nothing was published before.
	ErrNothingBefore Problem = "there is no release to go back to"
	// ErrSubmodule is a submodule that cannot be found.
	ErrSubmodule Problem = "the submodule cannot be checked out"
	// ErrUnsafe is a place where another user could have prepared what is found there; the
	// cause is a [*private.Error].
	ErrUnsafe Problem = "another user could have a hand in it"
	// ErrSparse is a path of Target.Sparse that the commit has not.
	ErrSparse Problem = "a sparse path is not there"
	// ErrPointer is a large file of Git LFS in whose place is its pointer.
	ErrPointer Problem = "a large file of Git LFS is missing"
	// ErrNoExchange is a file system that cannot exchange two names.
	ErrNoExchange Problem = "the file system cannot exchange directories"
)

// Error makes every Problem a target of [errors.Is].
func (p Problem) Error() string { return string(p) }

// Problems are all of them, for tables that must be complete.
func Problems() []Problem {
	return []Problem{
		ErrBusy, ErrForeign, ErrOtherMode, ErrCheck, ErrExec, ErrDamaged, ErrSignature,
		ErrNoRelease, ErrNothingBefore, ErrSubmodule, ErrUnsafe, ErrPointer, ErrSparse, ErrNoExchange,
	}
}

// Error is a failed operation on a Target.
type Error struct {
	Problem Problem // "": Err says it
	// Op is what was being done, to which directory.
	Op string
	// First says that nothing was published before, which could stay.
	First bool
	// Output is the end of what a command printed.
	Output string
	Err    error // the cause; may be nil
}

// Error is one line: what failed, and why.
func (e *Error) Error() string {
	text := e.Op
	if e.Problem != "" {
		text += ": " + string(e.Problem)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is reports whether target is e's Problem.
func (e *Error) Is(target error) bool { return e.Problem != "" && target == e.Problem }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// HeldError is a commit that is not published, because somebody has rolled back from it.
type HeldError struct {
	Dir    string
	Commit string
	Since  time.Time
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("commit %s is not published in %s: it is held since a rollback at %s",
		short(e.Commit), e.Dir, e.Since.Format(time.RFC3339))
}

// short is how a commit is shown.
func short(commit string) string { return commit[:min(12, len(commit))] }
