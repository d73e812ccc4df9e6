package ghapp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// client is an http.Client that authorizes by tokens for acme/site.
func (w *world) client(t testing.TB, base http.RoundTripper, edit ...func(*ghapp.Config)) *http.Client {
	t.Helper()
	if base == nil {
		base = w.GitHub.RoundTripper()
	}
	return &http.Client{Transport: &ghapp.Transport{Source: w.Open(t, edit...).TokenSource(site()), Base: base}}
}

// get is a GET's status.
func get(t testing.TB, c *http.Client, url string) int {
	t.Helper()
	req := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))(t)
	answer := testkit.Must(c.Do(req))(t)
	defer answer.Body.Close()
	testkit.Must(io.Copy(io.Discard, answer.Body))(t)
	return answer.StatusCode
}

const theSite = "https://api.github.com/repos/acme/site"

func TestTransportAuthorizesRequestsToTheAPI(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, nil)
	for range 3 {
		testkit.Equal(t, get(t, c, theSite), 200, "status")
	}
	last := w.GitHub.Requests()[len(w.GitHub.Requests())-1]
	if last.Credential.InstallationID != w.Installation.ID ||
		last.Header.Get("Authorization") != "token "+last.Credential.Token || w.GitHub.Mints() != 1 {
		t.Errorf("credential %v, %d mints", last.Credential.Kind, w.GitHub.Mints())
	}
}

func TestTokenNeverReachesAnotherHost(t *testing.T) {
	// Everything that is not https://api.github.com, however near it looks, asked for
	// directly and by every kind of redirect.
	others := []string{
		"https://evil.example", "https://sub.api.github.com", "https://github.com", "https://api.github.com.evil.example",
		"https://api.github.com:8443",
		"http://api.github.com", "https://API.GITHUB.COM.evil.example", "https://uploads.github.com",
	}
	for _, other := range others {
		t.Run(other, func(t *testing.T) {
			w := newWorld(t)
			recorder := githubtest.NewRecorder()
			c := w.client(t, network{"https://api.github.com": w.GitHub, other: recorder})
			get(t, c, other+"/direct")
			for _, status := range []int{301, 302, 303, 307, 308} {
				for _, method := range []string{"GET", "POST"} {
					w.GitHub.ClearFaults()
					w.fault(t, githubtest.Fault{Match: "* /repos/acme/site", RedirectTo: other, Status: status})
					req, err := http.NewRequestWithContext(t.Context(), method, theSite, strings.NewReader("body"))
					testkit.OK(t, err)
					answer := testkit.Must(c.Do(req))(t)
					answer.Body.Close()
				}
			}
			secret := w.GitHub.Tokens()[0].Token
			if n := len(recorder.Requests()); n != 11 {
				t.Fatalf("%d requests reached the other host, want 11: this test proves nothing", n)
			}
			testkit.Equal(t, len(recorder.Leaks(secret)), 0, "the token leaked")
			for _, r := range recorder.Requests() {
				if r.Credential.Kind != githubtest.NoCredential {
					t.Errorf("%s %s carried a credential", r.Method, r.Path)
				}
			}
			if sent := w.GitHub.Requests(); sent[len(sent)-1].Credential.Token != secret {
				t.Error("the API did not get the token: this test proves nothing")
			}
		})
	}
}

func TestTokenComesBackOnTheWayBack(t *testing.T) {
	// To another host and back to the API: no leak there, authorized here.
	w := newWorld(t)
	recorder := githubtest.NewRecorder()
	recorder.RedirectTo("https://api.github.com")
	c := w.client(t, network{"https://api.github.com": w.GitHub, "https://evil.example": recorder})
	testkit.Equal(t, get(t, c, "https://evil.example/repos/acme/site"), 200, "status")
	testkit.Equal(t, len(recorder.Leaks(w.GitHub.Tokens()[0].Token)), 0, "the token leaked")
}

