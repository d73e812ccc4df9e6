package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	pathCanary   = "canary-path-T0/B0-aabbccddeeff"
	queryCanary  = "canary-query-1122334455"
	secretCanary = "canary-secret-99887766"
	userCanary   = "canary-password-5544"
	canaryPath   = "/services/" + pathCanary + "?key=" + queryCanary
)

func failed() Event {
	return Event{
		What: Failed, Target: "site", Repository: "acme/site", Ref: "deployment",
		Commit: strings.Repeat("2", 40), Previous: strings.Repeat("1", 40), Directory: "/srv/site",
		Error: &diag.Report{Message: "cannot fetch acme/site: GitHub answered 403 \"suspended\"\nmore", Hint: "lift it",
			Kind: "suspended", ExitCode: 4},
		At: time.Date(2026, 11, 28, 18, 0, 0, 5e8, time.FixedZone("", 3600)),
	}
}

// The whole body is written out: receivers are programs of others.
func TestReceiverGetsTheDocumentedJSON(t *testing.T) {
	receiver := githubtest.NewRecorder()
	server := httptest.NewTLSServer(receiver)
	defer server.Close()
	n := &Notifier{URL: secret.New(server.URL + canaryPath), Secret: secret.New(secretCanary),
		Transport: server.Client().Transport, Version: "v1.2.3"}
	testkit.OK(t, n.Send(t.Context(), failed()))
	requests := receiver.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests", len(requests))
	}
	r := requests[0]
	var got, want any
	testkit.OK(t, json.Unmarshal([]byte(r.Body), &got))
	json.Unmarshal([]byte(`{
		"text": "site: acme/site deployment at 222222222222 failed; /srv/site stays as it was `+
		`(before: 111111111111): cannot fetch acme/site: GitHub answered 403 \"suspended\"",
		"event": "failed", "target": "site", "repository": "acme/site", "ref": "deployment",
		"commit": "2222222222222222222222222222222222222222", "previous": "1111111111111111111111111111111111111111",
		"directory": "/srv/site", "at": "2026-11-28T17:00:00Z", "ghapp_version": "v1.2.3",
		"error": {"message": "cannot fetch acme/site: GitHub answered 403 \"suspended\"\nmore",
			"hint": "lift it", "kind": "suspended", "exit_code": 4}
	}`), &want)
	testkit.Diff(t, got, want)
	mac := hmac.New(sha256.New, []byte(secretCanary))
	io.WriteString(mac, r.Body)
	for name, value := range map[string]string{
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)), "Content-Type": "application/json",
		"User-Agent": "ghapp/v1.2.3", "X-Ghapp-Event": "failed",
	} {
		testkit.Equal(t, r.Header.Get(name), value, "%s", name)
	}
	if r.Path+"?"+r.Query != canaryPath || r.Method != "POST" || len(r.Header.Get("X-Ghapp-Delivery")) < 20 {
		t.Errorf("%s %s?%s, delivery %q", r.Method, r.Path, r.Query, r.Header.Get("X-Ghapp-Delivery"))
	}
}

func TestEveryEventIsALineForPeople(t *testing.T) {
	e := failed()
	e.Error = nil
	for what, want := range map[What]string{
		Published: "site: acme/site deployment at 222222222222 is published in /srv/site (before: 111111111111)",
		ExecFailed: "site: acme/site deployment at 222222222222 is published in /srv/site, " +
			"but the command after it failed (before: 111111111111)",
		Recovered: "site: acme/site deployment at 222222222222 goes well again in /srv/site (before: 111111111111)",
		Failed:    "site: acme/site deployment at 222222222222 failed; /srv/site stays as it was (before: 111111111111)",
	} {
		e.What = what
		testkit.Equal(t, e.String(), want)
	}
	if got, want := (Event{What: Failed, Repository: "acme/site", Ref: "v1", Directory: "/d"}).String(),
		"acme/site: acme/site v1 failed; /d stays as it was"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// answers are what a receiver answers, one after the other; the last one goes on.
type answers struct {
	list       []func(*http.Request) (*http.Response, error)
	times      []time.Time
	deliveries []string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	f := a.list[min(len(a.times), len(a.list)-1)]
	a.times = append(a.times, time.Now())
	a.deliveries = append(a.deliveries, r.Header.Get("X-Ghapp-Delivery"))
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return f(r)
}

func status(code int, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h,
			Body: io.NopCloser(strings.NewReader("body-canary")), Request: r}, nil
	}
}

