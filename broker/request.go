package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	// maxBody bounds an answer; 500 repositories take 100 KiB.
	maxBody = 1 << 20
	// tryTime ends an attempt that hangs. A broker that mints waits for GitHub, and for the
	// token to spread.
	tryTime = 45 * time.Second
)

// RefusalError is a broker's answer that is no token (RFC 6749 section 5.2). Whatever stands in
// it is made printable, and bounded.
type RefusalError struct {
	Status int
	// Code is the error code of RFC 6749 or RFC 8693, such as invalid_grant; empty where the
	// answer is not a broker's.
	Code string
	// Description is the broker's own text; may be empty.
	Description string
	// ID finds the decision in the broker's audit log; may be empty.
	ID string
	// Redirect is where the answer led to, which was not followed; may be empty.
	Redirect string
}

// Error is one line.
func (e *RefusalError) Error() string {
	line := fmt.Sprintf("it answered %d", e.Status)
	for _, part := range []string{e.Code, e.Description} {
		if part != "" {
			line += " " + part
		}
	}
	if e.Redirect != "" {
		line += fmt.Sprintf(" and leads to %s, where the identity's token is not sent", e.Redirect)
	}
	if e.ID != "" {
		line += " (id " + e.ID + ")"
	}
	return line
}

// kind is what a caller may branch on.
func (e *RefusalError) kind() ghapp.Kind {
	switch {
	case e.Status == http.StatusTooManyRequests || e.Code == "slow_down":
		return ghapp.ErrRateLimited
	case e.Status >= 500, e.Code == "":
		return ghapp.ErrBrokerUnreachable // it fails, or is no broker
	}
	return ghapp.ErrBrokerRefused
}

type request struct {
	method, path string
	form         url.Values  // nil: no body
	hidden       secret.Text // in the form
	op           string      // for errors
}

// ask sends a request once, and decodes the answer into out.
func (c *Client) ask(ctx context.Context, r request, out any) error {
	timed, cancel := context.WithTimeoutCause(ctx, tryTime, errors.New("no answer within "+tryTime.String()))
	defer cancel()
	req, err := http.NewRequestWithContext(timed, r.method, c.base.String()+r.path, strings.NewReader(r.form.Encode()))
	if err != nil {
		return &ghapp.Error{Kind: ghapp.ErrInvalid, Op: r.op, Err: errors.New("the request cannot be built")}
	}
	if r.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", strings.TrimSpace(c.config.UserAgent+" ghapp"))
	answered, err := c.http.Do(req)
	if err != nil {
		return r.lost(ctx, timed, req, err)
	}
	defer answered.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answered.Body, maxBody+1))
	switch {
	case err != nil:
		return r.lost(ctx, timed, req, err)
	case answered.StatusCode >= 300:
		return r.refused(answered, body)
	case len(body) > maxBody || json.Unmarshal(body, out) != nil:
		// The JSON error may quote the body, which may hold a token.
		return &ghapp.Error{Kind: ghapp.ErrBrokerUnreachable, Op: r.op,
			Err: errors.New("what answers there is no broker: the answer is not the JSON expected")}
	}
	return nil
}

// lost is the error of a request that got no whole answer.
func (r request) lost(ctx, timed context.Context, req *http.Request, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("cannot %s: %w", r.op, api.Ended(ctx))
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	if timed.Err() != nil {
		err = context.Cause(timed)
	}
	// net/http quotes what it cannot read of an answer.
	if line := err.Error(); r.printable(line, len(line)) != text.OneLine(line) {
		err = errors.New(r.printable(line, 300))
	}
	network := &api.NetworkError{Host: req.URL.Host, Err: err}
	kind := ghapp.ErrBrokerUnreachable
	if network.Untrusted() {
		kind = ghapp.ErrUntrusted
	}
	return &ghapp.Error{Kind: kind, Op: r.op, Err: network}
}

// refused is the error of an answer that is not a good one.
func (r request) refused(answered *http.Response, body []byte) error {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		ID          string `json:"id"`
	}
	if len(body) > maxBody || json.Unmarshal(body, &said) != nil {
		said.Error, said.Description, said.ID = "", "", ""
	}
	refusal := &RefusalError{
		Status: answered.StatusCode, Code: r.printable(said.Error, 60),
		Description: r.printable(said.Description, 300), ID: r.printable(said.ID, 80),
	}
	if target, err := answered.Location(); err == nil && answered.StatusCode < 400 {
		refusal.Redirect = r.printable(target.Scheme+"://"+target.Host, 200)
	}
	e := &ghapp.Error{Kind: refusal.kind(), Op: r.op, Err: refusal}
	now := time.Now()
	told, ok := api.RetryAfter(answered.Header.Get("Retry-After"), now)
	switch {
	case ok && answered.StatusCode != http.StatusServiceUnavailable && e.Kind != ghapp.ErrRateLimited:
	case ok:
		e.Detail = &ghapp.RateLimitError{Until: now.Add(told)}
	case e.Kind == ghapp.ErrRateLimited:
		e.Detail = &ghapp.RateLimitError{Until: now.Add(time.Minute)}
	}
	return e
}

// printable is a text of the broker's, fit to be shown, without what was sent to it.
func (r request) printable(s string, limit int) string {
	if sent := r.hidden.Reveal(); sent != "" {
		s = strings.ReplaceAll(s, sent, secret.Placeholder)
		s = strings.ReplaceAll(s, url.QueryEscape(sent), secret.Placeholder)
	}
	return text.Shorten(text.OneLine(s), limit)
}