func TestPlainHTTPGetsNoToken(t *testing.T) {
	// Even when the source's API is, by some mistake, http:// off the loopback.
	recorder := githubtest.NewRecorder()
	for api, want := range map[string]string{"http://git.acme.example": "",
		"http://127.0.0.1:4040/api/v3": "token " + canary, "https://git.acme.example/api/v3": "token " + canary, "": "",
		"https://127.0.0.1:4040/api/v3": "token " + canary} {
		u := mustURL(t, api+"/x")
		if u.Host == "" {
			u = mustURL(t, "https://api.github.com/x")
		}
		c := &http.Client{Transport: &ghapp.Transport{
			Source: fixed{&ghapp.Token{Secret: secret.New(canary), API: api, ExpiresAt: time.Now().Add(time.Hour)}},
			Base:   network{u.Scheme + "://" + u.Host: recorder},
		}}
		get(t, c, u.String())
		list := recorder.Requests()
		testkit.Equal(t, list[len(list)-1].Header.Get("Authorization"), want, "API %q: Authorization", api)
	}
	// Nor does a request by http:// where the API is https://, not even on loopback.
	c := &http.Client{Transport: &ghapp.Transport{
		Source: fixed{&ghapp.Token{Secret: secret.New(canary), API: "https://127.0.0.1:4040/api/v3"}},
		Base:   network{"http://127.0.0.1:4040": recorder},
	}}
	get(t, c, "http://127.0.0.1:4040/x")
	if list := recorder.Requests(); list[len(list)-1].Credential.Kind != githubtest.NoCredential {
		t.Error("the token was sent in the open")
	}
}

// fixed is a source of one token, which drops nothing.
type fixed struct{ token *ghapp.Token }

func (f fixed) Token(context.Context) (*ghapp.Token, error) { return f.token, nil }

func TestAuthorizationOfTheCallersOwnStays(t *testing.T) {
	w := newWorld(t)
	recorder := githubtest.NewRecorder()
	c := w.client(t, network{"https://api.github.com": recorder})
	for _, own := range []string{"Bearer mine", "Basic eA=="} {
		req := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, theSite, nil))(t)
		req.Header.Set("Authorization", own)
		answer := testkit.Must(c.Do(req))(t)
		answer.Body.Close()
		list := recorder.Requests()
		testkit.Diff(t, list[len(list)-1].Header.Values("Authorization"), []string{own})
	}
	testkit.Equal(t, w.GitHub.Mints(), 0, "a token was minted for nothing")
}

func TestCallersRequestIsNotChanged(t *testing.T) {
	w := newWorld(t)
	transport := w.client(t, nil).Transport
	req := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, theSite, nil))(t)
	req.Header.Set("Accept", "application/json")
	before := req.Header.Clone()
	answer := testkit.Must(transport.RoundTrip(req))(t)
	answer.Body.Close()
	if diff := cmp.Diff(before, req.Header); diff != "" || req.URL.String() != theSite {
		t.Errorf("headers (-before +after):\n%s", diff)
	}
	testkit.Diff(t, w.GitHub.Requests()[len(w.GitHub.Requests())-1].Header.Values("Accept"), []string{"application/json"})
}

func TestYoungTokenIsWaitedOutWithTheSameToken(t *testing.T) {
	for _, status := range []int{401, 403} {
		for _, lag := range []time.Duration{500 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second} {
			t.Run(fmt.Sprint(status, " for ", lag), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.GitHub.SetPropagationDelay(lag)
					testkit.OK(t, w.GitHub.SetPropagationDelayStatus(status))
					start := time.Now()
					testkit.Equal(t, get(t, w.client(t, nil), theSite), 200, "status, after %s", time.Since(start))
					testkit.Equal(t, w.GitHub.Mints(), 1, "mints: a new token starts the lag anew")
					if took := time.Since(start); took < lag || took > lag+3*time.Second {
						t.Errorf("took %s for a lag of %s", took, lag)
					}
				})
			})
		}
	}
	t.Run("404", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fault(t, githubtest.Fault{Match: "GET /repos/acme/site", Status: 404, Times: 2})
			if got := get(t, w.client(t, nil), theSite); got != 200 || w.GitHub.Mints() != 1 {
				t.Errorf("status %d, %d mints", got, w.GitHub.Mints())
			}
		})
	})
}

func TestLagThatDoesNotEndIsToldTruly(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fault(t, githubtest.Fault{Match: "GET /repos/acme/site", Status: status})
			start := time.Now()
			testkit.Equal(t, get(t, w.client(t, nil), theSite), status, "status")
			if took := time.Since(start); took != 6*time.Second || w.count("/repos/acme/site") != 4 || w.GitHub.Mints() != 1 {
				t.Errorf("%d: %d attempts in %s with %d tokens", status, w.count("/repos/acme/site"), took, w.GitHub.Mints())
			}
		})
	}
}

