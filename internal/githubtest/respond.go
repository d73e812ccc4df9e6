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
	"time"
)

// maxBody is how much of a request's body is read for the REST and LFS endpoints, and kept.
const maxBody = 1 << 20

// write sends an answer.
func (gh *GitHub) write(w http.ResponseWriter, r *http.Request, a answer) {
	maps.Copy(w.Header(), a.header)
	var text []byte
	switch body := a.body.(type) {
	case nil:
	case string:
		text = []byte(body)
	case []byte: // JSON that is written already
		text = body
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	default:
		text = append(encode(body), '\n')
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

// encode is the JSON of a body.
func encode(body any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(body) // of maps, lists, texts and numbers: it cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
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
