package ghapp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is a cause that callers may branch on:
//
//	errors.Is(err, ghapp.ErrSuspended)
type Kind string

// The kinds of [Error].
const (
	// ErrInvalid is a request that is wrong in itself; GitHub was not asked.
	ErrInvalid Kind = "invalid request"
	// ErrKey means that the Signer failed.
	ErrKey Kind = "key cannot sign"
	// ErrKeyMismatch means that the key is not, or no longer, one of the App's.
	ErrKeyMismatch Kind = "key does not belong to the App"
	// ErrAppUnknown means that this host knows no App of that client ID or App ID.
	ErrAppUnknown Kind = "no such App on this host"
	// ErrClockOff means that this machine's clock is wrong, and that going by GitHub's did
	// not help; see [ClockError].
	ErrClockOff Kind = "clock off"
	// ErrNotInstalled means that the App is not installed on this owner, or not any more.
	ErrNotInstalled Kind = "App not installed"
	// ErrSuspended means that the installation is there, and suspended.
	ErrSuspended Kind = "installation suspended"
	// ErrEnterprise is an installation that reaches no repositories.
	ErrEnterprise Kind = "enterprise installation"
	// ErrRepositoryNotSelected means that the installation does not reach the repository,
	// or that there is none.
	ErrRepositoryNotSelected Kind = "repository not selected"
	// ErrPermission means that a permission is missing; see [PermissionError].
	ErrPermission Kind = "permission not granted"
	// ErrTooBroad is a token that could do more than was asked; it was revoked.
	ErrTooBroad Kind = "more was granted than asked for"
	// ErrWrongHost means that a repository, or where the API redirects to, is on another
	// host than the App.
	ErrWrongHost Kind = "wrong host"
	// ErrIPAllowList is the owner's list of addresses, which ours is not on.
	ErrIPAllowList Kind = "IP address not allowed"
	// ErrSAML means that the organization wants SAML single sign-on, of which the tokens of
	// an App need none.
	ErrSAML Kind = "SAML single sign-on required"
	// ErrRateLimited means that GitHub wants to be asked less; where it said until when
	// to wait, there is a [RateLimitError].
	ErrRateLimited Kind = "rate limited"
	// ErrTokenRefused is a token that has expired, was revoked, or is not GitHub's.
	ErrTokenRefused Kind = "token refused"
	// ErrTokenUnknown is a new token that GitHub's servers still do not know after
	// it has been waited for.
	ErrTokenUnknown Kind = "token not yet known"
	// ErrUnreachable is no answer, a failing server, or an answer that is not GitHub's.
	ErrUnreachable Kind = "GitHub unreachable"
	// ErrUntrusted is a server certificate that no known authority has signed.
	ErrUntrusted Kind = "certificate not trusted"
	// ErrNoKey means that the App itself is asked for something, and that a broker has its key.
	ErrNoKey Kind = "no key on this machine"
	// ErrIdentity means that this machine could not get the token that tells a broker who asks.
	ErrIdentity Kind = "no identity"
	// ErrBrokerRefused is a refusal of a broker's. It does not tell a stranger why.
	ErrBrokerRefused Kind = "broker refused"
	// ErrBrokerUnreachable is no answer of a broker's, one that fails, or an answer that is
	// not a broker's.
	ErrBrokerUnreachable Kind = "broker unreachable"
	// ErrRefused is any other answer of GitHub.
	ErrRefused Kind = "refused"
)

// Error makes every Kind a target of [errors.Is].
func (k Kind) Error() string { return string(k) }

// Error is a failed operation. It holds no secret.
type Error struct {
	Kind Kind
	// Op is what was being done, to which object: "mint an installation access
	// token for acme/site".
	Op string

	// Of GitHub's answer; Status is 0 where there was none.
	Status           int
	Message          string
	RequestID        string
	DocumentationURL string

	// Detail is what is known besides, for errors.As: a [*RateLimitError], a
	// [*PermissionError], a [*RepositoryError] or a [*ClockError]. Nil: nothing. It is no
	// part of the message.
	Detail error

	Err error // the cause; nil where GitHub's answer is the cause
}

// RateLimitError says of an [ErrRateLimited] when to come back:
//
//	if limit, ok := errors.AsType[*ghapp.RateLimitError](err); ok { … }
type RateLimitError struct {
	Until time.Time // on this machine's clock; never zero
}

// Error says until when.
func (e *RateLimitError) Error() string { return "rate limited until " + e.Until.Format(time.RFC3339) }

// ClockError says of an [ErrClockOff] what must be added to this machine's clock to get
// that of the answer.
type ClockError struct {
	Offset time.Duration
}

// Error says by how much.
func (e *ClockError) Error() string {
	return "this machine's clock is off by " + e.Offset.Abs().String()
}

// PermissionError says of an [ErrPermission] or [ErrTooBroad] which permissions it is about.
type PermissionError struct {
	Wanted  Permissions
	Granted Permissions // nil: not known
	Asked   Permissions // what the App asks each account for; nil: not known
	Page    string      // where the account accepts that; empty: not known
}

// Error says what was asked for, and what was granted.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s was asked for, %s was granted", e.Wanted, e.Granted)
}

// RepositoryError says of an [ErrRepositoryNotSelected] or [ErrTooBroad] which repositories
// were asked for, or of several those that are not reached, where that is known.
type RepositoryError struct {
	Repositories []string // owner/name
}

// Error says which repositories were asked for.
func (e *RepositoryError) Error() string { return "asked for " + strings.Join(e.Repositories, ", ") }

// Error is one line: what failed, and why.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString("cannot " + e.Op + ": ")
	}
	switch {
	case e.Status != 0:
		fmt.Fprintf(&b, "GitHub answered %d", e.Status)
		if e.Message != "" {
			fmt.Fprintf(&b, " %q", e.Message)
		}
		if e.RequestID != "" {
			fmt.Fprintf(&b, " (request %s)", e.RequestID)
		}
		if e.Err != nil {
			b.WriteString(": " + e.Err.Error())
		}
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString(string(e.Kind))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's Kind, or matches e's Detail.
func (e *Error) Is(target error) bool {
	kind, ok := target.(Kind)
	return ok && kind == e.Kind || e.Detail != nil && errors.Is(e.Detail, target)
}

// As finds e's Detail.
func (e *Error) As(target any) bool { return e.Detail != nil && errors.As(e.Detail, target) }

// KindOf returns the Kind of err, or "" where it is no [Error].
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}