func broken(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTriesAndWaits(t *testing.T) {
	type answer = func(*http.Request) (*http.Response, error)
	reset := broken(errors.New("connection reset"))
	tests := []struct {
		name    string
		answers []answer
		tries   int
		least   time.Duration
		most    time.Duration
		err     string // "" is none
	}{
		{"taken", []answer{status(204)}, 1, 0, 0, ""},
		{"fault, then taken", []answer{status(503), status(200)}, 2, 200 * time.Millisecond, time.Second, ""},
		{"fault three times", []answer{status(500)}, 3, 500 * time.Millisecond, 3 * time.Second,
			"hooks.example answered 500 Internal Server Error"},
		{"not reached", []answer{reset}, 3, 500 * time.Millisecond, 3 * time.Second,
			"cannot reach hooks.example: connection reset"},
		{"not reached, then taken", []answer{reset, reset, status(200)}, 3, 500 * time.Millisecond, 3 * time.Second, ""},
		{"no such host", []answer{broken(&net.DNSError{Err: "no such host", Name: "hooks.example", IsNotFound: true})}, 1, 0,
			0, "cannot reach hooks.example: lookup hooks.example: no such host"},
		{"later", []answer{status(429, "Retry-After", "7"), status(200)}, 2, 7 * time.Second, 7 * time.Second, ""},
		{"much later", []answer{status(429, "Retry-After", "3600"), status(200)}, 1, 0, 0,
			"hooks.example answered 429 Too Many Requests"},
		{"refused", []answer{status(404)}, 1, 0, 0, "hooks.example answered 404 Not Found"},
		{"no answer", []answer{hang}, 3, 30 * time.Second, 33 * time.Second,
			"cannot reach hooks.example: no answer within 10s"},
		{"elsewhere", []answer{status(307, "Location", "https://evil.example/"), status(200)}, 1, 0, 0,
			"hooks.example answered 307: it sends us elsewhere"},
		{"elsewhere as GET", []answer{status(302, "Location", "/other"), status(200)}, 1, 0, 0, "hooks.example answered 302"},
		{"elsewhere unencrypted", []answer{status(308, "Location", "http://hooks.example/"), status(200)}, 1, 0, 0,
			"hooks.example answered 308"},
		{"moved at home", []answer{status(308, "Location", "/other"), status(200)}, 2, 0, 0, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{list: test.answers}
				n := &Notifier{URL: secret.New("https://hooks.example" + canaryPath), Transport: a}
				begun := time.Now()
				err := n.Send(t.Context(), failed())
				if took := time.Since(begun); took < test.least || took > test.most {
					t.Errorf("it took %s, want %s to %s", took, test.least, test.most)
				}
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				testkit.Equal(t, len(a.times), test.tries, "requests")
				for _, delivery := range a.deliveries {
					if delivery != a.deliveries[0] || delivery == "" {
						t.Errorf("deliveries %q are not one", a.deliveries)
					}
				}
			})
		})
	}
}

func TestCallerMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("told to end"))
		defer cancel()
		begun := time.Now()
		n := &Notifier{URL: secret.New("https://hooks.example/"),
			Transport: &answers{list: []func(*http.Request) (*http.Response, error){hang}}}
		err := n.Send(ctx, failed())
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "told to end") ||
			time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

