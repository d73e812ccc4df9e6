package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/wait"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestHeadersOfARequest(t *testing.T) {
	for _, test := range []struct {
		name, version string
		want          []string
	}{
		{"version set", "2026-03-10", []string{"2026-03-10"}},
		{"no version", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &wire{handler: says(200, theApp)}
			c := newClient(t, w, func(o *Options) { o.Version, o.UserAgent = test.version, "mine/1 ghapp" })
			testkit.Must(c.App(t.Context(), asCanary))(t)
			h := w.messages()[0].Header
			testkit.Diff(t, h.Values("X-GitHub-Api-Version"), test.want)
			for name, want := range map[string]string{
				"Accept": "application/vnd.github+json", "User-Agent": "mine/1 ghapp",
				"Authorization": "Bearer " + canary, "Content-Type": "",
			} {
				testkit.Equal(t, strings.Join(h.Values(name), "|"), want, "%s", name)
			}
		})
	}
}

func TestRetriesWhatALaterAttemptMayCure(t *testing.T) {
	reset := func(*http.Request) (*http.Response, error) { return nil, io.EOF }
	cut := func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"id":7,`), brokenReader{})
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
	}
	status := func(n int, headers ...string) roundTrips {
		return (&wire{handler: says(n, `{"message":"Server Error"}`, headers...)}).RoundTrip
	}
	tests := map[string]struct {
		first roundTrips
		again bool
	}{
		"500": {status(500), true}, "502": {status(502), true}, "503": {status(503), true}, "504": {status(504), true},
		"429": {status(429, "Retry-After", "1"), true}, "403 with Retry-After": {status(403, "Retry-After", "1"), true},
		"503 with Retry-After": {status(503, "Retry-After", "1"), true},
		"connection reset":     {reset, true}, "cut body": {cut, true},
		"400": {status(400), false}, "401": {status(401), false}, "403": {status(403), false}, "404": {status(404), false},
		"410": {status(410), false}, "422": {status(422), false}, "501": {status(501), false},
		"no such host": {func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
		}, false},
		"name server failing": {func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}
		}, true},
		"no TLS": {func(*http.Request) (*http.Response, error) {
			return nil, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}
		}, false},
		"certificate": {func(*http.Request) (*http.Response, error) {
			return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := &wire{handler: says(200, theApp)}
				tries := 0
				c := newClient(t, roundTrips(func(req *http.Request) (*http.Response, error) {
					if tries++; tries == 1 {
						return test.first(req)
					}
					return good.RoundTrip(req)
				}))
				start := time.Now()
				app, err := c.App(t.Context(), asCanary)
				took := time.Since(start)
				switch {
				case test.again && (err != nil || app.ID != 7 || tries != 2 || took == 0):
					t.Errorf("app %+v, error %v after %d attempts and %s; want the second to do, after a pause", app, err, tries, took)
				case !test.again && (err == nil || tries != 1 || took != 0):
					t.Errorf("error %v after %d attempts and %s; want one attempt and no waiting", err, tries, took)
				}
			})
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRetriesGrowWithJitterAndEnd(t *testing.T) {
	firsts := map[time.Duration]bool{}
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{handler: says(502, "")}
			_, err := newClient(t, w).App(t.Context(), asCanary)
			testkit.Equal(t, testkit.ErrorAs[*Error](t, err).Status, 502)
			pauses := w.pauses()
			if len(pauses) != maxTries-1 {
				t.Fatalf("%d attempts, want %d", len(pauses)+1, maxTries)
			}
			middle := 500 * time.Millisecond
			for i, p := range pauses {
				if p < middle/2 || p > middle*3/2+1 {
					t.Errorf("pause %d is %s, want %s give or take half", i+1, p, middle)
				}
				middle = middle * 3 / 2
			}
			firsts[pauses[0]] = true
		})
	}
	if len(firsts) < 2 {
		t.Error("the pauses are always the same: many clients would come back at once")
	}
}

func TestRetryAfterIsObeyedAndSpread(t *testing.T) {
	for _, status := range []int{403, 429, 503} {
		for _, seconds := range []int{0, 7, 60} {
			for _, form := range []string{"seconds", "date"} {
				t.Run(fmt.Sprint(status, " ", form, " ", seconds), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						value := strconv.Itoa(seconds)
						if form == "date" {
							value = time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
						}
						w := &wire{handler: answers(says(status, `{"message":"slow down"}`, "Retry-After", value), says(200, theApp))}
						testkit.Must(newClient(t, w).App(t.Context(), asCanary))(t)
						told := time.Duration(seconds) * time.Second
						if got := w.pauses(); len(got) != 1 || got[0] < told || got[0] > told+2*time.Second {
							t.Errorf("pauses %v, want one of %s and up to two seconds more", got, told)
						}
					})
				})
			}
		}
	}
}

func TestThoseWhoWereToldTheSameSecondComeBackSpread(t *testing.T) {
	pauses := map[time.Duration]bool{}
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{handler: answers(says(403, "", "Retry-After", "10"), says(200, theApp))}
			testkit.Must(newClient(t, w).App(t.Context(), asCanary))(t)
			pauses[w.pauses()[0]] = true
		})
	}
	if len(pauses) < 2 {
		t.Error("all come back at the same moment")
	}
}

func TestRetryAfterOfAMinuteFitsTheDefaultEvenWhenTheAnswerWasSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: answers(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			says(403, `{"message":"You have exceeded a secondary rate limit."}`, "Retry-After", "60")(w, r)
		}, says(200, theApp))}
		testkit.Must(newClient(t, w).App(t.Context(), asCanary))(t)
	})
}

func TestNeverWaitsForAPermissionRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		w.handler = says(403, `{"message":"Resource not accessible by integration"}`, "X-RateLimit-Limit", "5000",
			"X-RateLimit-Remaining", "4999",
			"X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(20*time.Second).Unix(), 10),
			"X-Accepted-GitHub-Permissions", "contents=read")
		start := time.Now()
		_, err := newClient(t, w).App(t.Context(), asCanary)
		answer, ok := errors.AsType[*Error](err)
		if !ok || answer.Limit != NoLimit || !answer.Until.IsZero() || answer.AcceptedPermissions != "contents=read" {
			t.Errorf("error %#v, want a plain refusal", err)
		}
		if took := time.Since(start); took != 0 || len(w.messages()) != 1 {
			t.Errorf("%d attempts in %s, want one", len(w.messages()), took)
		}
	})
}

func TestPrimaryLimit(t *testing.T) {
	limited := func(reset time.Duration) http.HandlerFunc {
		at := time.Now().Add(reset).Unix()
		return says(403, `{"message":"API rate limit exceeded for installation ID 1."}`, "X-RateLimit-Remaining", "0",
			"X-RateLimit-Reset", strconv.FormatInt(at, 10))
	}
	t.Run("beyond the ceiling fails at once and says until when", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{handler: limited(40 * time.Minute)}
			start := time.Now()
			_, err := newClient(t, w).App(t.Context(), asCanary)
			answer := testkit.ErrorAs[*Error](t, err)
			testkit.Equal(t, answer.Limit, PrimaryLimit)
			testkit.Equal(t, answer.Until.Unix(), start.Add(40*time.Minute).Unix())
			if took := time.Since(start); took != 0 || len(w.messages()) != 1 {
				t.Errorf("%d attempts in %s, want one", len(w.messages()), took)
			}
		})
	})
	t.Run("within the ceiling is waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{handler: answers(limited(30*time.Second), says(200, theApp))}
			testkit.Must(newClient(t, w).App(t.Context(), asCanary))(t)
			if p := w.pauses()[0]; p < 30*time.Second || p > 32*time.Second {
				t.Errorf("waited %s, want 30 seconds and up to two more", p)
			}
		})
	})
	t.Run("without a time is not waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{handler: says(429, "", "X-RateLimit-Remaining", "0")}
			_, err := newClient(t, w).App(t.Context(), asCanary)
			answer, ok := errors.AsType[*Error](err)
			if !ok || answer.Limit != PrimaryLimit || !answer.Until.IsZero() || len(w.messages()) != 1 {
				t.Errorf("error %#v after %d attempts", err, len(w.messages()))
			}
		})
	})
	for _, ahead := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		t.Run("on a clock that is off by "+ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := time.Now().Add(ahead)
				limit := says(403, "", "X-RateLimit-Remaining", "0", "Date", server.UTC().Format(http.TimeFormat),
					"X-RateLimit-Reset", strconv.FormatInt(server.Add(30*time.Second).Unix(), 10))
				w := &wire{handler: answers(limit, says(200, theApp))}
				testkit.Must(newClient(t, w).App(t.Context(), asCanary))(t)
				if p := w.pauses()[0]; p < 29*time.Second || p > 33*time.Second {
					t.Errorf("waited %s for a reset that is 30 seconds away on the server's clock", p)
				}
			})
		})
	}
}

func TestSecondaryLimitWithoutRetryAfterWaitsAMinute(t *testing.T) {
	for _, status := range []int{403, 429} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{handler: answers(says(status, `{"message":"You have exceeded a secondary rate limit. Please wait."}`),
				says(200, theApp))}
			testkit.Must(newClient(t, w).App(t.Context(), asCanary))(t)
			if p := w.pauses()[0]; p < time.Minute {
				t.Errorf("%d: waited %s, want a minute at least", status, p)
			}
		})
	}
}

func TestMaxWaitBoundsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: says(403, "", "Retry-After", "20")}
		start := time.Now()
		_, err := newClient(t, w, func(o *Options) { o.MaxWait = 50 * time.Second }).App(t.Context(), asCanary)
		answer, ok := errors.AsType[*Error](err)
		if !ok || answer.Limit != SecondaryLimit || answer.Until.IsZero() {
			t.Errorf("error %#v, want the limit and until when", err)
		}
		if took := time.Since(start); took > 50*time.Second || len(w.messages()) != 3 {
			t.Errorf("%d attempts in %s, want three in 50 s", len(w.messages()), took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: says(502, "")}
		start := time.Now()
		_, err := newClient(t, w, func(o *Options) { o.MaxWait = 100 * time.Millisecond }).App(t.Context(), asCanary)
		if err == nil || time.Since(start) > 100*time.Millisecond {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: says(502, "")}
		_, err := newClient(t, w, func(o *Options) { o.MaxWait = -1 }).App(t.Context(), asCanary)
		if err == nil || len(w.messages()) != 1 {
			t.Errorf("error %v after %d attempts, want one", err, len(w.messages()))
		}
	})
}

func TestServerThatHangsIsGivenUp(t *testing.T) {
	hang := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	hangInBody := func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(waitingReader{req.Context()})}, nil
	}
	for name, transport := range map[string]roundTrips{"before the answer": hang, "within the answer": hangInBody} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := newClient(t, transport).App(t.Context(), asCanary)
				network := testkit.ErrorAs[*NetworkError](t, err)
				testkit.Equal(t, network.Host, enterprise)
				testkit.Contains(t, err.Error(), "no answer within 30s")
				if took := time.Since(start); took < 30*time.Second || took > 65*time.Second {
					t.Errorf("took %s, want a second attempt at most", took)
				}
			})
		})
	}
}

type waitingReader struct{ ctx context.Context }

func (r waitingReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

func TestCallersContextEndsTheWaiting(t *testing.T) {
	why := errors.New("the user has gone")
	hang := roundTrips(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	for name, transport := range map[string]http.RoundTripper{
		"during a request": hang, "between attempts": &wire{handler: says(403, "", "Retry-After", "30")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(5*time.Second, func() { cancel(why) })
				start := time.Now()
				_, err := newClient(t, transport).App(ctx, asCanary)
				if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
					t.Errorf("error %v, want one that is both context.Canceled and its cause", err)
				}
				if _, ok := errors.AsType[*NetworkError](err); ok {
					t.Errorf("error %v blames the network", err)
				}
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("took %s after the context had ended", took-5*time.Second)
				}
				deadline, cancelDeadline := context.WithTimeout(t.Context(), time.Second)
				defer cancelDeadline()
				if _, err := newClient(t, transport).App(deadline, asCanary); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, want context.DeadlineExceeded", err)
				}
				if name == "during a request" { // the last attempt's error is the context's too
					once, cancelOnce := context.WithTimeout(t.Context(), time.Second)
					defer cancelOnce()
					_, err := newClient(t, transport, func(o *Options) { o.MaxWait = -1 }).App(once, asCanary)
					if _, network := errors.AsType[*NetworkError](err); network || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("error %#v, want context.DeadlineExceeded", err)
					}
				}
			})
		})
	}
}

func TestAuthorizationIsMadeAnewForEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: answers(says(502, ""), says(200, theApp))}
		n := 0
		testkit.Must(newClient(t, w).App(t.Context(), func(context.Context) (string, secret.Text, error) {
			n++
			return "Bearer", secret.New(strconv.Itoa(n)), nil
		}))(t)
		sent := w.messages()
		if sent[0].Authorization != "Bearer 1" || sent[1].Authorization != "Bearer 2" {
			t.Errorf("sent %q, then %q", sent[0].Authorization, sent[1].Authorization)
		}
	})
}

func TestSlowAuthorizationIsNotTimedAsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: says(200, theApp)}
		_, err := newClient(t, w).App(t.Context(), func(ctx context.Context) (string, secret.Text, error) {
			select {
			case <-time.After(time.Minute): // a person has to touch the key
				return "Bearer", secret.New(canary), nil
			case <-ctx.Done():
				return "", secret.Text{}, ctx.Err()
			}
		})
		testkit.OK(t, err)
	})
}

func TestErrorOfTheAuthorizationIsFinal(t *testing.T) {
	w := &wire{handler: says(200, theApp)}
	cause := errors.New("no key")
	_, err := newClient(t, w).App(t.Context(),
		func(context.Context) (string, secret.Text, error) { return "", secret.Text{}, cause })
	if !errors.Is(err, cause) || len(w.messages()) != 0 {
		t.Errorf("error %v, %d requests sent", err, len(w.messages()))
	}
}

// elsewhere are hosts that are not the API's, however near they look.
var elsewhere = []string{
	"https://evil.example/x", "https://sub.ghes.example/x", "https://example/x", "https://ghes.example:8443/x",
	"http://ghes.example/x", "https://ghes.example.evil.example/x", "//evil.example/x",
	"https://ghes.example@evil.example/x",
}

func TestRedirectToAnotherHostIsNeverFollowed(t *testing.T) {
	for _, target := range elsewhere {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				w := &wire{handler: says(status, "", "Location", target)}
				c := newClient(t, w)
				var err error
				switch method {
				case "GET":
					_, err = c.App(t.Context(), asCanary)
				case "POST":
					_, err = c.CreateToken(t.Context(), asCanary, 1, TokenScope{})
				case "DELETE":
					err = c.RevokeToken(t.Context(), secret.New(canary))
				}
				redirect, ok := errors.AsType[*RedirectError](err)
				if !ok || redirect.Status != status || redirect.From != "https://ghes.example" || redirect.To == redirect.From {
					t.Errorf("%s %d to %s: error %#v, want a RedirectError", method, status, target, err)
				}
				for _, m := range w.messages() {
					if u, _ := url.Parse(m.URL); u.Scheme != "https" || u.Host != enterprise {
						t.Errorf("%s %d to %s was followed: %s with %q", method, status, target, m.URL, m.Authorization)
					}
				}
				testkit.Lacks(t, err.Error(), canary)
			}
		}
	}
}

// onceAt redirects the requests for one path and serves the rest.
func onceAt(path string, status int, target, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			w.Header().Set("Location", target)
			w.WriteHeader(status)
			return
		}
		says(200, body)(w, r)
	}
}

func TestRedirectOnTheSameHostIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, target := range []string{"/api/v3/other", "https://ghes.example/api/v3/other"} {
			w := &wire{handler: onceAt("/api/v3/app", status, target, theApp)}
			app, err := newClient(t, w).App(t.Context(), asCanary)
			if err != nil || app.ID != 7 {
				t.Errorf("GET %d to %s: %v, %v", status, target, app, err)
				continue
			}
			last := w.messages()[1]
			testkit.Equal(t, last.Authorization, "Bearer "+canary, "GET %d to %s: went on to", status, target)
			testkit.Equal(t, last.URL, "https://ghes.example/api/v3/other", "GET %d to %s: went on to", status, target)
		}
	}
}

func TestRedirectOfAPostKeepsMethodAndBodyOrIsRefused(t *testing.T) {
	const path, grant = "/api/v3/app/installations/1/access_tokens", `{"token":"x"}`
	for _, status := range []int{301, 302, 303, 307, 308} {
		w := &wire{handler: onceAt(path, status, "/api/v3/app/installations/2/access_tokens", grant)}
		_, err := newClient(t, w).CreateToken(t.Context(), asCanary, 1, TokenScope{Repositories: []string{"site"}})
		sent := w.messages()
		if status < 307 {
			if redirect, ok := errors.AsType[*RedirectError](err); !ok || redirect.From != redirect.To || len(sent) != 1 {
				t.Errorf("POST %d: error %v after %d requests, want it refused, since net/http would make it a GET",
					status, err, len(sent))
			}
			continue
		}
		if err != nil || len(sent) != 2 {
			t.Errorf("POST %d: %v after %d requests", status, err, len(sent))
			continue
		}
		if sent[1].Method != "POST" || sent[1].Body != `{"repositories":["site"]}` ||
			sent[1].Authorization != "Bearer "+canary {
			t.Errorf("POST %d: went on as %s with body %q and %q", status, sent[1].Method, sent[1].Body, sent[1].Authorization)
		}
	}
}

func TestRedirectsInACircleEnd(t *testing.T) {
	w := &wire{handler: says(301, "", "Location", "/api/v3/app")}
	_, err := newClient(t, w).App(t.Context(), asCanary)
	if redirect, ok := errors.AsType[*RedirectError](err); !ok || redirect.From != redirect.To {
		t.Errorf("error %v", err)
	}
	if n := len(w.messages()); n > maxRedirects+1 {
		t.Errorf("%d requests", n)
	}
}

// endless gives the same bytes for ever.
type endless struct{ text string }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.text)
	}
	return n, nil
}

func TestEndlessBodiesAreBounded(t *testing.T) {
	for status, limit := range map[int]int64{200: maxBody, 404: maxErrorBody} {
		var read counter
		c := newClient(t, roundTrips(func(*http.Request) (*http.Response, error) {
			body := io.TeeReader(io.MultiReader(strings.NewReader(`{"message":"`), endless{"secret " + canary}), &read)
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}, nil
		}))
		_, err := c.App(t.Context(), asCanary)
		if err == nil || strings.Contains(err.Error(), canary) || len(err.Error()) > 1000 {
			t.Errorf("%d: error %.200q", status, err)
		}
		if int64(read) > limit+1<<20 {
			t.Errorf("%d: %d bytes were read, the limit is %d", status, read, limit)
		}
		if _, ok := errors.AsType[*BodyError](err); status == 200 && !ok {
			t.Errorf("error %v, want a BodyError", err)
		}
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func TestAnswerThatIsNotWhatGitHubDocuments(t *testing.T) {
	for name, body := range map[string]string{
		"half": `{"id":7,"slug":"` + canary, "empty": "", "null": "null", "no ID": "{}",
		"another shape":      `["` + canary + `"]`,
		"ID of a wrong type": `{"id":"` + canary + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{handler: says(200, body)}
			_, err := newClient(t, w).App(t.Context(), nil)
			answer, ok := errors.AsType[*BodyError](err)
			if !ok || answer.Method != "GET" || answer.Path != "/api/v3/app" || len(w.messages()) != 1 {
				t.Errorf("error %#v, want a BodyError after one attempt", err)
			}
			testkit.Lacks(t, err.Error(), canary)
			if _, err := newClient(t, w).Installation(t.Context(), nil, 1); err == nil {
				t.Error("an installation was found in it")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := &wire{handler: says(502, "<!DOCTYPE html><title>Unicorn!</title>", "Content-Type", "text/html")}
		_, err := newClient(t, w).App(t.Context(), asCanary)
		if answer, ok := errors.AsType[*Error](err); !ok || answer.Status != 502 || strings.Contains(err.Error(), "<") {
			t.Errorf("error %v, want the 502 without its page", err)
		}
	})
}

