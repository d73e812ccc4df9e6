package refs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// ErrUnsupported is a git service that answers in no way that is understood here. git
// itself may still get on with it.
var ErrUnsupported = errors.New("the git service answers in a way that only git may understand")

const (
	// maxAnswer bounds an answer, and with it the refs in it: protocol 0 needs about 65
	// bytes for each.
	maxAnswer = 32 << 20
	// maxMessage bounds what is read of a refusal, and what is told of it.
	maxMessage = 500
	// maxRedirects is how many of them are followed.
	maxRedirects = 5
	// requestTimeout ends a request that hangs.
	requestTimeout = 30 * time.Second
)

// Asker asks the git service of one host. It is safe for concurrent use and not to be
// copied.
type Asker struct {
	// Origin is scheme and host of the repositories, such as https://github.com.
	Origin string
	// Transport sends the requests, and keeps connections. Nil: net/http's.
	Transport http.RoundTripper
	// Token returns the token to ask for a repository with; a nil one asks without a
	// credential. Nil: that always.
	Token func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error)
	// Drop is told of a token that the service refused, before the next is asked for.
	// Nil: the refusal stands.
	Drop func(context.Context, ghapp.RepositoryName, *ghapp.Token) error
	// Log is told of waiting, and of a service that wants to be asked in another way.
	// Nil: nothing is logged.
	Log *slog.Logger

	forms  sync.Map    // repository, in lower case -> form, where that is not the zero one
	warned atomic.Bool // what is waited for, since the last answer
}

// form is how the service wants to be asked for a repository.
type form struct {
	discover bool   // by git's own first request; else ls-refs comes at once
	format   string // object-format; empty: SHA-1
}

// Ask returns which commit is wanted now. As a rule that is one request, ls-refs of
// protocol 2 (gitprotocol-v2(5)); a service that refuses it by itself is asked as git
// does, from the discovery of refs on (gitprotocol-http(5)), and from then on at once in
// the form that served.
//
// A refusal of a token in its first seconds is waited out with the same token; the 401
// of an older one drops it, and the next is tried once. A redirect on the host is
// followed and [Found.Repository] has the new name.
//
// The error is a [*RefError] where the repository has not got what is wanted, wraps
// [ErrUnsupported] where git may get further, and is else a [*ghapp.Error] of a Kind that
// [ghapp.App.Token] has too, or that of ctx.
func (a *Asker) Ask(ctx context.Context, r ghapp.RepositoryName, w Revision) (Found, error) {
	if err := w.Validate(); err != nil {
		return Found{}, err
	}
	if w.Commit != "" {
		return Found{Repository: r, Commit: strings.ToLower(w.Commit)}, nil
	}
	q := &question{
		Asker: a, repository: r, revision: w,
		errorContext: errorContext{op: fmt.Sprintf("ask for %s of %s", w, r), origin: a.Origin},
	}
	if err := q.check(); err != nil {
		return Found{}, err
	}
	if a.Token == nil {
		return q.ask(ctx)
	}
	var err error
	if q.token, err = a.Token(ctx, r); err != nil {
		return Found{}, err
	}
	found, err := q.ask(ctx)
	if ghapp.KindOf(err) != ghapp.ErrTokenRefused || q.token == nil || q.token.Propagating() || a.Drop == nil {
		return found, err
	}
	refused := q.token
	if dropped := a.Drop(ctx, r, refused); dropped != nil {
		return Found{}, errors.Join(err, dropped)
	}
	next, nextErr := a.Token(ctx, r)
	switch {
	case nextErr != nil:
		return Found{}, nextErr
	case next == nil || next.Secret.Reveal() == refused.Secret.Reveal():
		return Found{}, err
	}
	q.token = next
	return q.ask(ctx)
}

// Discover has the next question about a repository begin as git's own do: under a name
// that has changed, a host may answer ls-refs as ever, and tell the new one only there.
func (a *Asker) Discover(r ghapp.RepositoryName) {
	a.forms.Store(strings.ToLower(r.String()), form{discover: true})
}

func (a *Asker) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// question is one in the asking, with one token.
type question struct {
	*Asker
	errorContext
	repository ghapp.RepositoryName
	revision   Revision
}

// check holds the repository's names, which stand in the path, against what they may be.
func (q *question) check() error {
	if _, err := ghapp.ParseRepository(q.repository.String()); err != nil {
		return err
	}
	_, host, _ := strings.Cut(q.origin, "://")
	if q.repository.Host != "" && q.repository.Host != host {
		return &ghapp.Error{Kind: ghapp.ErrWrongHost, Op: q.op,
			Err: fmt.Errorf("the repository is on %s, but %s is asked", q.repository.Host, q.origin)}
	}
	return nil
}

