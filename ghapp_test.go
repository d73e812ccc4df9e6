package ghapp_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// world is a GitHub with one App, installed on acme with the repositories
// acme/site and acme/docs selected.
type world struct{ *testapp.TestApp }

func newWorld(t testing.TB) *world {
	t.Helper()
	installed := githubtest.InstallOptions{Repositories: []string{"site", "docs"}}
	return &world{testapp.New(t, githubtest.AppOptions{}, installed)}
}

// fault makes something go wrong.
func (w *world) fault(t testing.TB, f githubtest.Fault) {
	t.Helper()
	testkit.OK(t, w.GitHub.Fault(f))
}

// calls are the methods and paths of the requests so far.
func (w *world) calls() []string {
	var list []string
	for _, r := range w.GitHub.Requests() {
		list = append(list, r.Method+" "+r.Path)
	}
	return list
}

// count is how many requests so far have a path with the given end.
func (w *world) count(suffix string) int {
	n := 0
	for _, r := range w.GitHub.Requests() {
		if strings.HasSuffix(r.Path, suffix) {
			n++
		}
	}
	return n
}

const (
	lookUps = "/installation"
	mints   = "/access_tokens"
)

// site asks for what a clone of acme/site needs.
func site() ghapp.TokenRequest { return ghapp.TokenRequest{Repositories: []string{"acme/site"}} }

// mustToken is a token, or the end of the test.
func mustToken(t testing.TB, app *ghapp.App, r ghapp.TokenRequest) *ghapp.Token {
	t.Helper()
	token := testkit.Must(app.Token(t.Context(), r))(t)
	return token
}

// wantKind fails unless err is an Error of that Kind, of one line.
func wantKind(t testing.TB, err error, kind ghapp.Kind) *ghapp.Error {
	t.Helper()
	e, ok := errors.AsType[*ghapp.Error](err)
	if !ok || e.Kind != kind || !errors.Is(err, kind) {
		t.Fatalf("error %v (Kind %q), want Kind %q", err, ghapp.KindOf(err), kind)
	}
	testkit.Lacks(t, err.Error(), "\n")
	return e
}

// logTo is a logger into a buffer that may be read while it is written.
func logTo(b *logBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines are those of the log that hold a text.
func (b *logBuffer) lines(text string) []string {
	return slices.Collect(func(yield func(string) bool) {
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, text) && !yield(line) {
				return
			}
		}
	})
}

// memory is a [ghapp.Store] that two Apps share as two processes share a directory.
// Its locks are channels, so that waiting for one is waiting to a synctest bubble.
type memory struct {
	mu      sync.Mutex
	entries map[string][]byte
	turns   map[string]chan struct{}
}

func newMemory() *memory {
	return &memory{entries: map[string][]byte{}, turns: map[string]chan struct{}{}}
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.entries[key]), nil
}

func (m *memory) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	m.mu.Lock()
	turn := m.turns[key]
	if turn == nil {
		turn = make(chan struct{}, 1)
		m.turns[key] = turn
	}
	m.mu.Unlock()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turn }()
	old, _ := m.Get(ctx, key)
	entry, err := fn(ctx, old)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry == nil {
		delete(m.entries, key)
	} else {
		m.entries[key] = entry
	}
	return nil
}

func (m *memory) Purge(_ context.Context, gone func([]byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.entries, func(_ string, entry []byte) bool { return gone(entry) })
	return nil
}

// each replaces every entry.
func (m *memory) each(f func([]byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, entry := range m.entries {
		m.entries[key] = f(entry)
	}
}

// brokenStore fails in whichever of its methods is told to.
type brokenStore struct {
	ghapp.Store
	get, before, after error
}

func (s brokenStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.get != nil {
		return nil, s.get
	}
	return s.Store.Get(ctx, key)
}

func (s brokenStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if s.before != nil {
		return s.before
	}
	if err := s.Store.Update(ctx, key, fn); err != nil {
		return err
	}
	return s.after
}

// countingSigner counts the signatures, and can be told to fail or to wait.
type countingSigner struct {
	key   crypto.Signer
	wait  func(context.Context) error
	mu    sync.Mutex
	count int
}

func (s *countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.mu.Lock()
	s.count++
	s.mu.Unlock()
	if s.wait != nil {
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
	return signer.FromCryptoSigner(s.key).Sign(ctx, message)
}

func (s *countingSigner) signatures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// network sends requests to one handler for each host, without a socket.
type network map[string]http.Handler

func (n network) RoundTrip(req *http.Request) (*http.Response, error) {
	h, ok := n[req.URL.Scheme+"://"+req.URL.Host]
	if !ok {
		return nil, fmt.Errorf("no route to %s", req.URL.Host)
	}
	return serve(h, req)
}

// serve has a handler answer a request.
func serve(h http.Handler, req *http.Request) (*http.Response, error) {
	if gh, ok := h.(*githubtest.GitHub); ok {
		return gh.RoundTripper().RoundTrip(req)
	}
	in := req.Clone(req.Context())
	in.Host, in.RequestURI = req.URL.Host, req.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	out := &written{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(out, in)
	return &http.Response{StatusCode: out.status, Header: out.header, Body: io.NopCloser(&out.body), Request: req}, nil
}

type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *written) Header() http.Header         { return w.header }
func (w *written) WriteHeader(status int)      { w.status = status }
func (w *written) Write(p []byte) (int, error) { return w.body.Write(p) }

// roundTrips is a transport made of a function.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u := testkit.Must(url.Parse(text))(t)
	return u
}

// ageOf is how long ago a token was minted, on GitHub's clock.
func ageOf(t *ghapp.Token) time.Duration { return t.ExpiresAt.Sub(t.MintedAt) - t.Life() }

// detail is the one of its type that an error has, or the zero value.
func detail[T any, E interface {
	*T
	error
}](e error) T {
	if found, ok := errors.AsType[E](e); ok {
		return *found
	}
	var none T
	return none
}