func TestProxyThatShowsTheRequestShowsNoCredential(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		says(407, `{"message":"denied: Authorization: `+r.Header.Get("Authorization")+`","errors":["`+canary+`"]}`)(w, r)
	}
	_, err := newClient(t, &wire{handler: echo}).App(t.Context(), asCanary)
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) {
		t.Errorf("error %q holds the credential", err)
	}
	testkit.ErrorContains(t, err, "denied: Authorization: Bearer [redacted]")
}

func TestNetworkErrorIsOneHarmlessLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, roundTrips(func(*http.Request) (*http.Response, error) {
			return nil,
				textproto.ProtocolError("malformed MIME header line: \x1b[31m\r\nred\x9b " + strings.Repeat("long", 1000))
		}))
		_, err := c.App(t.Context(), asCanary)
		text := err.Error()
		if strings.ContainsAny(text, "\x1b\r\n\u009b") || len(text) > 500 ||
			!strings.HasPrefix(text, "cannot reach ghes.example: ") {
			t.Errorf("error %q", text)
		}
	})
}

func TestPathOfARedirectIsPrintedHarmless(t *testing.T) {
	for _, status := range []int{200, 404} {
		w := &wire{}
		w.handler = func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v3/app" {
				says(301, "", "Location", "/api/v3/%1b%5B31m%0Ared")(rw, r)
				return
			}
			says(status, "not JSON")(rw, r)
		}
		var log bytes.Buffer
		c := newClient(t, w, func(o *Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		_, err := c.App(t.Context(), asCanary)
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || strings.ContainsRune(log.String(), '\x1b') {
			t.Errorf("%d: error %q, log %q", status, err, &log)
		}
	}
}

func TestLogTellsOfRetriesWithoutTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := &wire{handler: answers(says(502, `{"message":"Server Error"}`, "X-GitHub-Request-Id", "AB:CD"),
			says(200, theApp))}
		c := newClient(t, w, func(o *Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		testkit.Must(c.App(t.Context(), asCanary))(t)
		for _, want := range []string{"waiting to try again", "502", "Server Error", "AB:CD", "/api/v3/app"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, &log)
			}
		}
		if strings.Contains(log.String(), canary) {
			t.Errorf("the log holds the credential:\n%s", &log)
		}
	})
}

// Whoever waits is told what for: once, and not where the wait is short.
func TestLongWaitIsToldOnce(t *testing.T) {
	slow := func(d time.Duration, next roundTrips) roundTrips {
		return func(r *http.Request) (*http.Response, error) { time.Sleep(d); return next(r) }
	}
	answered := roundTrips((&wire{handler: says(200, theApp)}).RoundTrip)
	failed := roundTrips((&wire{handler: says(502, `{"message":"Server Error"}`)}).RoundTrip)
	limited := roundTrips((&wire{handler: says(429, `{}`, "Retry-After", "20")}).RoundTrip)
	for name, test := range map[string]struct {
		answers []roundTrips
		signs   time.Duration // how long the signature takes
		want    []string
	}{
		"at once":   {[]roundTrips{answered}, 0, nil},
		"soon":      {[]roundTrips{slow(2*time.Second, answered)}, 0, nil},
		"a failure": {[]roundTrips{failed, answered}, 0, nil},
		"late":      {[]roundTrips{slow(20*time.Second, answered)}, 0, []string{"waiting for ghes.example"}},
		"limited":   {[]roundTrips{limited, answered}, 0, []string{"waiting for ghes.example", "wait=", "429"}},
		"limited, then late": {[]roundTrips{limited, slow(20*time.Second, answered)}, 0,
			[]string{"waiting for ghes.example"}},
		"failing, then late": {[]roundTrips{failed, failed, failed, slow(20*time.Second, answered)}, 0,
			[]string{"waiting for ghes.example"}},
		"a person confirms": {[]roundTrips{answered}, 10 * time.Second,
			[]string{"waiting for whoever holds the key to sign"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				tries := 0
				transport := roundTrips(func(r *http.Request) (*http.Response, error) {
					tries++
					return test.answers[min(tries, len(test.answers))-1](r)
				})
				c := newClient(t, transport, func(o *Options) {
					o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
				})
				signed := func(ctx context.Context) (string, secret.Text, error) {
					time.Sleep(test.signs)
					return asCanary(ctx)
				}
				testkit.Must(c.App(t.Context(), signed))(t)
				want := min(len(test.want), 1)
				if lines := strings.Count(log.String(), "\n"); lines != want {
					t.Errorf("%d lines, want %d:\n%s", lines, want, &log)
				}
				for _, text := range test.want {
					if !strings.Contains(log.String(), text) {
						t.Errorf("the log lacks %q:\n%s", text, &log)
					}
				}
				if strings.Contains(log.String(), canary) {
					t.Errorf("the log holds the credential:\n%s", &log)
				}
			})
		})
	}
}

