package kms

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"

	"github.com/ghapp-dev/ghapp/signer"
)

// failure is why there is no answer; the kinds are in docs/signer-protocol.md.
func failure(kind, format string, args ...any) *signer.Failure {
	return &signer.Failure{Kind: kind, Message: oneLine(fmt.Sprintf(format, args...))}
}

// kindOf is the kind of a failure, or "".
func kindOf(err error) string {
	if f, ok := errors.AsType[*signer.Failure](err); ok {
		return f.Kind
	}
	return ""
}

// mostSaid is how long a message is at most, in bytes.
const mostSaid = 300

// oneLine makes a text fit to be told: printable, in one line, and short.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > mostSaid {
		text = strings.ToValidUTF8(text[:mostSaid], "") + "…"
	}
	return text
}

// explain makes an error a [*signer.Failure]. What a kind of key has not told apart
// itself is an error of the network, or of nobody knows what; its text may be anything
// that a service has sent, and is not repeated.
func explain(ctx context.Context, err error) error {
	if f, ok := errors.AsType[*signer.Failure](err); ok {
		return f
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return failure("failed", "it was interrupted")
	case errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return failure("timeout", "no answer in time")
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return failure("timeout", "no answer in time")
	}
	where := ""
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, err := url.Parse(e.URL); err == nil && u.Host != "" {
			where = u.Host + ": "
		}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return failure("unavailable", "%s%v", where, e.Err)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return failure("unavailable", "%s%s", where, e.Err)
	}
	return failure("failed", "%s%v", where, err)
}
