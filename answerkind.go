package ghapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ghapp-dev/ghapp/internal/api"
)

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
	switch cause := err.(type) { //nolint:errorlint // internal/api wraps none of its own
	case *api.Error:
		e.Status, e.Message, e.RequestID, e.DocumentationURL = cause.Status, cause.Message,
			cause.RequestID, cause.DocumentationURL
		if !cause.Until.IsZero() {
			e.Detail = &RateLimitError{cause.Until}
		}
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
