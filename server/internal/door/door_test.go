package door_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/door"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

const (
	audience      = "https://ghapp.example.com"
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwt           = "urn:ietf:params:oauth:token-type:jwt"
	proof         = "canary-proof-0b1c2d3e4f"
	minted        = "ghs_2000001_canary-token-9a8b7c6d5e"
)

// house is what stands behind a door: it believes every proof, whose text is the subject, and
// hands out the same token.
type house struct {
	mu       sync.Mutex
	asked    []exchange.Request
	refusals []door.Refusal

	refuse error                                           // of the verifier
	answer func(exchange.Request) (exchange.Answer, error) // nil: the token
}

func (h *house) Verify(_ context.Context, token secret.Text) (caller.Caller, error) {
	return caller.Caller{Issuer: "https://issuer.example.com", Subject: "sub " + token.Reveal()}, h.refuse
}

func (h *house) VerifyCertificate(chain []*x509.Certificate) (caller.Caller, error) {
	return caller.Caller{Issuer: "spiffe://example.org", Subject: chain[0].URIs[0].String()}, h.refuse
}

func (h *house) Refused(_ context.Context, r door.Refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals = append(h.refusals, r)
}

func (h *house) Token(_ context.Context, r exchange.Request) (exchange.Answer, error) {
	h.mu.Lock()
	h.asked = append(h.asked, r)
	h.mu.Unlock()
	if h.answer != nil {
		return h.answer(r)
	}
	return exchange.Answer{
		Token: secret.New(minted), ExpiresAt: time.Now().Add(time.Hour), Installation: 30,
		Repositories: []policy.Repository{{ID: 4, Name: "acme/site"}}, Permissions: r.Ask.Permissions,
	}, nil
}

func doorConfig(h *house) door.Config {
	return door.Config{
		Verifier: h, Exchanger: h, Refusals: h, Audience: audience, Version: "1.2.3",
		Issuers: []string{"https://issuer.example.com"},
		Hosts:   []string{"https://github.com", "https://ghes.example.com:8443"},
		Limits:  door.Limits{PerIdentity: -1, PerAddress: -1},
	}
}

func open(t testing.TB, c door.Config) *door.Door { return testkit.Must(door.New(c))(t) }