// A process that runs for months is told of each time that GitHub was away, and of none
// of the attempts in between.
func TestLongWaitIsToldAgainAfterAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		away := true
		transport := roundTrips(func(r *http.Request) (*http.Response, error) {
			if away {
				time.Sleep(wait.Patience) // the pauses are random, and short at times
				return nil, io.EOF
			}
			return (&wire{handler: says(200, theApp)}).RoundTrip(r)
		})
		c := newClient(t, transport, func(o *Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		for round := 1; round <= 2; round++ {
			for range 3 {
				away = true
				_, _ = c.App(t.Context(), asCanary)
				if got := strings.Count(log.String(), "waiting for"); got != round {
					t.Errorf("told %d times, want %d:\n%s", got, round, &log)
				}
			}
			away = false
			testkit.Must(c.App(t.Context(), asCanary))(t)
		}
	})
}

func TestTransportThatLeavesOutTheRequest(t *testing.T) {
	c := newClient(t, roundTrips(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 404, Header: http.Header{"X-Github-Request-Id": {"C0DE:1"}}, Body: http.NoBody}, nil
	}))
	_, err := c.App(t.Context(), asCanary)
	testkit.Equal(t, testkit.ErrorAs[*Error](t, err).Path, "/api/v3/app")
}

func TestDefaultTransportThatSomeoneReplaced(t *testing.T) {
	original := http.DefaultTransport
	defer func() { http.DefaultTransport = original }()
	http.DefaultTransport = roundTrips(
		func(*http.Request) (*http.Response, error) { return nil, errors.New("not this one") })
	if tr := NewTransport(nil); tr.Proxy == nil || !tr.ForceAttemptHTTP2 {
		t.Errorf("transport %+v has no proxy or no HTTP/2", tr)
	}
}

