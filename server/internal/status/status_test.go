package status_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
	"github.com/ghapp-dev/ghapp/server/internal/status"
)

// canary is the token of the status.
const canary = "canary-3f1c9a77e2d0b845"

// world is what a server stands on.
type world struct {
	status.Server
	kept            []audit.Record
	auditErr        error // of each record
	auditStatus     audit.Status
	policyErr, away error
	budgets         []engine.InstallationBudget
}

func newWorld() *world {
	w := &world{}
	w.Server = status.Server{
		Version: "1.2.3", Records: &status.Records{Audit: w}, Engine: w,
		Audit:  func() audit.Status { return w.auditStatus },
		Policy: func() error { return w.policyErr },
	}
	return w
}

func (w *world) Append(_ context.Context, r audit.Record) error {
	if w.auditErr == nil {
		w.kept = append(w.kept, r)
	}
	return w.auditErr
}

func (w *world) Status() engine.Status {
	return engine.Status{Away: w.away, Replicas: 3, Generations: []string{"a", "b"}}
}

func (w *world) Ready(context.Context) error { return w.away }

func (w *world) Budgets(context.Context) []engine.InstallationBudget { return w.budgets }

// get asks for a path, from an address, as edit has it.
func (w *world) get(t *testing.T, path, from string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	h := testkit.Must(w.Handler())(t)
	r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
	r.RemoteAddr = from
	for _, e := range edit {
		e(r)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

const (
	here  = "127.0.0.1:50000"
	there = "192.0.2.7:50000"
)

func withToken(token string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth("ada", token) }
}

// refuse has a refusal in the audit that names its caller.
func (w *world) refuse(t *testing.T) {
	t.Helper()
	testkit.OK(t, w.Records.Append(t.Context(), audit.Record{
		Event: audit.Refused, ID: "AB12", Rule: "deploy", Issuer: "https://ci.example", Subject: "repo:acme/hidden",
		Reason: "the branch is another", Address: "203.0.113.9",
	}))
}

// Who asked, and why not, is for those who have the token and ask from this machine.
func TestRefusalsAreToldToWhoHasTheTokenHere(t *testing.T) {
	w := newWorld()
	w.refuse(t)
	testkit.Equal(t, w.get(t, "/refusals", here, withToken("")).Code, http.StatusNotFound, "there is no token")

	w.Token = secret.New(canary)
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+canary) }
	for name, of := range map[string]struct {
		from string
		edit []func(*http.Request)
		code int
	}{
		"the token, here":         {here, []func(*http.Request){withToken(canary)}, http.StatusOK},
		"as a bearer":             {here, []func(*http.Request){bearer}, http.StatusOK},
		"by IPv6":                 {"[::1]:5", []func(*http.Request){bearer}, http.StatusOK},
		"no token":                {here, nil, http.StatusUnauthorized},
		"another":                 {here, []func(*http.Request){withToken(canary + "x")}, http.StatusUnauthorized},
		"an empty one":            {here, []func(*http.Request){withToken("")}, http.StatusUnauthorized},
		"from elsewhere":          {there, []func(*http.Request){withToken(canary)}, http.StatusForbidden},
		"from nowhere":            {"@", []func(*http.Request){withToken(canary)}, http.StatusForbidden},
		"by a proxy on this side": {here, []func(*http.Request){bearer, forwarded}, http.StatusForbidden},
		"by another's name":       {here, []func(*http.Request){bearer, rebound}, http.StatusMisdirectedRequest},
	} {
		answer := w.get(t, "/refusals", of.from, of.edit...)
		testkit.Equal(t, answer.Code, of.code, name)
		if body := answer.Body.String(); of.code == http.StatusOK {
			testkit.Contains(t, body, "repo:acme/hidden", "the branch is another", "AB12", "deploy")
		} else {
			testkit.Lacks(t, body, "acme/hidden", "is another", "AB12")
		}
		testkit.Lacks(t, answer.Body.String()+fmt.Sprint(answer.Header()), canary)
	}
	for _, path := range []string{"/", "/?show=refused", "/metrics", "/readyz", "/healthz"} {
		answer := w.get(t, path, here, withToken(canary))
		testkit.Equal(t, answer.Code, http.StatusOK, path)
		testkit.Lacks(t, answer.Body.String(), "acme/hidden", "branch is another", "AB12", "203.0.113.9", "ci.example",
			canary)
	}
	testkit.Lacks(t, fmt.Sprintf("%v %+v", &w.Server, w.Server.Token), canary,
		base64.StdEncoding.EncodeToString([]byte("ada:"+canary)))
}