// form is a good one with the changes of pairs; a value of "-" takes a name out.
func form(pairs ...string) url.Values {
	f := url.Values{
		"grant_type": {exchangeGrant}, "subject_token": {proof}, "subject_token_type": {jwt},
		"resource": {"https://github.com/acme/site"}, "scope": {"contents:read"},
	}
	for n := 0; n < len(pairs); n += 2 {
		f[pairs[n]] = strings.Split(pairs[n+1], ",")
		if pairs[n+1] == "-" {
			f.Del(pairs[n])
		}
	}
	return f
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest("POST", audience+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func serve(d http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func tokenRequest(f url.Values) *http.Request { return post("/token", f.Encode()) }

func gitRequest(body string) *http.Request {
	r := post("/git-credentials", body)
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Authorization", "Bearer "+proof)
	return r
}

func code(t testing.TB, w *httptest.ResponseRecorder) string {
	var body struct{ Error string }
	testkit.OK(t, json.Unmarshal(w.Body.Bytes(), &body), "%s", w.Body)
	return body.Error
}

func TestExchangeIsThatOfRFC8693(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	w := serve(d, tokenRequest(form("scope", "issues:write contents:read", "min_life", "600",
		"resource", "https://github.com/acme/site,https://github.com/Acme/other.git,https://github.com/acme/SITE")))
	testkit.Equal(t, w.Code, 200, "%s", w.Body)
	testkit.Equal(t, w.Header().Get("Cache-Control"), "no-store")
	testkit.Equal(t, w.Header().Get("Content-Type"), "application/json")
	var body map[string]any
	testkit.OK(t, json.Unmarshal(w.Body.Bytes(), &body))
	if in := body["expires_in"].(float64); in < 3590 || in > 3600 {
		t.Errorf("expires_in %v", in)
	}
	testkit.Equal(t, body["id"], any(h.asked[0].ID))
	delete(body, "expires_in")
	delete(body, "id")
	testkit.Diff(t, body, map[string]any{
		"access_token": minted, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
		"token_type": "Bearer", "permissions": map[string]any{"contents": "read", "issues": "write"},
		"repositories": []any{map[string]any{"id": 4.0, "full_name": "acme/site"}}, "installation": 30.0,
	})
	asked := h.asked[0]
	testkit.Equal(t, asked.Caller.Subject, "sub "+proof)
	testkit.Equal(t, asked.Ask.Owner+" "+strings.Join(asked.Ask.Repositories, " "), "acme acme/site Acme/other")
	testkit.Equal(t, asked.MinLife, 10*time.Minute)
	testkit.Equal(t, asked.Address, "192.0.2.1")
	testkit.Equal(t, asked.Ask.All, false)
}

func TestAllOfAnOwnersIsAskedForByItself(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	testkit.Equal(t, serve(d, tokenRequest(form("resource", "https://ghes.example.com:8443/acme"))).Code, 200)
	testkit.Diff(t, []any{h.asked[0].Ask.All, h.asked[0].Ask.Owner, h.asked[0].Ask.Repositories, h.asked[0].Host},
		[]any{true, "acme", []string(nil), "https://ghes.example.com:8443"})
}

// Case 13: what is empty, or null, or missing, never widens.
func TestNothingNeverAsksForEverything(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	for _, f := range []url.Values{
		form("resource", "-"), form("resource", ""), form("resource", ","), form("resource", "null"), form("resource", "[]"),
		form("resource", "*"), form("resource", "https://github.com"), form("resource", "https://github.com/"),
		form("resource", "https://github.com/*"), form("resource", "https://github.com/acme/"),
		form("resource", "https://github.com/acme/*"), form("resource", "https://github.com//site"),
		form("resource", "https://github.com/acme,https://github.com/acme/site"),
		form("resource", "https://github.com/acme/site,"),
		form("resource", "https://github.com/acme/site,https://github.com/other/site"),
		form("resource", "https://github.com/acme/site/.."), form("resource", "https://github.com/acme/.."),
		form("resource", "https://github.com/acme/site?a"), form("resource", "https://github.com/acme/%73ite"),
		form("resource", "https://github.com/acme/site\n"), form("resource", "https://github.com/acme/sïte"),
		form("resource", "http://github.com/acme/site"), form("resource", "https://evil.example.com/acme/site"),
		form("resource", "https://github.com.evil.example.com/acme/site"), form("resource", "https://u@github.com/acme/site"),
		form("resource", strings.Repeat("https://github.com/acme/site,", 500)+"https://github.com/acme/site"),
		form("scope", "null"), form("scope", "contents"), form("scope", "contents:"), form("scope", ":read"),
		form("scope", "*:read"), form("scope", "contents:*"), form("scope", "contents:read contents:write"),
		form("scope", "contents:read  issues:read"), form("scope", " contents:read"),
		form("scope", "contents:read,contents:write"),
		form("scope", "Contents:read"), form("scope", "contents:none"),
	} {
		w := serve(d, tokenRequest(f))
		if w.Code != 400 || code(t, w) != "invalid_request" {
			t.Errorf("%v: %d %s", f, w.Code, w.Body)
		}
	}
	testkit.Equal(t, len(h.asked), 0)
	for _, f := range []url.Values{form("scope", "-"), form("scope", "")} {
		testkit.Equal(t, serve(d, tokenRequest(f)).Code, 200)
	}
	for _, asked := range h.asked {
		testkit.Diff(t, asked.Ask.Permissions, ghapp.Permissions{"contents": "read"})
	}
}

func TestRequestThatIsNoneSaysWhy(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	inURL := tokenRequest(form())
	inURL.URL.RawQuery = form().Encode()
	packed := tokenRequest(form())
	packed.Header.Set("Content-Encoding", "gzip")
	asJSON := tokenRequest(form())
	asJSON.Header.Set("Content-Type", "application/json")
	for says, r := range map[string]*http.Request{
		"there is a query":      inURL,
		"compressed":            packed,
		"www-form-urlencoded":   asJSON,
		"longer than 64 KiB":    post("/token", strings.Repeat("a", 64<<10+1)),
		"is no form":            post("/token", "a=%zz"),
		"grant_type":            tokenRequest(form("grant_type", "client_credentials")),
		"there twice":           tokenRequest(form("subject_token", "a,b")),
		"no subject_token_type": tokenRequest(form("subject_token_type", "-")),
		"neither":               tokenRequest(form("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")),
		"no subject_token":      tokenRequest(form("subject_token", "")),
		"neither a token":       tokenRequest(form("subject_token", "-", "subject_token_type", "-")),
		"requested_token_type":  tokenRequest(form("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")),
		"actor_token":           tokenRequest(form("actor_token", "a")),
		"min_life":              tokenRequest(form("min_life", "-1")),
	} {
		w := serve(d, r)
		testkit.Equal(t, w.Code, 400, "%s", says)
		testkit.Contains(t, w.Body.String(), `"error":"invalid_request"`, says)
		testkit.Lacks(t, w.Body.String(), proof)
	}
	testkit.Equal(t, len(h.asked)+len(h.refusals), 0)
	testkit.Equal(t, serve(d, httptest.NewRequest("GET", audience+"/token", nil)).Code, 405)
	testkit.Equal(t, serve(d, httptest.NewRequest("GET", audience+"/", nil)).Code, 404)
}

func question(pairs ...string) string {
	lines := "capability[]=authtype\nprotocol=https\nhost=github.com\npath=acme/site.git\n"
	return lines + strings.Join(pairs, "\n") + "\n\n"
}

func TestGitIsAnsweredInItsOwnProtocol(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + minted))
	w := serve(d, gitRequest(question()))
	testkit.Equal(t, w.Code, 200, "%s", w.Body)
	testkit.Contains(t, w.Body.String(), "capability[]=authtype\n", "authtype=Basic\n", "credential="+basic+"\n",
		"ephemeral=1\n", fmt.Sprintf("password_expiry_utc=%d", time.Now().Add(time.Hour).Unix()/100))
	w = serve(d, gitRequest("protocol=https\nhost=github.com\npath=acme/site\n"))
	testkit.Contains(t, w.Body.String(), "username=x-access-token\npassword="+minted+"\npassword_expiry_utc=")
	r := gitRequest(question())
	r.SetBasicAuth("anything", proof)
	testkit.Equal(t, serve(d, r).Code, 200)
	for _, asked := range h.asked {
		testkit.Equal(t, asked.Caller.Subject, "sub "+proof)
		testkit.Equal(t, asked.Host, "https://github.com")
		testkit.Diff(t, asked.Ask, policy.Ask{
			Owner: "acme", Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"contents": "read"},
		})
	}
}

