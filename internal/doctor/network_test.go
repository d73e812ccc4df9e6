package doctor

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// lateWriter is net/http's transport over HTTP/2 on a bad day: that the request was written
// is told when nobody wants to know any more.
type lateWriter struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t lateWriter) RoundTrip(req *http.Request) (*http.Response, error) {
	told := httptrace.ContextClientTrace(req.Context())
	late := *told
	late.WroteRequest = nil
	return t.RoundTripper.RoundTrip(req.WithContext(httptrace.WithClientTrace(withoutTrace{req.Context()}, &late)))
}

// withoutTrace is a context that hides the trace in it.
type withoutTrace struct{ context.Context }

// Value implements [context.Context].
func (c withoutTrace) Value(key any) any {
	if _, traced := c.Context.Value(key).(*httptrace.ClientTrace); traced {
		return nil
	}
	return c.Context.Value(key)
}

// ofServer is a host whose clock is ahead of ours, asked over HTTP/2.
func ofServer(t *testing.T, ahead time.Duration, wrap func(http.RoundTripper) http.RoundTripper) *hostChain {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		testkit.Equal(t, r.ProtoMajor, 2, "asked over %s", r.Proto)
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	host := testkit.Must(api.ParseHost(server.URL, ""))(t)
	reach := ghapp.Config{Client: ghapp.Client{Transport: wrap(server.Client().Transport)}}
	return &hostChain{host: host, reach: reach, probe: newProbe(t.Context(), reach, host)}
}

func TestClockIsReadOverHTTP2WhoeverIsToldFirst(t *testing.T) {
	h := ofServer(t, -2*time.Hour, func(next http.RoundTripper) http.RoundTripper { return lateWriter{next} })
	if got := h.checkClock(t.Context()); got.State != Warn || !strings.Contains(got.Text, "720") ||
		strings.Contains(got.Text, "take -") {
		t.Errorf("a clock that is two hours off: %s, %s", got.State, got.Text)
	}
	for range 50 {
		h := ofServer(t, 0, func(next http.RoundTripper) http.RoundTripper { return next })
		if got := h.checkClock(t.Context()); got.State != OK || strings.Contains(got.Text, "take -") {
			t.Fatalf("a clock that is right: %s, %s", got.State, got.Text)
		}
	}
}

func TestClockThatIsAYearOffIsBroken(t *testing.T) {
	h := ofServer(t, 365*24*time.Hour, func(next http.RoundTripper) http.RoundTripper { return next })
	if got := h.checkClock(t.Context()); got.State != Broken || got.ExitCode != 4 ||
		!strings.Contains(got.Cause, "15 hours") {
		t.Errorf("%+v", got)
	}
}
