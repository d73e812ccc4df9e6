package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// wire is a network of one handler that answers every host, without a socket, so
// that it works inside a synctest bubble. It keeps what was sent.
type wire struct {
	handler http.HandlerFunc
	mu      sync.Mutex
	sent    []message
}

type message struct {
	Method, URL, Authorization, Body string
	Header                           http.Header
	At                               time.Time
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	m := message{Method: req.Method, URL: req.URL.String(), Authorization: req.Header.Get("Authorization"),
		Header: req.Header, At: time.Now()}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		m.Body = string(body)
		req.Body.Close()
	}
	w.mu.Lock()
	w.sent = append(w.sent, m)
	w.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	w.handler(rec, req)
	return rec.Result(), nil
}

func (w *wire) messages() []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// pauses are the times between the messages.
func (w *wire) pauses() []time.Duration {
	var list []time.Duration
	sent := w.messages()
	for i := 1; i < len(sent); i++ {
		list = append(list, sent[i].At.Sub(sent[i-1].At))
	}
	return list
}

const enterprise = "ghes.example"

// newClient is a client of an Enterprise Server behind the wire, so that the API
// root has a path.
func newClient(t testing.TB, transport http.RoundTripper, edit ...func(*Options)) *Client {
	t.Helper()
	host := testkit.Must(ParseHost(enterprise, ""))(t)
	o := Options{Host: host, Transport: transport, UserAgent: "test"}
	for _, f := range edit {
		f(&o)
	}
	c := testkit.Must(New(o))(t)
	return c
}

// roundTrips is a transport made of a function.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answers serves the handlers one after the other, the last for ever.
func answers(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[min(n, len(handlers)-1)]
		n++
		mu.Unlock()
		h(w, r)
	}
}

// says is GitHub's answer of a status, a body, and headers in pairs.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return stranger(status, body, append([]string{"X-GitHub-Request-Id", "C0DE:1"}, headers...)...)
}

// stranger is the answer of a server that is not GitHub.
func stranger(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const theApp = `{"id":7,"slug":"deployer"}`

// canary is a secret that must appear nowhere.
const canary = "ghs_canary_7WJ2cD5"

// asCanary authorizes with the canary as a JWT.
func asCanary(context.Context) (string, secret.Text, error) {
	return "Bearer", secret.New(canary), nil
}