// Case 17.
func TestQuestionOfGitsThatIsNotOursHasAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	for name, body := range map[string]string{
		"another host":            question("host=gitlab.com"),
		"a host within another":   question("host=github.com.evil.example.com"),
		"a host with a port":      question("host=github.com:8443"),
		"another port":            question("host=ghes.example.com"),
		"http":                    question("protocol=http"),
		"ssh":                     question("protocol=ssh"),
		"capitals":                question("host=GitHub.com"),
		"a user before the host":  question("host=user@github.com"),
		"a user's name":           question("username=octocat"),
		"a gist":                  question("host=gist.github.com"),
		"a redirect elsewhere":    question("url=https://evil.example.com/acme/site"),
		"a path of another thing": question("path=acme/site/settings"),
		"a path without a name":   question("path=acme"),
		"a path that climbs":      question("path=acme/.."),
		"no host":                 "path=acme/site\n",
		"nothing":                 "",
	} {
		w := serve(d, gitRequest(body))
		if w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	testkit.Equal(t, len(h.asked), 0)
	for path, repository := range map[string]string{
		"acme/site":                      "acme/site",
		"acme/site.git":                  "acme/site",
		"acme/site.git/info/lfs":         "acme/site",
		"acme/site.wiki.git":             "acme/site",
		"other/submodule":                "other/submodule",
		"acme/site.git/info/lfs/objects": "acme/site",
	} {
		testkit.Equal(t, serve(d, gitRequest(question("path="+path))).Code, 200, "%s", path)
		asked := h.asked[len(h.asked)-1]
		testkit.Equal(t, asked.Ask.Owner+" "+strings.Join(asked.Ask.Repositories, " "),
			strings.Split(repository, "/")[0]+" "+repository)
	}
	for name, r := range map[string]*http.Request{
		"useHttpPath": gitRequest(question("path=")),
		"not what":    gitRequest("protocol\n"),
	} {
		w := serve(d, r)
		testkit.Equal(t, w.Code, 400)
		testkit.Contains(t, w.Body.String(), name)
	}
}