// ask waits while a new token spreads.
func (q *question) ask(ctx context.Context) (found Found, err error) {
	try := func() (int, string) {
		found, err = q.once(ctx)
		if refusal, ok := errors.AsType[*ghapp.Error](err); ok && refusal.Kind != ghapp.ErrRateLimited {
			return refusal.Status, refusal.Message
		}
		return 0, ""
	}
	if q.token == nil || !q.token.Propagating() {
		try()
	} else if late := gitauth.WaitForPropagation(ctx, q.log(), q.token, q.repository, try); late != nil {
		return Found{}, late
	}
	return found, err
}

// once asks in the form that served last time, or finds out which one does.
func (q *question) once(ctx context.Context) (Found, error) {
	key := strings.ToLower(q.repository.String())
	known, _ := q.forms.Load(key)
	f, _ := known.(form)
	path := q.repository.String() + ".git"
	var problem error
	if !f.discover {
		found, err := q.list(ctx, path, f.format)
		if _, other := errors.AsType[*unsuitable](err); !other {
			return found, err
		}
		problem = err
	}
	found, served, err := q.discover(ctx, path)
	if _, other := errors.AsType[*unsuitable](err); other {
		q.forms.Delete(key) // begin at the beginning next time
		if problem == nil {
			problem = err
		}
		return Found{}, fmt.Errorf("cannot %s: %w: %w", q.op, ErrUnsupported, problem)
	}
	_, missing := errors.AsType[*RefError](err)
	if problem != nil && (err == nil || missing) {
		served.discover = served.discover || served.format == f.format // else the format was what was wrong
		q.forms.Store(key, served)
		q.log().Debug("the git service is asked in another way", "repository", q.repository.String(), "since", problem,
			"discover", served.discover, "format", served.format)
	}
	return found, err
}

// list asks with ls-refs.
func (q *question) list(ctx context.Context, path, format string) (Found, error) {
	l, err := newListing(q.revision)
	if err != nil {
		return Found{}, err
	}
	path, err = q.roundTrip(ctx, uploadPack(path, lsRefs(format, q.revision.prefixes())),
		func(p *packets) error { return readListing(p, l) })
	if err != nil {
		return Found{}, err
	}
	if l.found.Ref == "" && l.count == 0 {
		// No HEAD either: it may stand for a branch that is yet to come, while there are
		// others. The first ref of all tells.
		_, err = q.roundTrip(ctx, uploadPack(path, lsRefs(format, nil)), func(p *packets) error {
			next, err := p.next()
			if err == nil && next.mark == payload {
				l.count++
			}
			return err
		})
		if err != nil && !errors.Is(err, io.EOF) {
			return Found{}, err
		}
	}
	return q.result(path, l)
}

// uploadPack is a request to git's service of that name.
func uploadPack(path string, body []byte) request {
	return request{
		path: path, suffix: "/git-upload-pack", body: body, media: "application/x-git-upload-pack-result",
	}
}

// lsRefs is the request (gitprotocol-v2(5), "Command Request"). No prefixes: all refs.
func lsRefs(format string, prefixes []string) []byte {
	body := appendPacket(nil, "command=ls-refs")
	body = appendPacket(body, "agent=ghapp")
	if format != "" {
		body = appendPacket(body, "object-format="+format)
	}
	body = append(body, "0001"...)
	body = appendPacket(body, "peel")
	body = appendPacket(body, "symrefs")
	for _, prefix := range prefixes {
		body = appendPacket(body, "ref-prefix "+prefix)
	}
	return append(body, "0000"...)
}

// discover asks as git does, beginning with the discovery of refs.
func (q *question) discover(ctx context.Context, path string) (Found, form, error) {
	l, err := newListing(q.revision)
	if err != nil {
		return Found{}, form{}, err
	}
	var ad advertisement
	discovery := request{
		path: path, suffix: "/info/refs", query: "?service=git-upload-pack",
		media: "application/x-git-upload-pack-advertisement",
	}
	path, err = q.roundTrip(ctx, discovery, func(p *packets) (err error) {
		ad, err = readAdvertisement(p, l)
		return err
	})
	var found Found
	switch {
	case err != nil:
	case ad.format != "" && ad.format != sha256:
		err = unsuitablef("its objects are in a format that is not known")
	case ad.version2:
		found, err = q.list(ctx, path, ad.format)
	default:
		found, err = q.result(path, l)
	}
	return found, form{discover: !ad.version2, format: ad.format}, err
}

func (q *question) result(path string, l *listing) (Found, error) {
	r, err := ghapp.ParseRepository(path)
	if err != nil {
		return Found{}, err
	}
	r.Host = q.repository.Host
	if l.found.Ref == "" {
		return Found{}, &RefError{Repository: r, Revision: q.revision, Empty: l.count == 0}
	}
	l.found.Repository = r
	return l.found, nil
}

// request is one to the git service.
type request struct {
	path   string // of the repository, without a slash before it
	suffix string // what is asked there
	query  string
	body   []byte // nil: it is a GET
	media  string // of the answer
}