func forwarded(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.7") }
func rebound(r *http.Request)   { r.Host = "evil.example" }

func TestTokenThatCanBeGuessedIsRefused(t *testing.T) {
	w := newWorld()
	w.Token = secret.New("hunter2")
	_, err := w.Handler()
	testkit.Contains(t, fmt.Sprint(err), "has 7 characters, and 20 are needed")
	testkit.Lacks(t, fmt.Sprint(err), "hunter2")
	l := testkit.Must(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	ended, end := context.WithCancel(t.Context())
	end() // of one that begins to serve all the same
	testkit.Contains(t, fmt.Sprint(w.Serve(ended, l)), "7 characters")
}

// Each thing that is needed says by its name that it is missing. What tokens are handed out without is
// told of to those who ask for all.
func TestReadyzSaysWhatIsNot(t *testing.T) {
	w := newWorld()
	testkit.Equal(t, w.get(t, "/readyz", there).Body.String(), "ok\n")
	w.policyErr = errors.New("policy.yaml:3: secret-rule is doubled")
	answer := w.get(t, "/readyz", there)
	testkit.Equal(t, answer.Code, http.StatusOK)
	testkit.Contains(t, w.get(t, "/metrics", there).Body.String(), "\nghapp_server_policy_unusable 1\n")
	body := w.get(t, "/", there).Body.String()
	testkit.Contains(t, body, "not everything is well: policy")
	testkit.Lacks(t, body, "secret-rule")

	w.away = &engine.AwayError{Err: errors.New("no\nconnection\x1b[31m")}
	testkit.Equal(t, w.get(t, "/readyz", there).Code, http.StatusOK, "it would take all servers away at once")
	answer = w.get(t, "/readyz?all", there)
	testkit.Equal(t, answer.Code, http.StatusServiceUnavailable)
	testkit.Contains(t, answer.Body.String(), "policy: its file", "engine: the engine (NATS) is away: no")
	testkit.Contains(t, w.get(t, "/", there).Body.String(), "not everything is well: policy, engine")
	testkit.Lacks(t, answer.Body.String(), "\x1b", "secret-rule")

	w.auditStatus.Err = errors.New("the disk is full")
	w.Apps = func(context.Context) error { return errors.New("the key is gone") }
	answer = w.get(t, "/readyz", there)
	testkit.Equal(t, answer.Code, http.StatusServiceUnavailable)
	testkit.Equal(t, answer.Body.String(), "audit: the disk is full\nApps: the key is gone\n")
	testkit.Contains(t, w.get(t, "/", there).Body.String(), "Not ready: audit, Apps")
	testkit.Equal(t, w.get(t, "/healthz", there).Code, http.StatusOK, "it would be started anew, which mends nothing")
}

func TestMetricsCountExchangesByRuleAndOutcome(t *testing.T) {
	w := newWorld()
	minted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
	}))
	defer minted.Close()
	client := http.Client{Transport: w.Records.Observe(http.DefaultTransport)}
	for _, path := range []string{"/app/installations/7/access_tokens", "/app/hook"} {
		answer := testkit.Must(client.Post(minted.URL+path, "", nil))(t)
		_ = answer.Body.Close()
	}
	answer := testkit.Must(client.Get(minted.URL + "/app/installations/7/access_tokens"))(t)
	_ = answer.Body.Close()

	add := func(r audit.Record) { _ = w.Records.Append(t.Context(), r) }
	for range 5 {
		add(audit.Record{Event: audit.Allowed, Rule: "deploy", Source: "cached"}) // no end of an exchange
		add(audit.Record{Event: audit.HandedOut, Rule: "deploy", Source: "cached"})
	}
	for _, source := range []string{"minted", "merged", "merged"} {
		add(audit.Record{Event: audit.HandedOut, Rule: `de"ploy`, Source: source})
	}
	add(audit.Record{Event: audit.Failed, Rule: "deploy", Subject: "repo:acme/hidden"})
	w.refuse(t)
	w.auditErr = errors.New("the disk is full")
	add(audit.Record{Event: audit.HandedOut, Rule: "deploy", Source: "cached"})
	add(audit.Record{Event: audit.Refused, Rule: "deploy"})
	w.auditStatus.Waiting = 4
	w.away = &engine.AwayError{Err: errors.New("gone")}
	w.budgets = []engine.InstallationBudget{{App: "api.github.com/Iv1", Installation: 7,
		Budget: engine.Budget{Limit: 15000, Remaining: 14210, Reset: time.Unix(1_800_000_000, 0)}}}
	text := w.get(t, "/metrics", there).Body.String()
	for _, want := range []string{
		`ghapp_server_build_info{version="1.2.3"} 1`,
		`ghapp_server_exchanges_total{rule="deploy",outcome="handed out",source="cached"} 5`,
		`ghapp_server_exchanges_total{rule="de\"ploy",outcome="handed out",source="minted"} 1`,
		`ghapp_server_exchanges_total{rule="deploy",outcome="failed",source=""} 2`,
		`ghapp_server_exchanges_total{rule="deploy",outcome="refused",source=""} 1`,
		"ghapp_server_cache_hits_total 5", "ghapp_server_mints_total 1", "ghapp_server_merged_total 2",
		`ghapp_server_installation_budget{app="api.github.com/Iv1",installation="7"} 15000`,
		`ghapp_server_installation_budget_left{app="api.github.com/Iv1",installation="7"} 14210`,
		`ghapp_server_installation_budget_reset_timestamp_seconds{app="api.github.com/Iv1",installation="7"} 1.8e+09`,
		"ghapp_server_engine_away 1", "ghapp_server_replicas 3", "ghapp_server_policy_generations 2",
		"ghapp_server_policy_unusable 0", "ghapp_server_audit_waiting 4", "ghapp_server_audit_failures_total 2",
	} {
		testkit.Contains(t, text, "\n"+want+"\n")
	}
	testkit.Contains(t, text, "ghapp_server_audit_lag_seconds ")
	testkit.Lacks(t, text, "acme/hidden", "ci.example", "AB12")
	testkit.Equal(t, len(w.kept), 5+5+3+2)
	testkit.Contains(t, w.get(t, "/", there).Body.String(), "11 exchanges in the last minute", "87%", "3 servers",
		"14,210 of 15,000 left")
}

func TestLastMinuteForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for range 90 {
			w.refuse(t)
			time.Sleep(time.Second)
		}
		testkit.Contains(t, w.get(t, "/", here).Body.String(), "59 exchanges in the last minute")
		time.Sleep(time.Hour)
		testkit.Contains(t, w.get(t, "/", here).Body.String(), "0 exchanges in the last minute", "90</b> refused")
	})
}

// What is remembered has an end, whatever callers and policies do.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	w := newWorld()
	w.Token = secret.New(canary)
	long := strings.Repeat("x", 100_000)
	for i := range 3000 {
		_ = w.Records.Append(t.Context(), audit.Record{
			Event: audit.Refused, Rule: fmt.Sprint("rule-", i), Subject: fmt.Sprint(i, " ", long), Reason: long,
			ID: fmt.Sprint("id-", i),
		})
	}
	text := w.get(t, "/metrics", here).Body.String()
	testkit.Equal(t, strings.Count(text, "ghapp_server_exchanges_total{"), 1000)
	testkit.Contains(t, text, `ghapp_server_exchanges_total{rule="(others)",outcome="refused",source=""} 2001`)
	body := w.get(t, "/refusals", here, withToken(canary)).Body.String()
	testkit.Equal(t, strings.Count(body, "<code>id-"), 50)
	testkit.Contains(t, body, "<code>id-2999</code>", "<code>id-2950</code>")
	if len(body) > 100_000 {
		t.Errorf("the page has %d bytes", len(body))
	}
}

// A server answers at its address until it is to end.
func TestServeEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	l := testkit.Must(new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"))(t)
	ended := make(chan error, 1)
	go func() { ended <- newWorld().Serve(ctx, l) }()
	answer := testkit.Must(http.Get("http://" + l.Addr().String() + "/healthz"))(t)
	_ = answer.Body.Close()
	testkit.Equal(t, answer.StatusCode, http.StatusOK)
	stop()
	testkit.OK(t, <-ended)
}
