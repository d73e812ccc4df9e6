package githubtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
)

// RoundTripper answers requests in this process, with no socket and no goroutine, so that it can be used inside a
// testing/synctest bubble. It obeys the request's context, and faults that wait or break the connection do so here as
// well. The host asked is kept in [Request.Host].
func (gh *GitHub) RoundTripper() http.RoundTripper { return roundTripper{gh} }

type roundTripper struct{ gh *GitHub }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	in := req.Clone(ctx)
	in.RemoteAddr = "127.0.0.1:1"
	in.RequestURI = req.URL.RequestURI()
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.URL.Path == "" {
		in.URL.Path = "/"
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if _, named := in.Header["User-Agent"]; !named {
		in.Header.Set("User-Agent", "Go-http-client/1.1") // as http.Transport does
	}
	out := &response{header: http.Header{}}
	broken := out.serve(t.gh, in)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if broken && out.status == 0 {
		return nil, io.EOF
	}
	body := io.Reader(&out.body)
	if broken {
		body = io.MultiReader(body, brokenReader{})
	}
	length := int64(-1)
	if n, err := strconv.ParseInt(out.sent.Get("Content-Length"), 10, 64); err == nil {
		length = n
	}
	return &http.Response{
		Status: strconv.Itoa(out.status) + " " + http.StatusText(out.status), StatusCode: out.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: out.sent, Body: io.NopCloser(body), ContentLength: length, Request: req,
	}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// response keeps an answer in memory.
type response struct {
	header http.Header
	sent   http.Header
	status int
	body   bytes.Buffer
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// serve has a handler answer, and reports whether it broke the connection off.
func (w *response) serve(h http.Handler, r *http.Request) (broken bool) {
	defer func() {
		switch thrown := recover(); thrown {
		case nil:
		case http.ErrAbortHandler:
			broken = true
		default:
			panic(thrown)
		}
	}()
	h.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	return false
}