// Case 30.
func TestFloodOfOneIdentityIsLimitedAndOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		c := doorConfig(h)
		c.Limits = door.Limits{PerIdentity: 2, PerAddress: 1000}
		d := open(t, c)
		limited := 0
		for range 100 {
			w := serve(d, tokenRequest(form("subject_token", "flood")))
			if w.Code == 429 {
				limited++
				testkit.Equal(t, w.Header().Get("Retry-After"), "1")
				testkit.Equal(t, code(t, w), "slow_down")
			}
		}
		testkit.Equal(t, limited, 80)
		testkit.Equal(t, serve(d, tokenRequest(form())).Code, 200, "another")
		time.Sleep(time.Second)
		testkit.Equal(t, serve(d, tokenRequest(form("subject_token", "flood"))).Code, 200, "a second later")
	})
}

func TestFloodFromOneNetworkIsLimitedBeforeItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{refuse: &caller.Refused{Reason: "a reason"}}
		c := doorConfig(h)
		c.Limits.PerAddress = 1
		d := open(t, c)
		codes := map[int]int{}
		var running sync.WaitGroup
		for n := range 50 {
			r := tokenRequest(form())
			r.RemoteAddr = fmt.Sprintf("[2001:db8::%x]:1000", n+1) // all of a network that one caller has
			running.Go(func() {
				w := serve(d, r)
				h.mu.Lock()
				defer h.mu.Unlock()
				codes[w.Code]++
			})
			synctest.Wait()
		}
		running.Wait()
		testkit.Diff(t, codes, map[int]int{400: 10, 429: 40})
		r := tokenRequest(form())
		r.RemoteAddr = "[2001:db8:1::1]:1000"
		testkit.Equal(t, serve(d, r).Code, 400)
	})
}

func TestRequestsBeyondThoseInFlightAreToldToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{answer: func(exchange.Request) (exchange.Answer, error) {
			time.Sleep(10 * time.Second)
			return exchange.Answer{}, nil
		}}
		c := doorConfig(h)
		c.Limits.InFlight = 2
		d := open(t, c)
		for range 2 {
			go serve(d, tokenRequest(form()))
		}
		synctest.Wait()
		w := serve(d, tokenRequest(form()))
		testkit.Equal(t, w.Code, 503)
		testkit.Equal(t, w.Header().Get("Retry-After"), "1")
		time.Sleep(11 * time.Second)
		testkit.Equal(t, serve(d, tokenRequest(form())).Code, 200)
	})
}

