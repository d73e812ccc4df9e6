package cli_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// evil is another host, which keeps what it is sent.
type evil struct {
	*githubtest.Recorder
	url string
}

func newEvil(t *testing.T) *evil {
	t.Helper()
	return newEvilBehind(t, func(next http.Handler) http.Handler { return next })
}

// newEvilBehind has something before it.
func newEvilBehind(t *testing.T, before func(http.Handler) http.Handler) *evil {
	t.Helper()
	e := &evil{Recorder: githubtest.NewRecorder()}
	server := httptest.NewServer(before(e.Recorder))
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

// bait is the public repository that evil has for everybody, and the commit in it.
type bait struct {
	http.Handler
	head string
}

// theBait is that of all tests, which change nothing of it.
var theBait = sync.OnceValues(func() (bait, error) {
	const name = "acme/site"
	github, err := githubtest.New(githubtest.Options{Dir: filepath.Join(binaries, "evil")})
	if err != nil {
		return bait{}, err
	}
	repository := github.AddRepository(name, githubtest.RepositoryOptions{Public: true})
	repository.AddObject(largeText)
	head, err := repository.Commit("main", "Evil", map[string]string{"evil.txt": "evil\n"})
	// It is served by every name, since one that leads there may ask for any.
	everywhere := func(w http.ResponseWriter, r *http.Request) {
		if parts := strings.SplitN(r.URL.Path, "/", 4); len(parts) == 4 {
			r.URL.Path, r.URL.RawPath = "/"+name+".git/"+parts[3], ""
		}
		github.ServeHTTP(w, r)
	}
	return bait{http.HandlerFunc(everywhere), head}, err
})

// largeText is the content of a large file.
const largeText = "film\n"

// open makes evil answer openly, with the bait.
func (e *evil) open(t *testing.T) {
	t.Helper()
	b := testkit.Must(theBait())(t)
	e.Serve(b)
}

// evilHead is the commit that evil has.
func evilHead(t *testing.T) string {
	t.Helper()
	b := testkit.Must(theBait())(t)
	return b.head
}

// demanding are the two ways in which a hostile host gets a credential out of a
// careless client: it is open and takes what comes, or it asks.
func demanding() map[string]func(*testing.T, *evil) {
	return map[string]func(*testing.T, *evil){
		"open":   func(t *testing.T, e *evil) { e.open(t) },
		"asking": func(_ *testing.T, e *evil) { e.AskPassword() },
	}
}

// sentNothing fails if evil was sent a secret, or any password at all.
func (e *evil) sentNothing(m *machine) {
	m.t.Helper()
	for _, secret := range m.secrets() {
		for _, leak := range e.Leaks(secret) {
			m.t.Errorf("evil was sent a secret: %s", leak)
		}
	}
	for i, r := range e.Requests() {
		if r.Credential.Token != "" || r.Credential.Kind == githubtest.OtherCredential {
			m.t.Errorf("request %d to evil, %s %s, came with a credential (%s)", i+1, r.Method, r.Path, r.Credential.Kind)
		}
	}
}

// traffic stands before a GitHub, and can hold a request and lead it elsewhere.
type traffic struct {
	mu          sync.Mutex
	next        http.Handler
	diversions  []diversion
	stops       []*stop
	credentials []string // that came, decoded
}

// stop is a place at which a request is held: before it is answered, or after so
// many bytes of the answer.
type stop struct {
	match   func(*http.Request) bool
	after   int
	once    sync.Once
	reached chan struct{} // closed when a request is held
	free    chan struct{} // closed when it may go on
}

// lead leads requests to another handler from now on.
func (tr *traffic) lead(next http.Handler) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.next = next
}

// diversion is another handler for requests of a kind.
type diversion struct {
	match func(*http.Request) bool
	to    http.Handler
}

// divert leads every request that matches to another handler; of several that match,
// the first has it.
func (tr *traffic) divert(match func(*http.Request) bool, to http.Handler) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.diversions = append(tr.diversions, diversion{match, to})
}

// hold holds every request that matches until release.
func (tr *traffic) hold(after int, match func(*http.Request) bool) *stop {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	s := &stop{match: match, after: after, reached: make(chan struct{}), free: make(chan struct{})}
	tr.stops = append(tr.stops, s)
	return s
}

// release lets go of everything.
func (tr *traffic) release() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, s := range tr.stops {
		close(s.free)
	}
	tr.stops = nil
}

// wait waits until a request is held.
func (s *stop) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.reached:
	case <-time.After(patience):
		t.Fatal("no such request came")
	}
}

// halt holds the request. A client that goes away frees it.
func (s *stop) halt(r *http.Request) {
	s.once.Do(func() { close(s.reached) })
	select {
	case <-s.free:
	case <-r.Context().Done():
	}
}

// ServeHTTP implements [http.Handler].
func (tr *traffic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, credential, _ := r.BasicAuth()
	if credential == "" {
		_, credential, _ = strings.Cut(r.Header.Get("Authorization"), " ")
	}
	tr.mu.Lock()
	if len(credential) > 20 && !slices.Contains(tr.credentials, credential) {
		tr.credentials = append(tr.credentials, credential)
	}
	var found *stop
	for _, s := range tr.stops {
		if s.match(r) {
			found = s
			break
		}
	}
	next := tr.next
	if i := slices.IndexFunc(tr.diversions, func(d diversion) bool { return d.match(r) }); i >= 0 {
		next = tr.diversions[i].to
	}
	tr.mu.Unlock()
	switch {
	case found == nil:
	case found.after == 0:
		found.halt(r)
	default:
		w = &holdingWriter{w, r, found, found.after}
	}
	next.ServeHTTP(w, r)
}

// holdingWriter holds an answer once so many bytes have been written.
type holdingWriter struct {
	http.ResponseWriter
	request *http.Request
	stop    *stop
	left    int
}

// Unwrap lets an [http.ResponseController] reach the connection.
func (w *holdingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements [io.Writer].
func (w *holdingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if before := w.left; err == nil && before > 0 {
		if w.left -= n; w.left <= 0 {
			if err = http.NewResponseController(w.ResponseWriter).Flush(); err == nil {
				w.stop.halt(w.request)
			}
		}
	}
	return n, err
}

// movedTo says that all is under another address now, of which base is the beginning.
func movedTo(base string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, base+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
}

// The requests of a clone. settle is ghapp's own question whether git's servers know
// the token.
func isGit(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), "git/") && r.UserAgent() != "git/ghapp"
}

func isSettle(r *http.Request) bool { return r.UserAgent() == "git/ghapp" }

// orSettle is a match, and ghapp's own question of the git service after it.
func orSettle(match func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool { return isSettle(r) || match(r) }
}

func isCall(method, suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.HasSuffix(r.URL.Path, suffix) }
}

func isDiscovery(repository string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return isGit(r) && strings.HasPrefix(r.URL.Path, "/"+repository) && strings.HasSuffix(r.URL.Path, "/info/refs")
	}
}

func isUploadPack(repository string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return isGit(r) && strings.HasPrefix(r.URL.Path, "/"+repository) && strings.HasSuffix(r.URL.Path, "/git-upload-pack")
	}
}

// authorized narrows a kind of requests to those that come with a credential.
func authorized(match func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool { return match(r) && r.Header.Get("Authorization") != "" }
}

// anyOf is every kind of requests that is one of these, or, of none, every request.
func anyOf(kinds ...func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return len(kinds) == 0 || slices.ContainsFunc(kinds, func(match func(*http.Request) bool) bool { return match(r) })
	}
}
