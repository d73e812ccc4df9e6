// Package api is a thin client of the REST endpoints that lead from an App's key
// to a token. It knows GitHub's rules of transport: when to wait and try again,
// how much to read, and that a credential is for one host only. What an answer
// means to a caller is decided by the package that asks.
package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/ghapp-dev/ghapp/secret"
)

const (
	// maxBody bounds an answer: 500 full repository objects are about 4 MiB.
	maxBody = 16 << 20
	// maxErrorBody bounds the answer of a refusal, which is a few lines, or the
	// HTML page of a proxy.
	maxErrorBody = 64 << 10
	// maxTries bounds the attempts at one request.
	maxTries = 5
	// maxRedirects is net/http's own number.
	maxRedirects = 10
	// requestTimeout ends a request that hangs. GitHub itself cuts a REST request
	// off after ten seconds.
	requestTimeout = 30 * time.Second
	// DefaultMaxWait bounds all waiting for one call.
	DefaultMaxWait = 60 * time.Second
)

// Options says how to reach GitHub.
type Options struct {
	Host Host
	// Transport sends the requests. Nil: [NewTransport] with no further CA.
	Transport http.RoundTripper
	// UserAgent is demanded by GitHub.
	UserAgent string
	// Version is sent as X-GitHub-Api-Version. Empty: the header is left out, and
	// GitHub takes its oldest supported version.
	Version string
	// MaxWait bounds the time spent waiting between the attempts at one call.
	// 0: [DefaultMaxWait]. Negative: no second attempt.
	MaxWait time.Duration
	// Log is told of every attempt after the first, and at the level of a warning, once,
	// of what is waited for that takes long. Nil: nothing is logged.
	Log *slog.Logger
}

// Client asks one GitHub. It is safe for concurrent use.
type Client struct {
	Options
	// Clock is kept right by every answer.
	Clock *Clock
	http  *http.Client
	base  *url.URL

	toldWaiting atomic.Bool // since the last answer
}

// New returns a client of the given host.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Host.API)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("API URL %q is not usable", o.Host.API)
	}
	if o.Transport == nil {
		o.Transport = NewTransport(nil)
	}
	if o.MaxWait == 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		Options: o,
		Clock:   &Clock{},
		base:    base,
		http:    &http.Client{Transport: answering{o.Transport}, CheckRedirect: sameHostOnly},
	}, nil
}

// answering sees to it that an answer names its request, as those of net/http's own
// transport do: from it we learn where redirects led.
type answering struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t answering) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(req)
	if answer != nil && answer.Request == nil {
		answer.Request = req
	}
	return answer, err
}

// NewTransport returns net/http's transport with the proxy of the environment
// and, where roots is not nil, those certificate authorities.
func NewTransport(roots *x509.CertPool) *http.Transport {
	t := &http.Transport{ForceAttemptHTTP2: true}
	if standard, ok := http.DefaultTransport.(*http.Transport); ok { // nobody has replaced it
		t = standard.Clone()
	}
	t.Proxy = Proxy
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	t.ResponseHeaderTimeout = requestTimeout
	t.MaxResponseHeaderBytes = 64 << 10
	t.OnProxyConnectResponse = ledOn
	Quiet(t)
	return t
}

// Quiet keeps a transport from HTTP/2 where GODEBUG has net/http log every header of that,
// JSON Web Tokens and installation access tokens among them. net/http reads the variable
// before main begins, so that nothing can be done about the log itself.
func Quiet(t *http.Transport) {
	if strings.Contains(os.Getenv("GODEBUG"), "http2debug") {
		t.ForceAttemptHTTP2 = false
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
}

// Authorization makes the Authorization header of one attempt, anew each time,
// since a JWT may have run out while a limit was waited for. Nil: no header.
type Authorization func(ctx context.Context) (scheme string, secret secret.Text, err error)

// WithToken authorizes by an installation access token.
func WithToken(token secret.Text) Authorization {
	return func(context.Context) (string, secret.Text, error) { return "token", token, nil }
}

type request struct {
	method string
	path   string // below the API root, beginning with a slash, with query
	hidden string // a credential in the path, as it stands there; "" is none
	auth   Authorization
	body   any    // sent as JSON; nil: no body
	root   string // that path is below; "" is the API's
	most   int    // bytes of the answer; 0 is [maxBody]

	waiting *waiting // for this call
}

// response is what callers need of an answer beyond its body.
type response struct {
	URL    *url.URL // of the last hop
	Header http.Header
}

// do sends a request, waits and tries again where GitHub's rules allow it, and
// decodes the answer into out (nil: the body is not read). Its errors are *[Error],
// *[ForeignError], *[RedirectError], *[NetworkError], *[BodyError], the authorization's
// error, or that of ctx.
func (c *Client) do(ctx context.Context, r request, out any) (*response, error) {
	waits := &schedule{ExponentialBackOff: backoff.NewExponentialBackOff(), left: c.MaxWait}
	tries := uint(maxTries)
	if c.MaxWait < 0 {
		tries = 1
	}
	r.waiting = c.wait(ctx)
	answer, err := backoff.Retry(ctx, func() (*response, error) {
		sent := time.Now()
		answer, err := c.once(ctx, r, out)
		if _, silent := errors.AsType[*NetworkError](err); silent {
			waits.left -= time.Since(sent)
		}
		var again bool
		if waits.told, again = later(err); !again {
			err = backoff.Permanent(err)
		}
		return answer, err
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, next time.Duration) { r.waiting.pause(next, err) }))
	r.waiting.end(err)
	if err == nil {
		return answer, nil
	}
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = permanent.Err
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = Ended(ctx)
	}
	return nil, err
}

