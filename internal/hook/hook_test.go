package hook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	webhookSecret = "canary-webhook-0123456789abcdef"
	older         = "canary-older-fedcba9876543210"
	syncSecret    = "canary-sync-aabbccddeeff0011"
	guid          = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	ref           = "refs/heads/deployment"
	first         = "1111111111111111111111111111111111111111"
	second        = "2222222222222222222222222222222222222222"
	none          = "0000000000000000000000000000000000000000"
)

// watcher is one that follows a ref of acme/site. Its work ends when a test says so.
type watcher struct {
	mu     sync.Mutex
	pushes []Push
	wishes [][]string
	done   []func(error)
	log    bytes.Buffer
}

func (w *watcher) handler() *Handler {
	return &Handler{
		Secrets:     []secret.Text{secret.New(webhookSecret), secret.New(older)},
		SyncSecrets: []secret.Text{secret.New(syncSecret)},
		OnPush: func(p Push, done func(error)) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			if p.Repository.String() != "acme/site" || p.Ref != ref {
				return false
			}
			w.pushes = append(w.pushes, p)
			w.done = append(w.done, done)
			return true
		},
		OnSync: func(names []string, all bool, done func(error)) (unknown []string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			unknown = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "site" })
			if len(unknown) == 0 {
				if all {
					names = []string{"*"}
				}
				w.wishes = append(w.wishes, names)
				w.done = append(w.done, done)
			}
			return unknown
		},
		Log: slog.New(slog.NewTextHandler(w, nil)),
	}
}

// Write takes the lines of the log.
func (w *watcher) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

func (w *watcher) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// end ends the work that was begun last.
func (w *watcher) end(err error) {
	w.mu.Lock()
	done := w.done[len(w.done)-1]
	w.mu.Unlock()
	done(err)
}

func (w *watcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pushes)
}

func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// delivered is a delivery as GitHub makes it, changed by the functions.
func delivered(event, body string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, DefaultPath, strings.NewReader(body))
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("User-Agent", "GitHub-Hookshot/044aadd")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", guid)
	r.Header.Set(signatureHeader, sign(webhookSecret, body))
	for _, f := range change {
		f(r)
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
}

func wished(body string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, SyncPath, strings.NewReader(body))
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("Authorization", "Bearer "+syncSecret)
	for _, f := range change {
		f(r)
	}
	return r
}

// pushed is the body of a push event, as far as it is read.
func pushed(repository, ref, before, after string) string {
	return fmt.Sprintf(
		`{"ref":%q,"before":%q,"after":%q,"created":false,"deleted":%t,"forced":true,"repository":{"id":400000001,"full_name":%q,"clone_url":"https://GitHub.com/%s.git"},"installation":{"id":30000001}}`,
		ref, before, after, after == none, repository, repository)
}

func ask(h http.Handler, r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func wantAnswer(t *testing.T, h http.Handler, r *http.Request, status int, text string) {
	t.Helper()
	if got, said := ask(h, r); got != status || !strings.Contains(said, text) {
		t.Errorf("%d %q, want %d and %q", got, said, status, text)
	}
}

func TestAPushIsTold(t *testing.T) {
	for _, form := range []bool{false, true} {
		w := new(watcher)
		body := pushed("acme/site", ref, first, second)
		kind := jsonType
		if form {
			body, kind = url.Values{"payload": {body}}.Encode(), formType
		}
		wantAnswer(t, w.handler(), delivered("push", body, header("Content-Type", kind)), 202,
			"taken: "+ref+" of acme/site is at "+second)
		want := Push{
			Repository:   ghapp.RepositoryName{Host: "github.com", Owner: "acme", Name: "site"},
			RepositoryID: 400000001, Ref: ref, Before: first, After: second, Forced: true, Delivery: guid,
		}
		if len(w.pushes) != 1 || w.pushes[0] != want {
			t.Errorf("form %t: the watcher was told %+v, want %+v", form, w.pushes, want)
		}
	}
}

var errFailed = errors.New("disk full")

func TestOutcomeDecidesOverRedelivery(t *testing.T) {
	w := new(watcher)
	h := w.handler()
	again := func() *http.Request { return delivered("push", pushed("acme/site", ref, first, second)) }
	wantAnswer(t, h, again(), 202, "taken")
	wantAnswer(t, h, again(), 202, "already under way")
	w.end(errFailed)
	wantAnswer(t, h, again(), 202, "taken")
	wantAnswer(t, h, again(), 202, "already under way")
	w.end(nil)
	wantAnswer(t, h, again(), 200, "already done")
	w.end(errFailed) // says it twice
	wantAnswer(t, h, again(), 200, "already done")
	testkit.Equal(t, w.count(), 2, "there was work")
}