// Case 33.
func TestRefusalsAreAlikeToTheByteAndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		github := func(kind ghapp.Kind) error {
			return &exchange.Error{Err: &ghapp.Error{Kind: kind, Op: "mint for acme/site", Message: "a text of GitHub's"}}
		}
		var want string
		for name, tt := range map[string]struct {
			refuse, answer error
			takes          time.Duration
		}{
			"a proof that is none":  {refuse: &caller.Refused{Reason: "its audience is not ours"}},
			"no rule":               {answer: no("no rule for acme/site")},
			"a rule that differs":   {answer: no("ref is not main"), takes: time.Millisecond},
			"no such repository":    {answer: github(ghapp.ErrRepositoryNotSelected), takes: 310 * time.Millisecond},
			"the App is not there":  {answer: github(ghapp.ErrNotInstalled), takes: 120 * time.Millisecond},
			"it is suspended":       {answer: github(ghapp.ErrSuspended), takes: 120 * time.Millisecond},
			"a permission too many": {answer: github(ghapp.ErrPermission), takes: 499 * time.Millisecond},
		} {
			for _, ask := range []func() *http.Request{
				func() *http.Request { return tokenRequest(form()) },
				func() *http.Request { return gitRequest(question()) },
			} {
				h := &house{refuse: tt.refuse, answer: func(exchange.Request) (exchange.Answer, error) {
					time.Sleep(tt.takes)
					return exchange.Answer{}, tt.answer
				}}
				began := time.Now()
				w := serve(open(t, doorConfig(h)), ask())
				testkit.Equal(t, time.Since(began), 500*time.Millisecond, "%s", name)
				var body struct{ ID string }
				testkit.OK(t, json.Unmarshal(w.Body.Bytes(), &body))
				testkit.Equal(t, len(body.ID), 26)
				got := strings.ReplaceAll(fmt.Sprint(w.Code, w.Header(), w.Body), body.ID, "ID")
				if want == "" {
					want = got
				}
				testkit.Equal(t, got, want, "%s", name)
				// The audit can tell them apart, by the same ID.
				switch {
				case tt.refuse != nil:
					testkit.Equal(t, h.refusals[0].ID, body.ID)
					testkit.Contains(t, h.refusals[0].Reason, "its audience is not ours")
				default:
					testkit.Equal(t, h.asked[0].ID, body.ID)
				}
			}
		}
		testkit.Contains(t, want, "400", "invalid_request", "no-store")
	})
}

func TestTroubleThatPassesSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			err   error
			code  int
			says  string
			after string
		}{
			"GitHub's limit":     {outcome(exchange.Unavailable, 90*time.Second), 503, "temporarily_unavailable", "90"},
			"a part of a second": {outcome(exchange.Limited, time.Millisecond), 429, "slow_down", "1"},
			"nobody knows":       {outcome(exchange.Unavailable, 0), 503, "temporarily_unavailable", "5"},
			"the issuer is gone": {caller.ErrIssuerUnreachable, 503, "temporarily_unavailable", "5"},
			"too late":           {context.DeadlineExceeded, 503, "temporarily_unavailable", "5"},
			"nobody's error":     {errors.New("disk full"), 500, "server_error", ""},
		} {
			h := &house{answer: func(exchange.Request) (exchange.Answer, error) { return exchange.Answer{}, tt.err }}
			w := serve(open(t, doorConfig(h)), tokenRequest(form()))
			testkit.Equal(t, w.Code, tt.code, "%s", name)
			testkit.Equal(t, code(t, w), tt.says, "%s", name)
			testkit.Equal(t, w.Header().Get("Retry-After"), tt.after, "%s", name)
		}
	})
}

func outcome(o exchange.Outcome, wait time.Duration) error {
	return &exchange.Error{Outcome: o, RetryAfter: wait, Err: errors.New("a reason")}
}

// no is how the exchange refuses.
func no(reason string) error {
	return &exchange.Error{Outcome: exchange.Refused, Err: &policy.Denied{Reason: reason}}
}

