package gitwire

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

const (
	// maxRefusal bounds what is read of a refusal.
	maxRefusal = 4 << 10
	// maxRedirects is how many of them are followed.
	maxRedirects = 5
)

// request is one to the git service.
type request struct {
	path   string // of the repository, without a slash before it
	suffix string // what is asked there
	query  string
	body   []byte                // nil: it is a GET
	zipped bool                  // the body is gzip's
	plain  bool                  // the answer is not to be compressed: it is already
	stays  bool                  // no redirect is followed
	media  string                // of the answer
	sends  string                // the media type of the body; "": that of a request to git-upload-pack
	whole  func(io.Reader) error // reads an answer that has no packets in it; nil: it has
	limits
}

// limits are those of an answer.
type limits struct {
	within time.Duration // all of it is to come; 0: in any time
	stall  time.Duration // ends it where no byte comes; 0: nothing does
	idle   time.Duration // that a pack may take to begin; 0: any time
	most   int64         // bytes of packets with a payload
	bound  error         // what more than that is
}

// roundTrip sends a request, follows redirects on the host, and has the answer read. It
// returns the path of the repository that answered. Its errors are *[ProtocolError],
// *[ghapp.Error], that of ctx, and that of read.
func (q *question) roundTrip(ctx context.Context, r request, read func(*packets) error) (string, error) {
	timed, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.within > 0 {
		defer time.AfterFunc(r.within, func() { cancel(errors.New("no answer within " + r.within.String())) }).Stop()
	}
	silence := newSilence(r.stall, cancel)
	defer silence.end()
	patience := time.AfterFunc(wait.Patience, func() {
		if ctx.Err() == nil && !q.service.warned.Swap(true) {
			q.service.log().Warn("waiting for the git service of " + q.origin)
		}
	})
	defer patience.Stop()
	for hops := 0; ; hops++ {
		answer, err := q.send(timed, r, silence)
		if err != nil {
			return "", q.unreachable(ctx, timed, err)
		}
		q.service.warned.Store(false)
		silence.begin()
		to, err := q.redirect(answer, r, hops)
		silence.end()
		if err == nil && to == "" {
			patience.Stop() // for what comes is not waited any more
			err = q.read(answer, r, silence, read)
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

func (q *question) send(ctx context.Context, r request, s *silence) (*http.Response, error) {
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
		req.Header.Set("Content-Type", cmp.Or(r.sends, "application/x-git-upload-pack-request"))
	}
	// It changes nothing, so that it may be sent again where a kept connection has ended
	// (https://pkg.go.dev/net/http#Transport). Nil is not sent.
	req.Header["Idempotency-Key"] = nil
	if r.zipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if r.plain {
		req.Header.Set("Accept-Encoding", "identity")
	}
	if err := q.authorize(req); err != nil {
		return nil, err
	}
	transport := q.service.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	if s != nil && req.Body != nil {
		req.Body = &sending{req.Body, s}
	}
	q.requests++
	s.begin()
	defer s.end()
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
	if origin == q.origin && r.stays {
		return "", protocolErrorf("it leads to another repository")
	}
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

func (q *question) read(answer *http.Response, r request, s *silence, read func(*packets) error) error {
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode == http.StatusOK && r.body == nil && !strings.HasPrefix(media, "application/x-git-") {
		// Git would take a page for the list of refs of a server that only hands out files: of one without any.
		_, host, _ := strings.Cut(q.origin, "://")
		return &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: q.op,
			Err: &api.ForeignError{Host: host, Status: answer.StatusCode, Media: q.printable(media)}}
	}
	if answer.StatusCode != http.StatusOK || media != r.media {
		s.begin()
		defer s.end()
		return q.refusal(answer)
	}
	body := &body{Reader: answer.Body, silence: s, pace: pace{within: r.idle, step: 1, what: "the pack"}}
	var err error
	if r.whole != nil {
		err = r.whole(body)
	} else {
		lines := newPackets(body, r.most, r.bound)
		lines.pace = &body.pace
		err = read(lines)
	}
	if body.err != nil {
		return &readError{body.err}
	}
	if other, ok := errors.AsType[*ProtocolError](err); ok {
		return &ProtocolError{Problem: q.printable(other.Problem), said: q.printable(other.said)}
	}
	return err
}

// body remembers how an answer's body failed, which to the protocol is only an end.
type body struct {
	io.Reader
	silence *silence
	pace    pace
	err     error
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	began := time.Now()
	b.silence.begin()
	n, err := b.Reader.Read(p)
	b.silence.end()
	if slow := b.pace.wait(time.Since(began)); err == nil && slow != nil {
		n, err = 0, slow
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// silence ends a request in which nothing comes. The time runs between a begin and its end:
// what is done with that which came is no silence of the server's.
type silence struct {
	limit time.Duration

	mu    sync.Mutex
	runs  bool
	timer *time.Timer
}

// newSilence returns that of a limit. It is nil where there is none, and good as that.
func newSilence(limit time.Duration, cancel context.CancelCauseFunc) *silence {
	if limit <= 0 {
		return nil
	}
	s := &silence{limit: limit, timer: time.AfterFunc(limit, func() {
		cancel(errors.New("nothing has come for " + limit.String()))
	})}
	s.timer.Stop()
	return s
}

func (s *silence) begin() { s.set(true) }

func (s *silence) end() { s.set(false) }

func (s *silence) set(runs bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = runs
	if runs {
		s.timer.Reset(s.limit)
	} else {
		s.timer.Stop()
	}
}

// sending is the body of a request: while the server takes it, it is not silent.
type sending struct {
	io.ReadCloser
	silence *silence
}

// Read implements [io.Reader].
func (b *sending) Read(p []byte) (int, error) {
	b.silence.mu.Lock()
	if b.silence.runs { // else the answer is there already
		b.silence.timer.Reset(b.silence.limit)
	}
	b.silence.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// readError is an answer that was cut off.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// drain reads the rest of a short answer so that its connection can be used again.
func drain(answer *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxRefusal))
}

// refusal reads an answer that is not the one asked for.
func (q *question) refusal(answer *http.Response) error {
	if foreign := api.ForeignPage(answer); foreign != nil {
		_, foreign.Host, _ = strings.Cut(q.origin, "://")
		return &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: q.op, Err: foreign}
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
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
			return protocolErrorf("the answer is %d %s", e.Status, q.printable(answer.Header.Get("Content-Type")))
		}
		e.Kind = ghapp.ErrRefused // it leads to a page for people
	}
	return e
}
