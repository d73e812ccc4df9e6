package ghapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
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
	// ErrClockOff could not be mended; see [Error].Offset.
	ErrClockOff Kind = "clock off"
	// ErrNotInstalled means not on this owner, or that the installation is gone.
	ErrNotInstalled Kind = "App not installed"
	ErrSuspended    Kind = "installation suspended"
	// ErrEnterprise is an installation that reaches no repositories.
	ErrEnterprise Kind = "enterprise installation"
	// ErrRepositoryNotSelected may also mean that it does not exist.
	ErrRepositoryNotSelected Kind = "repository not selected"
	// ErrPermission has [Error].Wanted and, where known, Granted.
	ErrPermission Kind = "permission not granted"
	// ErrTooBroad is a token that could do more than was asked; it was revoked.
	ErrTooBroad  Kind = "more was granted than asked for"
	ErrWrongHost Kind = "wrong host"
	// ErrIPAllowList is the owner's list of addresses, which ours is not on.
	ErrIPAllowList Kind = "IP address not allowed"
	ErrSAML        Kind = "SAML single sign-on required"
	// ErrRateLimited lasts until [Error].Until.
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

	Until        time.Time     // ErrRateLimited: when to come back; zero if GitHub did not say
	Offset       time.Duration // ErrClockOff: what must be added to the local clock to get that of the answer
	Wanted       Permissions   // ErrPermission, ErrTooBroad
	Granted      Permissions   // ErrPermission, ErrTooBroad; nil if unknown
	Asked        Permissions   // ErrPermission: what the App asks each account for; nil if unknown
	Page         string        // ErrPermission: where the account accepts that; empty if unknown
	Repositories []string      // ErrRepositoryNotSelected: those asked for, or of several those not reached, where known

	// InstallationNamed says that the cause is the installation that the caller named: it
	// is none of the App's (ErrNotInstalled), or that of another account
	// (ErrRepositoryNotSelected).
	InstallationNamed bool

	Err error // the cause; nil where GitHub's answer is the cause
}

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

// Is reports whether target is e's Kind.
func (e *Error) Is(target error) bool {
	kind, ok := target.(Kind)
	return ok && kind == e.Kind
}

// KindOf returns the Kind of err, or "" where it is no [Error].
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// explain turns what came of a request into an [Error] of the right Kind. Errors
// of a context stay as they are.
func explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if already, ok := errors.AsType[*Error](err); ok {
		return already
	}
	e := &Error{Kind: ErrRefused, Op: op}
	switch cause := err.(type) {
	case *api.Error:
		e.Status, e.Message, e.RequestID, e.DocumentationURL = cause.Status, cause.Message, cause.RequestID, cause.DocumentationURL
		e.Until = cause.Until
		e.Kind = kindOf(cause)
	case *api.NetworkError:
		e.Kind, e.Err = ErrUnreachable, cause
		if cause.Untrusted() {
			e.Kind = ErrUntrusted
		}
	case *api.RedirectError:
		e.Kind, e.Err = ErrWrongHost, cause
		if cause.From == cause.To {
			e.Kind = ErrUnreachable
		}
	case *api.BodyError, *api.ForeignError:
		e.Kind, e.Err = ErrUnreachable, cause
	default:
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("cannot %s: %w", op, err)
		}
		e.Err = err
	}
	return e
}

// kindOf reads GitHub's status and message. A text that GitHub has changed falls through
// to the status, never to a friendlier kind.
func kindOf(answer *api.Error) Kind {
	refusal := api.Classify(answer.Message)
	switch {
	case answer.Limit != api.NoLimit:
		return ErrRateLimited
	case answer.Status >= 500:
		return ErrUnreachable
	case refusal == api.AppUnknown:
		return ErrAppUnknown
	case answer.Status == http.StatusUnauthorized:
		switch refusal {
		case api.ClockOff:
			return ErrClockOff
		case api.KeyMismatch:
			return ErrKeyMismatch
		}
		return ErrTokenRefused
	}
	switch refusal {
	case api.InstallationSuspended:
		return ErrSuspended
	case api.IPAllowList:
		return ErrIPAllowList
	case api.SAML:
		return ErrSAML
	case api.NotPermitted:
		return ErrPermission
	case api.RepositoryNotSelected:
		return ErrRepositoryNotSelected
	}
	return ErrRefused
}
