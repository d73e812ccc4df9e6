package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// failure is why there is no answer; the kinds are in docs/signer-protocol.md.
func failure(kind, format string, args ...any) *execsigner.Failure {
	return &execsigner.Failure{Kind: kind, Message: oneLine(fmt.Sprintf(format, args...))}
}

// kindOf is the kind of a failure, or "".
func kindOf(err error) string {
	if f, ok := errors.AsType[*execsigner.Failure](err); ok {
		return f.Kind
	}
	return ""
}

// mostSaid is how long a message is at most, in bytes.
const mostSaid = 300

// oneLine makes a text fit to be told: printable, in one line, and short.
func oneLine(s string) string { return text.Shorten(text.OneLine(s), mostSaid) }

// explain makes an error a [*execsigner.Failure] whose message has no secret. What a kind
// of key has not told apart itself is an error of the network, or nobody knows what.
func explain(ctx context.Context, err error, secrets *scrub.Scrubber) *execsigner.Failure {
	f := classify(ctx, err, secrets)
	return failure(f.Kind, "%s", secrets.String(f.Message))
}

func classify(ctx context.Context, err error, secrets *scrub.Scrubber) *execsigner.Failure {
	if f, ok := errors.AsType[*execsigner.Failure](err); ok {
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
		err = e.Err // the URL may have anything in its query
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
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return failure("unavailable", "%sthe connection ended before there was an answer", where)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return failure("failed", "%sthe answer is larger than %d MiB", where, mostRead>>20)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return failure("failed", "%sthe answer cannot be read: %v", where, e)
	}
	return failure("failed", "%s%s", where, secrets.String(err.Error()))
}

// environSecrets takes out the values of variables that hold credentials.
func environSecrets() *scrub.Scrubber {
	secrets := scrub.New()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		for _, part := range []string{"SECRET", "TOKEN", "PASSWORD", "PIN"} {
			if strings.Contains(name, part) && len(value) >= 4 {
				secrets.Add(secret.New(value))
			}
		}
	}
	return secrets
}