// tlsServer answers as an Enterprise Server over TLS on loopback.
func tlsServer(t *testing.T) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(says(200, theApp))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server, roots
}

func TestCertificateAuthorityOfOnesOwn(t *testing.T) {
	server, roots := tlsServer(t)
	host := testkit.Must(ParseHost(server.URL, ""))(t)
	for _, trusted := range []bool{true, false} {
		pool := roots
		if !trusted {
			pool = nil
		}
		transport := NewTransport(pool)
		defer transport.CloseIdleConnections()
		c, err := New(Options{Host: host, Transport: transport, UserAgent: "test"})
		testkit.OK(t, err)
		_, err = c.App(t.Context(), asCanary)
		network, refused := errors.AsType[*NetworkError](err)
		switch {
		case trusted && err != nil:
			t.Errorf("with the server's CA: %v", err)
		case !trusted && (!refused || !network.Untrusted()):
			t.Errorf("without the server's CA: error %v, want an untrusted certificate", err)
		}
	}
}

// proxyChild tells a run of this test binary that it is the child of
// TestProxyOfTheEnvironment: net/http reads the environment's proxy only once.
const proxyChild = "GHAPP_TEST_PROXY_CHILD"

func TestProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv(proxyChild) != "" {
		host, err := ParseHost("ghes.test", "") // which no name server knows (RFC 6761 section 6.2)
		testkit.OK(t, err)
		c := testkit.Must(New(Options{Host: host, UserAgent: "test", MaxWait: -1}))(t)
		_, err = c.App(t.Context(), asCanary)
		t.Logf("error: %v", err)
		return
	}
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host+" "+r.Header.Get("Authorization"))
		mu.Unlock()
		http.Error(w, "no way out", http.StatusForbidden)
	}))
	defer proxy.Close()
	self := testkit.Must(os.Executable())(t)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestProxyOfTheEnvironment$", "-test.v")
	cmd.Env = append(slices.DeleteFunc(os.Environ(),
		func(e string) bool { return strings.Contains(strings.ToUpper(e), "_PROXY=") }),
		proxyChild+"=1", "HTTPS_PROXY="+proxy.URL)
	out, err := cmd.CombinedOutput()
	testkit.OK(t, err, "%s", out)
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"CONNECT ghes.test:443 "}, asked); diff != "" {
		t.Errorf("what the proxy was asked (-want +got):\n%s\n%s", diff, out)
	}
	if !strings.Contains(string(out), "cannot reach ghes.test: the proxy "+
		strings.TrimPrefix(proxy.URL, "http://")+" answered 403 Forbidden") {
		t.Errorf("the child said:\n%s", out)
	}
}

func TestClientIsSafeForConcurrentUse(t *testing.T) {
	w := &wire{handler: says(200, theApp, "Date", time.Now().UTC().Format(http.TimeFormat))}
	c := newClient(t, w)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := c.App(t.Context(), asCanary); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestUnusableAPIURL(t *testing.T) {
	for _, root := range []string{"", "://", "/api/v3"} {
		testkit.Fails(t, testkit.ErrorOf(New(Options{Host: Host{API: root}})), "API URL %q was taken", root)
	}
}
