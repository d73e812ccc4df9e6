package githubtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody is how much of a request's body is read for the REST and LFS endpoints, and kept.
const maxBody = 1 << 20

// ServeHTTP answers a request as GitHub would, or as a [Fault] says.
func (gh *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, isGit := gitPath(r.URL.EscapedPath())
	request, fault, closed := gh.arrive(r)
	var body []byte
	if keep := !isGit || path.lfs() && !path.object(); keep || fault.Delay > 0 {
		// Only when a body is read to its end does the server notice that the client has gone away.
		body, r.Body = peek(r.Body)
		if keep {
			gh.mu.Lock()
			request.Body = string(body)
			gh.mu.Unlock()
		}
	}
	out := &responder{ResponseWriter: w, extra: fault.Header, left: fault.CutAfter, cut: fault.CutAfter > 0}
	out.begin = func(status int) {
		gh.mu.Lock()
		request.Status = status
		gh.mu.Unlock()
	}
	if fault.Delay > 0 && !wait(r.Context(), fault.Delay) || fault.Reset {
		panic(http.ErrAbortHandler)
	}
	switch {
	case closed:
		http.Error(out, "githubtest: closed", http.StatusServiceUnavailable)
	case fault.answers():
		gh.write(out, r, gh.faulty(r, fault, isGit, isGit && !path.lfs()))
	case isGit && path.lfs():
		gh.serveLFS(out, r, path, body)
	case isGit:
		gh.serveGit(out, r, path)
	case isPage(r):
		gh.write(out, r, gh.page(r))
	default:
		gh.write(out, r, gh.rest(r, body, fault.Overgrant))
	}
	if out.cutOff {
		panic(http.ErrAbortHandler)
	}
}

// write sends an answer.
func (gh *GitHub) write(w http.ResponseWriter, r *http.Request, a answer) {
	maps.Copy(w.Header(), a.header)
	var text []byte
	switch body := a.body.(type) {
	case nil:
	case string:
		text = []byte(body)
	default:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.Encode(body) // of maps, lists, texts and numbers: it cannot fail
		text = b.Bytes()
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
	}
	if a.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		w.Write(text)
	}
}

// peek reads a body as far as is kept, and returns it with a body that can be read from its start.
func peek(body io.ReadCloser) ([]byte, io.ReadCloser) {
	if body == nil {
		return nil, http.NoBody
	}
	start, _ := io.ReadAll(io.LimitReader(body, maxBody))
	return start, struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), body), body}
}

// wait waits, and reports whether it did so to the end.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errCut = errors.New("githubtest: the answer was cut off")

// responder is a ResponseWriter that tells the status before the client can know it, and does to an answer what a Fault
// says.
type responder struct {
	http.ResponseWriter
	begin  func(status int)
	begun  bool
	extra  http.Header // of a Fault
	cut    bool
	left   int
	cutOff bool
}

// Unwrap lets an http.ResponseController reach the connection.
func (w *responder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responder) WriteHeader(status int) {
	if !w.begun {
		w.begun = true
		w.begin(status)
		for name, values := range w.extra {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responder) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if !w.cut || len(p) <= w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	n, err := w.ResponseWriter.Write(p[:w.left])
	w.left, w.cutOff = 0, true
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	return n, errors.Join(errCut, err)
}

// authorization takes the Authorization header apart. The kind is "basic", "bearer", "token", "" for none, and "other".
func authorization(r *http.Request) (kind string, c login) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", login{}
	}
	if user, password, ok := r.BasicAuth(); ok {
		return "basic", login{user, password}
	}
	scheme, credential, _ := strings.Cut(header, " ")
	switch scheme = strings.ToLower(scheme); scheme {
	case "bearer", "token":
		return scheme, login{password: strings.TrimSpace(credential)}
	}
	return "other", login{}
}

// login is a name and a password. A token that is sent without a name is the password.
type login struct{ user, password string }