// Case 34. The verifier and the exchanger are of the worst kind: all that they say has secrets
// in it.
func TestTokensAreInNoLogErrorOrPanic(t *testing.T) {
	t.Parallel()
	secrets := []string{proof, minted}
	fails := func(answer exchange.Answer, err error) *house {
		return &house{answer: func(exchange.Request) (exchange.Answer, error) { return answer, err }}
	}
	panics := func(exchange.Request) (exchange.Answer, error) { panic("token " + minted + " of " + proof) }
	denied := &ghapp.Error{Kind: ghapp.ErrPermission, Message: minted}
	for name, h := range map[string]*house{
		"a panic":      {answer: panics},
		"an error":     fails(exchange.Answer{}, errors.New(minted+proof)),
		"a refusal":    fails(exchange.Answer{}, no(proof)),
		"GitHub's no":  fails(exchange.Answer{}, &exchange.Error{Err: denied}),
		"no good line": fails(exchange.Answer{Token: secret.New(minted + "\n")}, nil),
		"a proof":      {refuse: &caller.Refused{Reason: "it is none"}},
	} {
		var log bytes.Buffer
		c := doorConfig(h)
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		d := open(t, c)
		var printed strings.Builder
		for _, r := range []*http.Request{
			tokenRequest(form()), gitRequest(question()), post("/token", "subject_token="+proof+"&%zz"),
		} {
			w := serve(d, r)
			if w.Code != 200 {
				printed.WriteString(w.Body.String())
			}
		}
		fmt.Fprintf(&printed, "%s\n%+v\n%v\n", &log, h.refusals, d)
		for _, asked := range h.asked {
			asked.Caller = caller.Caller{} // the house put the proof into it
			fmt.Fprintf(&printed, "%+v %#v\n", asked, asked)
		}
		answer := exchange.Answer{Token: secret.New(minted)}
		fmt.Fprintf(&printed, "%+v %#v %v", answer, answer, testkit.Must(json.Marshal(answer))(t))
		testkit.Lacks(t, printed.String(), secrets...)
		if name == "a panic" {
			testkit.Contains(t, log.String(), "type=string", "door_test")
		}
	}
}

// Case 39.
func TestPageInABrowserGetsNothing(t *testing.T) {
	t.Parallel()
	h := &house{}
	d := open(t, doorConfig(h))
	for name, change := range map[string]func(*http.Request){
		"a page elsewhere":          func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") },
		"a page on our own name":    func(r *http.Request) { r.Header.Set("Origin", audience) },
		"a sandboxed page":          func(r *http.Request) { r.Header.Set("Origin", "null") },
		"a form without an Origin":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "navigate") },
		"a name that was rebound":   func(r *http.Request) { r.Host = "evil.example.com" },
		"the same with our port":    func(r *http.Request) { r.Host = "evil.example.com:8443" },
		"a name that contains ours": func(r *http.Request) { r.Host = "ghapp.example.com.evil.example.com" },
		"no name":                   func(r *http.Request) { r.Host = "" },
		"a preflight": func(r *http.Request) {
			r.Method = "OPTIONS"
			r.Header.Set("Access-Control-Request-Method", "POST")
		},
	} {
		for _, r := range []*http.Request{
			tokenRequest(form()), gitRequest(question()), httptest.NewRequest("GET", audience+"/.well-known/ghapp", nil),
		} {
			change(r)
			w := serve(d, r)
			if w.Code < 400 {
				t.Errorf("%s: %d", name, w.Code)
			}
			for header := range w.Header() {
				testkit.Lacks(t, header, "Access-Control")
			}
		}
	}
	testkit.Equal(t, len(h.asked)+len(h.refusals), 0)
	for _, host := range []string{
		"ghapp.example.com", "GHAPP.example.com:8443", "localhost:8443", "127.0.0.1:8443", "[::1]:8443",
	} {
		r := tokenRequest(form())
		r.Host = host
		testkit.Equal(t, serve(d, r).Code, 200, "%s", host)
	}
}