func TestRefusalThatIsNoLagIsNotWaitedOut(t *testing.T) {
	for name, f := range map[string]githubtest.Fault{
		"a limit":            {Status: 403, Header: http.Header{"Retry-After": {"60"}}},
		"the primary limit":  {Status: 403, Header: http.Header{"X-Ratelimit-Remaining": {"0"}}},
		"a server's failure": {Status: 500}, "a bad request": {Status: 422}, "good": {Status: 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			f.Match = "GET /repos/acme/site"
			w.fault(t, f)
			start := time.Now()
			if got := get(t, w.client(t, nil), theSite); got != f.Status || time.Since(start) != 0 ||
				w.count("/repos/acme/site") != 1 {
				t.Errorf("%s: status %d after %s and %d attempts", name, got, time.Since(start), w.count("/repos/acme/site"))
			}
		})
	}
	// Nor one of a token that is old enough to be known.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t, nil)
		get(t, c, theSite)
		time.Sleep(time.Minute)
		w.GitHub.ResetRequests()
		start := time.Now()
		if got := get(t, c, "https://api.github.com/repos/acme/nothing"); got != 404 ||
			time.Since(start) != 0 || len(w.calls()) != 1 {
			t.Errorf("status %d after %s: %v", got, time.Since(start), w.calls())
		}
	})
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		c := w.client(t, nil, func(c *ghapp.Config) { c.Store = store })
		get(t, c, theSite)
		time.Sleep(time.Minute)
		w.GitHub.RevokeTokens()
		w.GitHub.ResetRequests()
		testkit.Equal(t, get(t, c, theSite), 200, "status")
		want := []string{"GET /repos/acme/site",
			fmt.Sprintf("POST /app/installations/%d/access_tokens", w.Installation.ID), "GET /repos/acme/site"}
		testkit.Diff(t, w.calls(), want)
	})
}

func TestEndpointThatAlwaysRefusesIsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t, nil)
		get(t, c, theSite)
		time.Sleep(time.Minute)
		w.fault(t, githubtest.Fault{Match: "GET /repos/acme/site", Status: 401})
		w.GitHub.ResetRequests()
		start := time.Now()
		testkit.Equal(t, get(t, c, theSite), 401, "status")
		if n := w.GitHub.Mints(); n != 2 || w.count("/repos/acme/site") > 5 || time.Since(start) > 7*time.Second {
			t.Errorf("%d mints, %d attempts in %s", n, w.count("/repos/acme/site"), time.Since(start))
		}
		// Nor do many such requests at once mint a token each.
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { get(t, c, theSite) })
		}
		group.Wait()
		if n := w.GitHub.Mints(); n > 3 {
			t.Errorf("%d mints for 101 refused requests in %s", n, time.Since(start))
		}
	})
}

func TestNewTokenAfterARefusalIsWaitedOutToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t, nil)
		get(t, c, theSite)
		time.Sleep(time.Minute)
		w.GitHub.RevokeTokens()
		w.GitHub.SetPropagationDelay(2 * time.Second)
		if got := get(t, c, theSite); got != 200 || w.GitHub.Mints() != 2 {
			t.Errorf("status %d after %d mints", got, w.GitHub.Mints())
		}
	})
}

func TestRefusedTokenIsReplacedWhenTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		broken := brokenStore{Store: newMemory(), before: errors.New("read-only file system")}
		c := w.client(t, nil, func(c *ghapp.Config) { c.Store = broken })
		get(t, c, theSite)
		time.Sleep(time.Minute)
		w.GitHub.RevokeTokens()
		testkit.Equal(t, get(t, c, theSite), 200, "status")
	})
}

// stubborn is a source that hands out the same token whatever it is told.
type stubborn struct {
	fixed
	drops int
}

func (s *stubborn) Invalidate(context.Context, *ghapp.Token) error { s.drops++; return nil }

func TestSourceThatKeepsARefusedTokenIsNoLoop(t *testing.T) {
	for age, drops := range map[time.Duration]int{time.Hour: 1, 0: 0} {
		synctest.Test(t, func(t *testing.T) {
			recorder := githubtest.NewRecorder()
			recorder.AskPassword()
			source := &stubborn{fixed: fixed{&ghapp.Token{Secret: secret.New(canary), API: "https://api.github.com",
				MintedAt: time.Now().Add(-age)}}}
			c := &http.Client{Transport: &ghapp.Transport{Source: source, Base: network{"https://api.github.com": recorder}}}
			status := get(t, c, theSite)
			// A token that is too young to be dropped is waited out instead.
			attempts := 1 + 3*(1-drops)
			if n := len(recorder.Requests()); status != 401 || n != attempts || source.drops != drops {
				t.Errorf("a token %s old: status %d after %d attempts, dropped %d times", age, status, n, source.drops)
			}
		})
	}
}