// schedule is the waiting between the attempts at one call: what GitHub's last
// answer told, otherwise growing with each attempt; and what is left of
// [Options.MaxWait], which time spent on an answer that never came counts against.
type schedule struct {
	*backoff.ExponentialBackOff
	told time.Duration // negative: nothing
	left time.Duration
}

// NextBackOff implements [backoff.BackOff].
func (s *schedule) NextBackOff() time.Duration {
	next := s.told
	if next < 0 {
		next = s.ExponentialBackOff.NextBackOff()
	}
	if next > s.left {
		return backoff.Stop
	}
	s.left -= next
	if s.told >= 0 {
		// Spread those who were told the same second.
		next += rand.N(2 * time.Second)
	}
	return next
}

// later reports whether a later attempt may cure err, and how long GitHub told us
// to wait before; negative where it told nothing.
func later(err error) (told time.Duration, again bool) {
	if answer, ok := errors.AsType[*Error](err); ok {
		switch {
		case !answer.retryable():
			return 0, false
		case !answer.Until.IsZero():
			return max(time.Until(answer.Until), 0), true
		}
		return -1, answer.Limit == NoLimit
	}
	network, ok := errors.AsType[*NetworkError](err)
	return -1, ok && network.Temporary()
}

// Ended says that ctx has ended: an error that is both ctx.Err(), which callers
// test for, and the cause, which tells them why.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// once sends a request a single time, redirects on the same host included.
func (c *Client) once(ctx context.Context, r request, out any) (*response, error) {
	req, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeoutCause(ctx, requestTimeout, errors.New("no answer within "+requestTimeout.String()))
	defer cancel()
	sent := time.Now()
	answer, err := c.http.Do(req.WithContext(timed))
	if err != nil {
		return nil, r.sendError(timed, req, err)
	}
	defer answer.Body.Close()
	a := arrival{Response: answer, request: r, sent: req, at: time.Now()}
	a.offset = c.Clock.observe(answer.Header, sent, a.at)
	a.path = r.withoutCredential(req, answer.Request.URL.EscapedPath())
	for _, name := range []string{"X-GitHub-Request-Id", "X-Accepted-GitHub-Permissions"} {
		answer.Header.Set(name, r.withoutCredential(req, answer.Header.Get(name)))
	}
	c.Log.Debug("GitHub answered", "method", r.method, "path", a.path, "status", answer.StatusCode,
		"request", answer.Header.Get("X-GitHub-Request-Id"), "took", a.at.Sub(sent).Round(time.Millisecond))
	switch {
	case answer.StatusCode >= 300:
		err = a.refusal(c.Clock.Offset())
	case out == nil:
		err = a.empty()
	default:
		err = a.decode(timed, out)
	}
	if graphQL, ok := out.(*graphQLAnswer); ok && err == nil {
		err = graphQL.limited(a, c.Clock.Offset())
	}
	if err != nil {
		return nil, err
	}
	return &response{answer.Request.URL, answer.Header}, nil
}

// arrival is an answer whose body has not been read yet.
type arrival struct {
	*http.Response
	request request
	sent    *http.Request // with the credential, which nothing that is kept may repeat
	at      time.Time
	path    string // without the credential
	offset  time.Duration
}

// refusal is the error of an answer with a status of 300 or more. offset is the one by
// which times are read.
func (a arrival) refusal(offset time.Duration) error {
	body, _ := io.ReadAll(io.LimitReader(a.Body, maxErrorBody))
	if location := a.Header.Get("Location"); location != "" && a.StatusCode < 400 {
		return &RedirectError{From: origin(a.sent.URL), To: redirectTarget(a.Response), Status: a.StatusCode}
	}
	refusal := NewError(a.Response, []byte(a.request.withoutCredential(a.sent, string(body))), a.at, offset)
	if foreign := a.foreign(body); foreign != nil && refusal.Limit == NoLimit {
		foreign.Message = refusal.Message
		return foreign
	}
	refusal.Method, refusal.Path, refusal.Offset = a.request.method, a.path, a.offset
	return refusal
}

