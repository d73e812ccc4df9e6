package barerepo

// Problem is why a repository is not as it should be. Callers branch on it with [errors.Is].
type Problem string

// The problems that are not git's ([*gitcmd.Error]), the remote's or the operating system's.
const (
	// ErrMissing is an object that the remote's refs need, and that it has not sent.
	ErrMissing Problem = "the remote has not sent all objects that its refs need"
	// ErrBroken is a pack or an answer that git refuses.
	ErrBroken Problem = "what the remote has sent cannot be used"
	// ErrNoCommit is a branch that stands for something else.
	ErrNoCommit Problem = "a branch of the remote's is no commit"
	// ErrListing is a list of refs that cannot be believed.
	ErrListing Problem = "the remote's list of refs cannot be that of a repository"
	// ErrForeign is something that was not made here.
	ErrForeign Problem = "something else is in the place of the repository"
	// ErrDamaged is a repository here that is not whole.
	ErrDamaged Problem = "the repository on the disk is not whole"
	// ErrConfiguration is a configuration of a repository here with which git is not to be run: it might
	// name programs and hosts.
	ErrConfiguration Problem = "its configuration has what git is not run with"
	// ErrBundle is a bundle, or what a manifest tells of it, of which no repository can be made.
	ErrBundle Problem = "the bundle is damaged"
	// ErrHistoryLost is history of which it is known that it was there, and is not any more.
	ErrHistoryLost Problem = "some of the history that was kept is lost"
	// ErrNoHistory is a time of which the journal does not tell.
	ErrNoHistory Problem = "nothing is known of that time"
)

// Error makes every Problem a target of [errors.Is].
func (p Problem) Error() string { return string(p) }

// Problems are all of them, for tables that must be complete.
func Problems() []Problem {
	return []Problem{ErrMissing, ErrBroken, ErrNoCommit, ErrListing, ErrForeign, ErrDamaged, ErrConfiguration, ErrBundle,
		ErrHistoryLost, ErrNoHistory}
}

// Error is a failed operation on a repository.
type Error struct {
	Problem Problem // "": Err says it
	// Op is what was being done, to which directory.
	Op string
	// Detail is about what in the repository it is: a ref, an object. It may be empty.
	Detail string
	Err    error // the cause; may be nil
}

// Error is one line: what failed, and why.
func (e *Error) Error() string {
	text := e.Op
	if e.Problem != "" {
		text += ": " + string(e.Problem)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
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