func TestBodyIsSentAgainWhole(t *testing.T) {
	for name, trouble := range map[string]func(*testing.T, *world){
		"lag":     func(_ *testing.T, w *world) { w.GitHub.SetPropagationDelay(2 * time.Second) },
		"refusal": func(_ *testing.T, w *world) { w.GitHub.RevokeTokens() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.client(t, nil)
				if name == "refusal" {
					get(t, c, theSite)
					time.Sleep(time.Minute)
				}
				trouble(t, w)
				w.GitHub.ResetRequests()
				body := strings.Repeat("a long body ", 100)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, theSite+"/issues", strings.NewReader(body))
				testkit.OK(t, err)
				answer := testkit.Must(c.Do(req))(t)
				answer.Body.Close()
				var seen int
				for _, r := range w.GitHub.Requests() {
					if strings.HasSuffix(r.Path, "/issues") {
						seen++
						if r.Body != body {
							t.Errorf("attempt %d has a body of %d bytes, want %d", seen, len(r.Body), len(body))
						}
					}
				}
				if seen < 2 {
					t.Errorf("%d attempts", seen)
				}
			})
		})
	}
}

func TestBodyThatCannotBeSentAgainIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.GitHub.SetPropagationDelay(2 * time.Second)
		body := &closing{Reader: strings.NewReader("once")}
		req := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodPost, theSite+"/issues", body))(t)
		answer := testkit.Must(w.client(t, nil).Do(req))(t)
		answer.Body.Close()
		if answer.StatusCode != 401 || w.count("/issues") != 1 || !body.closed {
			t.Errorf("status %d after %d attempts, body closed %t", answer.StatusCode, w.count("/issues"), body.closed)
		}
	})
	// One whose GetBody fails is an error of one line.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.GitHub.SetPropagationDelay(2 * time.Second)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, theSite+"/issues", strings.NewReader("x"))
		testkit.OK(t, err)
		cause := errors.New("the file has gone")
		req.GetBody = func() (io.ReadCloser, error) { return nil, cause }
		if _, err := w.client(t, nil).Do(req); !errors.Is(err, cause) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q", err)
		}
	})
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestSourceThatFailsFailsTheRequestAndClosesItsBody(t *testing.T) {
	w := newWorld(t)
	w.Installation.Suspend()
	body := &closing{Reader: strings.NewReader("x")}
	req := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodPost, theSite, body))(t)
	if _, err := w.client(t, nil).Transport.RoundTrip(req); !errors.Is(err, ghapp.ErrSuspended) || !body.closed {
		t.Errorf("error %v, body closed %t", err, body.closed)
	}
}

func TestWaitingForALagEndsWithTheRequestsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.GitHub.SetPropagationDelay(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		req := testkit.Must(http.NewRequestWithContext(ctx, http.MethodGet, theSite, nil))(t)
		start := time.Now()
		if _, err := w.client(t, nil).Do(req); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(start) != 1500*time.Millisecond {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
	})
}

func TestAnswersThatAreNotHandedOnAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var open []*closing
		base := roundTrips(func(req *http.Request) (*http.Response, error) {
			answer, err := w.GitHub.RoundTripper().RoundTrip(req)
			if err == nil {
				body := &closing{Reader: answer.Body}
				answer.Body = body
				open = append(open, body)
			}
			return answer, err
		})
		c := w.client(t, base)
		w.GitHub.SetPropagationDelay(2 * time.Second)
		get(t, c, theSite)
		time.Sleep(time.Minute)
		w.GitHub.SetPropagationDelay(0)
		w.GitHub.RevokeTokens()
		get(t, c, theSite)
		if len(open) != 5 {
			t.Fatalf("%d answers, want 5", len(open))
		}
		for n, body := range open {
			if !body.closed {
				t.Errorf("answer %d was left open", n)
			}
		}
	})
}

func TestTransportIsSafeForConcurrentUse(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, nil)
	shared := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, theSite, nil))(t)
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			answer, err := c.Transport.RoundTrip(shared)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			var body bytes.Buffer
			if _, err := body.ReadFrom(answer.Body); err != nil || answer.StatusCode != 200 {
				t.Errorf("status %d, %v", answer.StatusCode, err)
			}
		})
	}
	group.Wait()
	testkit.Equal(t, w.GitHub.Mints(), 1, "mints")
}