func TestURLHasToBeSafe(t *testing.T) {
	for _, good := range []string{"https://hooks.example/x", "http://127.0.0.1:1/x", "http://localhost/x",
		"http://[::1]:8080/", "https://user:password@hooks.example/"} {
		testkit.OK(t, (&Notifier{URL: secret.New(good)}).Check(), "%s", good)
	}
	for bad, want := range map[string]string{
		"":                                     "is not a URL",
		"hooks.example/" + pathCanary:          "is not a URL",
		"https:" + pathCanary:                  "is not a URL",
		"https://h.example/%zz" + pathCanary:   "is not a URL",
		"http://hooks.example/" + pathCanary:   "at hooks.example, is http://",
		"ftp://hooks.example/" + pathCanary:    "at hooks.example, is not https://",
		"http://127.0.0.1.evil.example/" + "x": "is http://",
	} {
		n := &Notifier{URL: secret.New(bad),
			Transport: &answers{list: []func(*http.Request) (*http.Response, error){status(200)}}}
		for _, err := range []error{n.Check(), n.Send(t.Context(), failed())} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v, want %q", bad, err, want)
			}
		}
	}
}

// parrot is a receiver that tells all it was sent back, in the place of %s.
func parrot(t *testing.T, form string) (host string) {
	t.Helper()
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(5 * time.Second))
			request := make([]byte, 16<<10)
			n, _ := c.Read(request)
			line, _, _ := strings.Cut(string(request[:n]), "\r\n")
			line = strings.Join(strings.Fields(line), "_") + pathCanary + queryCanary + secretCanary + userCanary
			fmt.Fprint(c, strings.ReplaceAll(form, "%s", line))
			c.Close()
		}
	}()
	return l.Addr().String()
}

// What is secret of a URL is told to nobody but its host: not to a log, an error, or where a redirect leads, though
// the receiver brings it up in every place that net/http quotes.
func TestNothingOfTheURLIsTold(t *testing.T) {
	elsewhere := githubtest.NewRecorder()
	other := httptest.NewServer(elsewhere)
	t.Cleanup(func() {
		other.Close()
		testkit.Equal(t, len(elsewhere.Requests()), 0, "a redirect was followed")
	})
	for name, form := range map[string]string{
		"answer":   "%s\r\n\r\n",
		"length":   "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"status":   "HTTP/1.1 %s\r\n\r\n",
		"reason":   "HTTP/1.1 500 %s\r\nX: %s\r\nContent-Length: 0\r\n\r\n",
		"header":   "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"redirect": "HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: " + other.URL + "/%s\r\n\r\n",
		"location": "HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: http://[%s\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := parrot(t, form)
			var log bytes.Buffer
			n := &Notifier{
				URL:    secret.New("http://someone:" + userCanary + "@" + host + canaryPath),
				Secret: secret.New(secretCanary), Transport: &http.Transport{DisableKeepAlives: true},
				Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}
			err := n.Send(t.Context(), failed())
			if err == nil || !strings.Contains(err.Error(), host) {
				t.Fatalf("error %v, want one that names %s", err, host)
			}
			if name != "redirect" && !strings.Contains(log.String(), "waiting to notify again") {
				t.Errorf("the log tells of no other try: %q", log.String())
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err),
				fmt.Sprintf("%+v %#v", n, *n), log.String()} {
				for _, canary := range []string{pathCanary, queryCanary, secretCanary, userCanary, "B0-aabbccddeeff"} {
					testkit.Lacks(t, text, canary)
				}
			}
		})
	}
}

func TestErrorsSayWhichKindTheyAre(t *testing.T) {
	n := &Notifier{URL: secret.New("https://hooks.example/"),
		Transport: &answers{list: []func(*http.Request) (*http.Response, error){status(404)}}}
	if e, ok := errors.AsType[*StatusError](n.Send(t.Context(), failed())); !ok ||
		e.Status != 404 || e.Host != "hooks.example" {
		t.Errorf("%+v", e)
	}
	server := httptest.NewTLSServer(http.NotFoundHandler()) // whose certificate nobody trusts
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	n = &Notifier{URL: secret.New(server.URL)}
	if e, ok := errors.AsType[*api.NetworkError](n.Send(t.Context(), failed())); !ok || !e.Untrusted() {
		t.Errorf("%+v", e)
	}
}