// empty checks an answer that is to have no body.
func (a arrival) empty() error {
	if a.StatusCode == http.StatusNoContent {
		return nil
	}
	if body, err := io.ReadAll(io.LimitReader(a.Body, maxErrorBody)); err == nil {
		if foreign := a.foreign(body); foreign != nil {
			return foreign
		}
	}
	return a.malformed(fmt.Sprintf("its status is %d, not 204", a.StatusCode))
}

// decode reads the body into out.
func (a arrival) decode(ctx context.Context, out any) error {
	most := cmp.Or(a.request.most, maxBody)
	body, err := io.ReadAll(io.LimitReader(a.Body, int64(most)+1))
	if err != nil {
		return a.request.sendError(ctx, a.sent, err)
	}
	if len(body) > most {
		return a.malformed(fmt.Sprintf("it is larger than %d MiB", most>>20))
	}
	if foreign := a.foreign(body); foreign != nil {
		return foreign
	}
	if err := json.Unmarshal(body, out); err != nil {
		// The JSON error may quote the body, which may hold a token.
		return a.malformed("it is not the JSON expected")
	}
	if named, ok := out.(interface{ id() int64 }); ok && named.id() == 0 {
		return a.malformed("it has no ID")
	}
	return nil
}

// foreign is the error of an answer that is not GitHub's, or nil.
func (a arrival) foreign(body []byte) *ForeignError {
	foreign := Foreign(a.Response, body)
	if foreign != nil {
		foreign.Media = a.request.withoutCredential(a.sent, foreign.Media)
	}
	return foreign
}

func (a arrival) malformed(problem string) error {
	return &BodyError{a.request.method, a.path, problem}
}

func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	// Not resolved as a reference: a path with two slashes at its start would name
	// another host.
	target := cmp.Or(r.root, c.Host.API) + r.path
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("User-Agent", c.UserAgent)
	if c.Version != "" {
		req.Header.Set("X-GitHub-Api-Version", c.Version)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.auth != nil {
		r.waiting.forWhat(keyHolder)
		scheme, secret, err := r.auth(ctx)
		r.waiting.forWhat(c.base.Host)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", scheme+" "+secret.Reveal())
	}
	return req, nil
}

// sameHostOnly lets a redirect pass that stays on the scheme, host and port of
// the first request and keeps its method; any other answer is handed back as it
// is. net/http would follow to a subdomain with the credential.
func sameHostOnly(next *http.Request, via []*http.Request) error {
	if origin(next.URL) != origin(via[0].URL) || next.Method != via[0].Method || len(via) >= maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

func redirectTarget(answer *http.Response) string {
	target, err := answer.Location()
	if err != nil {
		return "an unreadable address"
	}
	return printable(origin(target), 200)
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// NetworkError is a request that got no whole answer.
type NetworkError struct {
	Host string // where it was sent
	Err  error  // without URL, so without anything secret
}

// Error is one line: net/http quotes a header it cannot read as it came.
func (e *NetworkError) Error() string {
	return "cannot reach " + e.Host + ": " + printable(e.Err.Error(), 300)
}

func (e *NetworkError) Unwrap() error { return e.Err }

// Temporary reports whether a second attempt makes sense: not for a host that
// does not exist, nor one that speaks no TLS or has a certificate nobody trusts, nor
// through a proxy that refuses.
func (e *NetworkError) Temporary() bool {
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return !dns.IsNotFound
	}
	if proxy, ok := errors.AsType[*ProxyError](e.Err); ok {
		return proxy.Status >= 500
	}
	_, plain := errors.AsType[tls.RecordHeaderError](e.Err)
	return !plain && !e.Untrusted()
}

// Untrusted reports whether TLS failed on the server's certificate.
func (e *NetworkError) Untrusted() bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](e.Err)
	return untrusted
}

// sendError turns net/http's error into ours. Its *url.Error prints the whole
// URL, which nobody needs, and hides why the context of the request ended: the
// caller's own did, which do tells apart, or it took too long.
func (r request) sendError(ctx context.Context, req *http.Request, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	// net/http quotes what it cannot read of an answer.
	if text := err.Error(); r.withoutCredential(req, text) != text {
		err = errors.New(r.withoutCredential(req, text))
	}
	return &NetworkError{Host: req.URL.Host, Err: err}
}

// withoutCredential takes the credential of a request out of what came back: a
// proxy that shows what it was sent shows that too.
func (r request) withoutCredential(req *http.Request, text string) string {
	_, sent, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	for _, hidden := range []string{sent, r.hidden} {
		if hidden != "" {
			text = strings.ReplaceAll(text, hidden, secret.Placeholder)
		}
	}
	return text
}

// BodyError is an answer with a good status whose body is not what GitHub
// documents: one that was cut short, or changed on its way.
type BodyError struct {
	Method, Path string
	Problem      string
}

func (e *BodyError) Error() string {
	return fmt.Sprintf("%s %s: the answer is unusable: %s", e.Method, e.Path, e.Problem)
}