// roundTrip sends a request, follows redirects on the host, and has the answer read. It
// returns the path of the repository that answered. Its errors are *[unsuitable],
// *[ghapp.Error], that of ctx, and that of read.
func (q *question) roundTrip(ctx context.Context, r request, read func(*packets) error) (string, error) {
	timed, cancel := context.WithTimeoutCause(ctx, requestTimeout, errors.New("no answer within "+requestTimeout.String()))
	defer cancel()
	defer time.AfterFunc(wait.Patience, func() {
		if ctx.Err() == nil && !q.warned.Swap(true) {
			q.log().Warn("waiting for the git service of " + q.origin)
		}
	}).Stop()
	for hops := 0; ; hops++ {
		answer, err := q.send(timed, r)
		if err != nil {
			return "", q.unreachable(ctx, timed, err)
		}
		q.warned.Store(false)
		to, err := q.redirect(answer, r, hops)
		if err == nil && to == "" {
			err = q.read(answer, r, read)
		}
		_ = answer.Body.Close()
		if failed, ok := errors.AsType[*readError](err); ok {
			err = q.unreachable(ctx, timed, failed.err)
		}
		if err != nil || to == "" {
			return r.path, err
		}
		r.path = to
	}
}

func (q *question) send(ctx context.Context, r request) (*http.Response, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, q.origin+"/"+r.path+r.suffix+r.query, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", gitauth.UserAgent)
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("Accept", r.media)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	}
	if q.token != nil {
		gitauth.Authorize(req, q.token)
	}
	transport := q.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	// Not by an http.Client, which would turn a POST that is redirected into a GET.
	return transport.RoundTrip(req)
}

// redirect returns the path of the repository that an answer leads to, or "" where it
// leads nowhere.
func (q *question) redirect(answer *http.Response, r request, hops int) (string, error) {
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return "", nil
	}
	from, err := url.Parse(q.origin + "/" + r.path + r.suffix)
	if err != nil {
		return "", err
	}
	location := answer.Header.Get("Location")
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return "", q.refusal(answer)
	}
	origin := to.Scheme + "://" + to.Host
	if origin != q.origin || hops >= maxRedirects {
		kind := ghapp.ErrWrongHost
		if origin == q.origin {
			kind = ghapp.ErrUnreachable
		}
		return "", &ghapp.Error{Kind: kind, Op: q.op, Err: &api.RedirectError{
			From: q.origin, To: q.printable(origin), Status: answer.StatusCode,
		}}
	}
	path, ok := strings.CutSuffix(strings.TrimPrefix(to.Path, "/"), r.suffix)
	if _, err := ghapp.ParseRepository(path); !ok || err != nil || strings.HasPrefix(path, "/") {
		return "", q.refusal(answer)
	}
	drain(answer)
	return path, nil
}

func (q *question) read(answer *http.Response, r request, read func(*packets) error) error {
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode != http.StatusOK || media != r.media {
		return q.refusal(answer)
	}
	body := &body{Reader: answer.Body}
	err := read(newPackets(body, maxAnswer))
	if body.err != nil {
		return &readError{body.err}
	}
	if other, ok := errors.AsType[*unsuitable](err); ok {
		return unsuitablef("%s", q.scrub(other.problem)) // the server's own words may be in it
	}
	return err
}

// body remembers how an answer's body failed, which to the protocol is only an end.
type body struct {
	io.Reader
	err error
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// readError is an answer that was cut off.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// drain reads the rest of a short answer so that its connection can be used again.
func drain(answer *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 4<<10))
}

// refusal reads an answer that is not the one asked for.
func (q *question) refusal(answer *http.Response) error {
	if foreign := api.ForeignPage(answer); foreign != nil {
		_, foreign.Host, _ = strings.Cut(q.origin, "://")
		return &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: q.op, Err: foreign}
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	e := &ghapp.Error{
		Op: q.op, Status: answer.StatusCode, Message: q.printable(string(text)),
		RequestID: q.printable(answer.Header.Get("X-GitHub-Request-Id")),
	}
	now := time.Now()
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		now = date // a date to come back at is by the same clock
	}
	wait, told := api.RetryAfter(answer.Header.Get("Retry-After"), now)
	if told {
		e.Detail = &ghapp.RateLimitError{Until: time.Now().Add(wait)}
	}
	switch e.Status {
	case http.StatusTooManyRequests:
		e.Kind = ghapp.ErrRateLimited
	case http.StatusForbidden, http.StatusServiceUnavailable:
		e.Kind = gitauth.RefusedBy(e.Status, e.Message)
		if told {
			e.Kind = ghapp.ErrRateLimited
		}
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusProxyAuthRequired, http.StatusUnavailableForLegalReasons,
		http.StatusBadGateway, http.StatusGatewayTimeout:
		e.Kind = gitauth.RefusedBy(e.Status, e.Message)
	default:
		if e.Status/100 != 3 {
			return unsuitablef("the answer is %d %s", e.Status, q.printable(answer.Header.Get("Content-Type")))
		}
		e.Kind = ghapp.ErrRefused // it leads to a page for people
	}
	return e
}
