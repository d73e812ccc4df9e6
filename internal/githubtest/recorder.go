package githubtest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Recorder is a host that keeps everything sent to it: the other side of a test that a secret is not sent where it does
// not belong. It is an [http.Handler], safe for concurrent use, and answers as it was last told. Make one with
// [NewRecorder].
type Recorder struct {
	mu       sync.Mutex
	answer   http.Handler
	requests []*Request
}

// NewRecorder makes a Recorder that answers every request with an empty 200.
func NewRecorder() *Recorder {
	return &Recorder{answer: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	})}
}

// ServeHTTP records a request and answers it.
func (rec *Recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := newRequest(r, time.Now())
	body, rest := peek(r.Body)
	r.Body, request.Body = rest, string(body)
	rec.mu.Lock()
	rec.requests = append(rec.requests, request)
	answer := rec.answer
	rec.mu.Unlock()
	answer.ServeHTTP(&responder{ResponseWriter: w, begin: func(status int) {
		rec.mu.Lock()
		request.Status = status
		rec.mu.Unlock()
	}}, r)
}

// Serve makes it answer openly with a handler, such as a [GitHub] with a public repository.
func (rec *Recorder) Serve(h http.Handler) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.answer = h
}

// AskPassword makes it answer with 401 and ask for a password as GitHub's git servers do, whatever password it gets.
func (rec *Recorder) AskPassword() {
	rec.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", gitChallenge)
		http.Error(w, gitBadCredentials, http.StatusUnauthorized)
	}))
}

// RedirectTo makes it answer with 302 to a base such as "http://host", with the path and query asked for.
func (rec *Recorder) RedirectTo(base string) {
	rec.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.TrimSuffix(base, "/")+r.URL.RequestURI())
		w.WriteHeader(http.StatusFound)
	}))
}

// Requests returns every request so far, in order of arrival. Bodies are kept up to 1 MiB.
func (rec *Recorder) Requests() []Request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return copies(rec.requests)
}

// Leaks returns the places where a secret stood in the requests, one line each: as it is, URL-encoded, or in base64 at
// any of the three offsets, in a URL, a header, a Basic credential or a body. The lines do not hold the secret. An
// empty secret leaks nowhere.
func (rec *Recorder) Leaks(secret string) []string {
	if secret == "" {
		return nil
	}
	var leaks []string
	for i, r := range rec.Requests() {
		places := map[string]string{
			"path": r.Path, "query": r.Query, "host": r.Host, "body": r.Body,
			"Basic credential": r.Credential.Username + ":" + r.Credential.Token,
		}
		for name, values := range r.Header {
			places["header "+name] = strings.Join(values, "\n")
		}
		for _, place := range slices.Sorted(maps.Keys(places)) {
			if slices.ContainsFunc(disguises(secret), func(d string) bool { return strings.Contains(places[place], d) }) {
				leaks = append(leaks, fmt.Sprintf("request %d, %s: %s", i+1, r.Method, place))
			}
		}
	}
	return leaks
}

// disguises are the forms a secret may be sent in. Base64 of something longer depends on how many bytes come before
// the secret, and the characters at its ends on what stands there, so those are left out.
func disguises(secret string) []string {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			text := e.EncodeToString([]byte(strings.Repeat("\x00", offset) + secret))
			from := (offset*8 + 5) / 6
			to := (offset + len(secret)) * 8 / 6
			if to > from {
				forms = append(forms, text[from:to])
			}
		}
	}
	return forms
}
