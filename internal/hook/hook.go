// Package hook takes GitHub's webhooks, and other triggers, for a watcher.
//
// A delivery only says that something may be new: the watcher asks git what there is, so that deliveries which come
// late, twice, in another order, or not at all, never publish anything wrong. GitHub sends a failed delivery again
// only when somebody asks it to, and no push event at all for more than three tags; a watcher polls behind this.
// https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks
//
// Nothing of a request counts before its signature, or the secret of POST /sync, is right. What a stranger can bring
// about is bounded: connections and headers by [NewServer], bodies in number and size by [Handler], lines in the log
// by time. A flood can still keep GitHub's own deliveries out, and then the polling is left.
package hook

import (
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/secret"
)

// The paths of [Handler].
const (
	DefaultPath = "/webhook"
	SyncPath    = "/sync"
	OtherPath   = "other" // any other, for [Handler.OnAnswer]
)

// What becomes of a request, for [Handler.OnAnswer].
const (
	Taken    = "taken"   // there is a pass for it, or was one
	Ignored  = "ignored" // it was believed, and nothing follows from it
	Refused  = "refused" // it was not believed, or not understood
	Busy     = "busy"    // it is to be sent again
	PassFail = "failed"  // the pass that was waited for failed
)

// Outcomes are all of them.
func Outcomes() []string { return []string{Taken, Ignored, Refused, Busy, PassFail} }

// outcome is one of [Outcomes].
func (a answer) outcome() string {
	switch {
	case a.status == http.StatusInternalServerError:
		return PassFail
	case a.status == http.StatusServiceUnavailable:
		return Busy
	case a.status >= 400:
		return Refused
	case a.ignored:
		return Ignored
	}
	return Taken
}

// Push is what GitHub tells of a push to one ref. A ref that was deleted is never told.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
type Push struct {
	Repository    ghapp.RepositoryName // with its host
	RepositoryID  int64                // stays when the repository is renamed
	Ref           string               // in full: refs/heads/main, refs/tags/v1
	Before, After string               // object IDs; Before is all zeros for a new ref
	Forced        bool
	Delivery      string // GitHub's GUID, in lower case; the same when it delivers again
}

// Handler answers GitHub's webhook at Path and other triggers at /sync, and nothing else. It is safe for concurrent
// use, and its fields must not be changed once it is in use.
//
// A delivery is remembered while its work is under way, and for 72 hours after it was done, in which GitHub may be
// asked to deliver it again; at most 4,096 of them, the oldest being forgotten first. Coming again it causes no work.
// One whose work failed is forgotten, so that "Redeliver" on GitHub's page tries again. GitHub does not sign the GUID:
// an old delivery, caught and sent again under another one, has the watcher ask once more, and can do no more.
type Handler struct {
	// Path is where GitHub delivers. Empty means [DefaultPath].
	Path string

	// Secrets are the webhook's; any of them may have signed, so that one can be replaced by another. Without any,
	// the webhook is closed (404).
	Secrets []secret.Text

	// SyncSecrets open POST /sync, as "Authorization: Bearer SECRET". Without any, it is closed (404).
	SyncSecrets []secret.Text

	// OnPush takes a push, and returns false where no target follows that ref of that repository. If it returns true,
	// done has to be called once, at any time, with the outcome: nil where the commit is published, or there was
	// nothing to do. GitHub is told that the push was taken, not how it ended. OnPush should not wait for the work: a
	// call of more than three seconds fails the delivery at GitHub, though its work counts.
	OnPush func(p Push, done func(error)) bool

	// OnEvent takes events of every [Kind] in the place of OnPush, in the same way: it returns false where nothing
	// follows from one. Nil: pushes are taken by OnPush.
	OnEvent func(e Event, done func(error)) bool

	// OnSync takes a request for a pass of the named targets, or of all, and returns the names that no target has. If
	// there are none, done has to be called once, with the outcome of all. It should not wait for the work.
	OnSync func(names []string, all bool, done func(error)) (unknown []string)

	// OnAnswer is told the path of each request, [OtherPath] for one that there is nothing at, and
	// one of [Outcomes]. It may be called by several goroutines at the same time. Nil means nobody is.
	OnAnswer func(path, outcome string)
	// Log is told of what was taken and, at most once in ten seconds, of what was refused. Nil means nobody is.
	Log *slog.Logger

	deliveries deliveries
	refusals   refusals

	once  sync.Once
	large chan struct{} // held while a large body is in memory
	calls chan struct{} // held while OnPush or OnEvent runs
}

const (
	// patience is how long a delivery waits for room for its body, and then for OnPush or OnEvent. GitHub waits ten
	// seconds.
	patience = 3 * time.Second
	// maxLarge and maxCalls are how many large bodies, and calls of OnPush or OnEvent, there are at once.
	maxLarge = 4
	maxCalls = 64
)

// answer is what a request is answered with: one line of plain text, or JSON.
type answer struct {
	status int
	text   string
	json   any
	header http.Header
	// ignored: it was believed, and nothing follows from it
	ignored bool
}

func say(status int, text string) answer { return answer{status: status, text: text} }

// ignore is the answer to what was believed, and causes nothing.
func ignore(text string) answer { return answer{status: http.StatusOK, text: text, ignored: true} }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(func() {
		h.large = make(chan struct{}, maxLarge)
		h.calls = make(chan struct{}, maxCalls)
		if h.Log == nil {
			h.Log = slog.New(slog.DiscardHandler)
		}
	})
	var a answer
	counted := OtherPath
	path := h.Path
	if path == "" {
		path = DefaultPath
	}
	switch {
	case r.URL.Path == path && usable(h.Secrets) && (h.OnPush != nil || h.OnEvent != nil):
		counted, a = DefaultPath, h.postOnly(w, r, h.webhook)
	case r.URL.Path == SyncPath && usable(h.SyncSecrets) && h.OnSync != nil:
		counted, a = SyncPath, h.postOnly(w, r, h.sync)
	default:
		a = say(http.StatusNotFound, "there is nothing here")
	}
	if a.status >= 400 && a.status != http.StatusInternalServerError { // that is the outcome of a pass
		h.refusals.log(h.Log, r, a)
	}
	if h.OnAnswer != nil {
		h.OnAnswer(counted, a.outcome())
	}
	a.write(w)
}

// postOnly lets POST through.
func (h *Handler) postOnly(
	w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) answer,
) answer {
	if r.Method != http.MethodPost {
		a := say(http.StatusMethodNotAllowed, "only POST is answered here")
		a.header = http.Header{"Allow": {http.MethodPost}}
		return a
	}
	return next(w, r)
}

func (a answer) write(w http.ResponseWriter) {
	header := w.Header()
	for name, values := range a.header {
		header[name] = values
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	text := a.text + "\n"
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if a.json != nil {
		text = encode(a.json)
		header.Set("Content-Type", "application/json")
	}
	w.WriteHeader(a.status)
	io.WriteString(w, text)
}

// refusals tells a log of what was refused, without letting strangers fill it.
type refusals struct {
	mu     sync.Mutex
	last   time.Time
	untold int
}

// refusalPeriod is the time in which one refusal is told.
const refusalPeriod = 10 * time.Second

func (t *refusals) log(log *slog.Logger, r *http.Request, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !t.last.IsZero() && now.Sub(t.last) < refusalPeriod {
		t.untold++
		return
	}
	log.Warn("a request was refused", "path", clean(r.URL.Path), "from", r.RemoteAddr,
		"status", a.status, "why", a.text, "untold_before", t.untold)
	t.last, t.untold = now, 0
}