func TestAddressBehindProxiesIsTheLastThatIsNoneOfTheirs(t *testing.T) {
	t.Parallel()
	h := &house{}
	c := doorConfig(h)
	c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	d := open(t, c)
	ask := func(remote string, forwarded ...string) int {
		r := tokenRequest(form())
		r.RemoteAddr = remote
		r.Header["X-Forwarded-For"] = forwarded
		return serve(d, r).Code
	}
	testkit.Equal(t, ask("10.0.0.1:1", "203.0.113.9, 198.51.100.7, 10.0.0.2"), 200)
	testkit.Equal(t, h.asked[0].Address, "198.51.100.7")
	testkit.Equal(t, ask("[::ffff:10.0.0.1]:1", "203.0.113.9", "198.51.100.8"), 200)
	testkit.Equal(t, h.asked[1].Address, "198.51.100.8")
	testkit.Equal(t, ask("198.51.100.7:1", "10.0.0.2"), 403, "not from a proxy")
	testkit.Equal(t, ask("10.0.0.1:1", "198.51.100.7, unknown"), 403)
	testkit.Equal(t, ask("10.0.0.1:1"), 403, "the proxy does not say for whom")
	testkit.Equal(t, len(h.asked), 2)
}

func TestClientsAreToldWhatTheyNeedToKnow(t *testing.T) {
	t.Parallel()
	w := serve(open(t, doorConfig(&house{})), httptest.NewRequest("GET", audience+"/.well-known/ghapp", nil))
	testkit.Equal(t, w.Body.String(),
		`{"audience":"https://ghapp.example.com","issuers":["https://issuer.example.com"],"version":"1.2.3"}`)
}

// FuzzForm: whatever a form has in it, nothing is asked for that it does not name.
func FuzzForm(f *testing.F) {
	h := &house{}
	d := open(f, doorConfig(h))
	for _, seed := range []url.Values{
		form(), form("resource", "https://github.com/acme"), form("scope", "-"), form("min_life", "60"),
	} {
		f.Add(seed.Encode())
	}
	f.Add("grant_type=" + exchangeGrant + "&resource=https://github.com/a/b&resource=https://github.com/A/c;d=e")
	f.Fuzz(func(t *testing.T, body string) {
		h.asked = nil
		w := serve(d, post("/token", body))
		if w.Code != 200 && len(h.asked) > 0 || w.Code == 200 && len(h.asked) != 1 {
			t.Fatalf("%d, and %d were asked for", w.Code, len(h.asked))
		}
		if w.Code != 200 {
			testkit.Equal(t, w.Code, 400)
			return
		}
		asked, sent := h.asked[0], testkit.Must(url.ParseQuery(body))(t)
		testkit.Equal(t, asked.Ask.All, len(asked.Ask.Repositories) == 0)
		if asked.Ask.All && (len(sent["resource"]) != 1 || sent.Get("resource") != asked.Host+"/"+asked.Ask.Owner &&
			sent.Get("resource") != asked.Host+"/"+asked.Ask.Owner+".git") {
			t.Errorf("all of %s, by %q", asked.Ask.Owner, sent["resource"])
		}
		for _, repository := range asked.Ask.Repositories {
			owner, _, _ := strings.Cut(repository, "/")
			if !strings.EqualFold(owner, asked.Ask.Owner) ||
				!strings.Contains(strings.Join(sent["resource"], "\n"), repository) {
				t.Errorf("%s of %s, by %q", repository, asked.Ask.Owner, sent["resource"])
			}
		}
		if len(asked.Ask.Permissions) == 0 {
			t.Error("no permissions")
		}
	})
}

// FuzzQuestion: git is answered about one repository of ours, or not at all.
func FuzzQuestion(f *testing.F) {
	h := &house{}
	d := open(f, doorConfig(h))
	f.Add(question())
	f.Add(question("url=https://github.com/a/b", "username=x-access-token"))
	f.Add("protocol=https\nhost=ghes.example.com:8443\npath=/a//b.wiki.git/info/lfs")
	f.Fuzz(func(t *testing.T, body string) {
		h.asked = nil
		w := serve(d, gitRequest(body))
		if len(h.asked) == 0 {
			if w.Code == 200 {
				testkit.Equal(t, w.Body.Len(), 0)
			}
			return
		}
		asked := h.asked[0]
		testkit.Equal(t, w.Code, 200)
		if asked.Ask.All || len(asked.Ask.Repositories) != 1 || asked.Host == "" ||
			!strings.HasPrefix(asked.Ask.Repositories[0], asked.Ask.Owner+"/") {
			t.Errorf("%+v", asked)
		}
	})
}
