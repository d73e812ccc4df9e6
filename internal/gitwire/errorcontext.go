package gitwire

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// errorContext is what errors tell of a request, and what they must not.
type errorContext struct {
	op     string       // what is being done, to which object
	origin string       // scheme and host that are asked
	token  *ghapp.Token // nil: there is none
}

// unreachable is a request that got no whole answer, or no token: err says why. timed is ctx
// with the time in it that the request has. The error is a [*ghapp.Error], or that of ctx.
func (x *errorContext) unreachable(ctx, timed context.Context, err error) error {
	if ctx.Err() != nil {
		return api.Ended(ctx)
	}
	if known, ok := errors.AsType[*ghapp.Error](err); ok {
		return known
	}
	if timed.Err() != nil {
		err = context.Cause(timed)
	}
	// net/http quotes what it cannot read of an answer.
	if text := err.Error(); x.scrub(text) != text {
		err = errors.New(x.scrub(text))
	}
	_, host, _ := strings.Cut(x.origin, "://")
	kind := ghapp.ErrUnreachable
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		kind = ghapp.ErrUntrusted
	}
	return &ghapp.Error{Kind: kind, Op: x.op, Err: &api.NetworkError{Host: host, Err: err}}
}

// scrub takes the token out of what came back: a proxy that shows the request it was
// sent shows that too.
func (x *errorContext) scrub(text string) string {
	if x.token == nil {
		return text
	}
	var secrets scrub.Scrubber
	secrets.Add(x.token.Secret)
	return secrets.String(text)
}

// printable makes the first line of a server's text fit to be shown, without the token, in
// at most 500 bytes.
func (x *errorContext) printable(s string) string { return printable(x.scrub(s)) }

// maxMessage bounds what is told of a server's text.
const maxMessage = 500

func printable(s string) string {
	return text.Shorten(text.FirstLine(s), maxMessage)
}
