package exchange_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

const (
	door    = "https://ghapp.example.com"
	actions = "https://token.actions.githubusercontent.com"
)

// records is an audit in memory.
type records struct {
	mu   sync.Mutex
	list []audit.Record
	fail map[audit.Event]error
}

func (r *records) Append(_ context.Context, record audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fail[record.Event]; err != nil {
		return err
	}
	r.list = append(r.list, record)
	return nil
}

// events are those since the last call.
func (r *records) events() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, record := range r.list {
		list = append(list, string(record.Event))
	}
	r.list = nil
	return strings.Join(list, ", ")
}

func (r *records) last(t testing.TB) audit.Record {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		t.Fatal("there is no record")
	}
	return r.list[len(r.list)-1]
}

// world is an exchange before a GitHub.
type world struct {
	*exchange.Exchange
	github *githubtest.GitHub
	app    *testapp.TestApp
	audit  *records
	policy atomic.Pointer[policy.Policy]
	site   *githubtest.Repository
}

const rules = `
rules:
- name: own
  issuer: ` + actions + `
  claims: {repository_owner_id: "7"}
  grants: {repositories: ["{{repository}}", acme/lib], permissions: {contents: write, issues: read}}
`

func newWorld(t testing.TB, source string) *world {
	t.Helper()
	app := testapp.New(t, githubtest.AppOptions{},
		githubtest.InstallOptions{Permissions: map[string]string{"contents": "write", "issues": "write", "metadata": "read"}})
	w := &world{github: app.GitHub, app: app, audit: &records{fail: map[audit.Event]error{}}}
	w.site = w.github.AddRepository("acme/site", githubtest.RepositoryOptions{})
	w.github.AddRepository("acme/lib", githubtest.RepositoryOptions{})
	app.Installation.SelectAll()
	key := filepath.Join(t.TempDir(), "key.pem")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(t))}
	testkit.OK(t, os.WriteFile(key, pem.EncodeToMemory(block), 0o600))
	text := fmt.Sprintf("apps:\n  acme:\n    app: %s\n    key: %s\n", app.Registration.ClientID, key)
	w.Exchange = &exchange.Exchange{
		Policy: func() *policy.Policy { return w.policy.Load() },
		Audit:  w.audit,
		Apps: &exchange.Apps{Options: apps.Options{
			Configuration: func() (*config.Config, error) { return config.Parse("server.yaml", []byte(text), "") },
			Observe:       func(http.RoundTripper) http.RoundTripper { return w.github.RoundTripper() },
		}},
	}
	w.use(t, source)
	return w
}

func (w *world) use(t testing.TB, source string) {
	t.Helper()
	w.policy.Store(testkit.Must(policy.Parse("policy.yaml", []byte(source), door))(t))
}

// run is a run of GitHub Actions in acme/site, with changes.
func (w *world) run(changes map[string]any) caller.Caller {
	claims := map[string]any{
		"aud": door, "sub": "repo:acme/site:ref:refs/heads/main", "repository": "acme/site",
		"repository_id": fmt.Sprint(w.site.ID), "repository_owner_id": "7",
	}
	maps.Copy(claims, changes)
	return caller.Caller{Issuer: actions, Subject: claims["sub"].(string), Claims: claims, ID: "jti",
		Expires: time.Now().Add(5 * time.Minute)}
}

func (w *world) ask(permissions ghapp.Permissions, names ...string) exchange.Request {
	return exchange.Request{Caller: w.run(nil), Address: "192.0.2.1",
		Ask: policy.Ask{Owner: "acme", Repositories: names, Permissions: permissions}}
}

func (w *world) siteRequest() exchange.Request { return w.ask(nil, "acme/site") }

func (w *world) token(t testing.TB, r exchange.Request) exchange.Answer {
	t.Helper()
	return testkit.Must(w.Token(t.Context(), r))(t)
}

// refused is the error of a request that gets nothing.
func (w *world) refused(t testing.TB, r exchange.Request, outcome exchange.Outcome, because string) *exchange.Error {
	t.Helper()
	answer, err := w.Token(t.Context(), r)
	testkit.Equal(t, answer.Token.IsZero(), true, "no token")
	e := testkit.ErrorAs[*exchange.Error](t, err)
	testkit.Equal(t, e.Outcome, outcome, "outcome of %v", e)
	testkit.ErrorContains(t, e, because)
	if e.ID == "" {
		t.Error("the refusal has no ID")
	}
	return e
}

func TestATokenIsExactlyWhatWasAskedForAndRecordedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		w.AuditedClaims = []string{"repository"}
		answer := w.token(t, w.siteRequest())
		testkit.Equal(t, answer.Permissions.String(), "contents:read,metadata:read", "permissions")
		testkit.Diff(t, answer.Repositories, []policy.Repository{{ID: w.site.ID, Name: "acme/site"}})
		testkit.Equal(t, answer.Host, "https://github.com", "host")
		tokens := w.github.Tokens()
		testkit.Equal(t, len(tokens), 1, "tokens")
		testkit.Equal(t, strings.Join(tokens[0].Repositories, " "), "acme/site", "at GitHub")
		handed := w.audit.last(t)
		testkit.Equal(t, handed.HashedToken, audit.HashToken(answer.Token), "hash")
		testkit.Equal(t, handed.Source+" "+handed.Rule+" "+handed.ID+" "+handed.Claims["repository"],
			"minted own "+answer.ID+" acme/site", "record")
		testkit.Equal(t, w.audit.events(), "allowed, handed out", "events")
		again := w.token(t, w.siteRequest())
		testkit.Equal(t, again.Token.Reveal(), answer.Token.Reveal(), "the same token")
		if again.ID == answer.ID {
			t.Error("two requests have one ID")
		}
		testkit.Equal(t, w.audit.last(t).Source, "cached", "a token of this second")
		time.Sleep(time.Minute)
		w.token(t, w.siteRequest())
		testkit.Equal(t, w.audit.last(t).Source, "cached", "source")
		testkit.Equal(t, w.github.Mints(), 1, "mints")
	})
}

// TestWhoIsNotAllowedGetsNothingThatOthersHaveWarmed is for brokers that have authorized inside
// of their cache.
func TestWhoIsNotAllowedGetsNothingThatOthersHaveWarmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		w.token(t, w.siteRequest())
		w.audit.events()
		stranger := w.siteRequest()
		stranger.Caller = w.run(map[string]any{"repository_owner_id": "8"})
		e := w.refused(t, stranger, exchange.Refused, "repository_owner_id")
		record := w.audit.last(t)
		testkit.Equal(t, record.ID, e.ID, "ID")
		testkit.Contains(t, record.Reason, "repository_owner_id")
		testkit.Equal(t, w.audit.events(), "refused", "events")
	})
}

func TestLessIsAnotherTokenAndOrderAndCaseAreNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		both := w.token(t, w.ask(ghapp.Permissions{"contents": "write", "issues": "read"}, "acme/site", "acme/lib"))
		same := w.token(t, w.ask(ghapp.Permissions{"issues": "read", "contents": "write"}, "ACME/lib", "acme/Site"))
		testkit.Equal(t, same.Token.Reveal(), both.Token.Reveal(), "the same in another order")
		for _, less := range []exchange.Request{
			w.ask(ghapp.Permissions{"contents": "write"}, "acme/site", "acme/lib"),
			w.ask(ghapp.Permissions{"contents": "write", "issues": "read"}, "acme/site"),
			w.ask(ghapp.Permissions{"contents": "read", "issues": "read"}, "acme/site", "acme/lib"),
		} {
			if got := w.token(t, less); got.Token.Reveal() == both.Token.Reveal() {
				t.Errorf("who asks for less gets more: %+v", less.Ask)
			}
		}
		testkit.Equal(t, w.github.Mints(), 4, "mints")
		w.refused(t, w.ask(ghapp.Permissions{"contents": "admin"}, "acme/site"), exchange.Refused, "is asked for")
		w.refused(t, w.ask(nil, "acme/site", "acme/other"), exchange.Refused, "acme/other")
		w.refused(t, w.ask(nil), exchange.Refused, "no repository")
	})
}

func TestAPolicyThatIsNarrowedIsNarrowAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		write := w.ask(ghapp.Permissions{"contents": "write"}, "acme/site")
		w.token(t, write)
		read := w.token(t, w.siteRequest())
		w.use(t, strings.Replace(rules, "contents: write, issues: read", "contents: read", 1))
		w.refused(t, write, exchange.Refused, "contents:write is asked for")
		next := w.token(t, w.siteRequest())
		if next.Token.Reveal() == read.Token.Reveal() {
			t.Error("a token of the policy before is handed out")
		}
	})
}

// shared is a store of a generation that notes for which it was opened.
type shared struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (s *shared) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[key], nil
}

func (s *shared) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := fn(ctx, s.kept[key])
	if err == nil {
		s.kept[key] = next
	}
	return err
}

func TestTokensAreKeptForTheGenerationThatAllowedThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		var opened []string
		w.Apps.Store = func(generation string) ghapp.Store {
			opened = append(opened, generation)
			return &shared{kept: map[string][]byte{}}
		}
		first := w.policy.Load()
		// The policy changes after the decision, and before the mint.
		testkit.OK(t, w.github.Fault(githubtest.Fault{Match: githubtest.MintPattern, Delay: 5 * time.Second, Times: 1}))
		done := make(chan exchange.Answer)
		go func() { done <- w.token(t, w.siteRequest()) }()
		time.Sleep(time.Second)
		w.use(t, strings.Replace(rules, "contents: write", "contents: read", 1))
		early := <-done
		late := w.token(t, w.siteRequest())
		if early.Token.Reveal() == late.Token.Reveal() {
			t.Error("what one generation has minted is handed out by another")
		}
		testkit.Equal(t, strings.Join(opened, " "), first.Generation()+" "+w.policy.Load().Generation(), "generations")
	})
}

func TestATokenThatIsMoreThanWasGrantedIsRevoked(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]githubtest.Overgrant{
		"permissions":  {Permissions: map[string]string{"issues": "write"}},
		"repositories": {AllRepositories: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, rules)
				testkit.OK(t, w.github.Fault(githubtest.Fault{Match: githubtest.MintPattern, Overgrant: &fault}))
				w.refused(t, w.siteRequest(), exchange.Unavailable, "")
				testkit.Equal(t, w.audit.events(), "allowed, failed", "events")
				for _, token := range w.github.Tokens() {
					testkit.Equal(t, token.Revoked, true, "revoked")
				}
				testkit.Equal(t, w.github.Mints() > 0, true, "minted")
			})
		})
	}
}

func TestARepositoryMadeAnewUnderAnOldNameIsNotTheOneThatIsMeant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		w.token(t, w.siteRequest())
		testkit.OK(t, w.github.DeleteRepository("acme/site"))
		anew := w.github.AddRepository("acme/site", githubtest.RepositoryOptions{})
		w.use(t, strings.Replace(rules, "contents: write", "contents: admin", 1)) // another generation
		w.refused(t, w.siteRequest(), exchange.Refused, "")
		own := w.siteRequest()
		own.Caller = w.run(map[string]any{"repository_id": fmt.Sprint(anew.ID)})
		w.token(t, own)
	})
}

func TestARepositoryThatHasMovedAwayIsNotFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		w.github.AddAccount("other", githubtest.Organization)
		w.app.Registration.Install("other", githubtest.InstallOptions{
			Permissions: map[string]string{"contents": "write", "issues": "write", "metadata": "read"}})
		testkit.OK(t, w.github.Transfer("acme/lib", "other"))
		w.refused(t, w.ask(nil, "acme/lib"), exchange.Refused, "")
		for _, token := range w.github.Tokens() {
			testkit.Equal(t, token.Revoked, true, "a token for %v", token.Repositories)
		}
		testkit.OK(t, w.github.Rename("acme/site", "renamed"))
		answer := w.token(t, w.siteRequest()) // known by its ID, and still of acme
		testkit.Equal(t, answer.Repositories[0].ID, w.site.ID, "ID")
	})
}

func TestWithoutARecordThereIsNoToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		w.audit.fail[audit.Allowed] = errors.New("disk full")
		w.refused(t, w.siteRequest(), exchange.Unavailable, "disk full")
		testkit.Equal(t, w.github.Mints(), 0, "mints")
		w.audit.events()
		w.audit.fail = map[audit.Event]error{audit.HandedOut: errors.New("disk full")}
		w.refused(t, w.siteRequest(), exchange.Unavailable, "disk full")
		testkit.Equal(t, w.github.Tokens()[0].Revoked, true, "revoked")
		testkit.Equal(t, w.audit.events(), "allowed, revoked, failed", "events")
		w.audit.fail = map[audit.Event]error{audit.Refused: errors.New("disk full")}
		w.refused(t, w.ask(nil, "acme/other"), exchange.Unavailable, "acme/other")
		w.audit.fail = nil
		if answer := w.token(t, w.siteRequest()); audit.HashToken(answer.Token) == "" || w.github.Mints() != 2 {
			t.Error("the token that was revoked is handed out")
		}
	})
}

func TestALimitedLifeEndsAtGitHub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limited := strings.Replace(rules, "{repositories", "{max-life: 10m, revoke: true, repositories", 1)
		other := strings.NewReplacer("\nrules:", "", "name: own", "name: free", `"7"}`, `"8"}`).Replace(rules)
		w := newWorld(t, limited+other)
		free := w.siteRequest()
		free.Caller = w.run(map[string]any{"repository_owner_id": "8"})
		first := w.token(t, w.siteRequest())
		unlimited := w.token(t, free)
		if unlimited.Token.Reveal() == first.Token.Reveal() {
			t.Fatal("rules with other ends share a token")
		}
		testkit.Equal(t, time.Until(first.ExpiresAt).Round(time.Minute), 10*time.Minute, "life")
		time.Sleep(2 * time.Minute)
		second := w.token(t, w.siteRequest())
		testkit.Equal(t, second.Token.Reveal(), first.Token.Reveal(), "the same in the first half of its life")
		testkit.Equal(t, second.ExpiresAt.Sub(first.ExpiresAt).Abs() <= time.Second, true, "and with the same end")
		time.Sleep(4 * time.Minute)
		third := w.token(t, w.siteRequest())
		if third.Token.Reveal() == first.Token.Reveal() {
			t.Error("a token near its end is handed out")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		tokens := w.github.Tokens()
		testkit.Equal(t, fmt.Sprint(tokens[0].Revoked, tokens[1].Revoked, tokens[2].Revoked), "true false false", "revoked")
		testkit.Equal(t, strings.Count(w.audit.events(), "revoked"), 1, "records of revocations")
		w.Close(t.Context())
		tokens = w.github.Tokens()
		testkit.Equal(t, fmt.Sprint(tokens[1].Revoked, tokens[2].Revoked), "false true", "revoked at the end")
		long := w.siteRequest()
		long.MinLife = 20 * time.Minute
		w.refused(t, long, exchange.Refused, "longer life")
	})
}

func TestAProofThatServesOnceServesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.Replace(rules, "{repositories", "{once: true, repositories", 1))
		w.refused(t, w.siteRequest(), exchange.Refused, "nothing here remembers")
		once := &first{}
		w.Once = once
		w.token(t, w.siteRequest())
		w.refused(t, w.siteRequest(), exchange.Refused, "used before")
		once.err = errors.New("engine gone")
		w.refused(t, w.siteRequest(), exchange.Unavailable, "engine gone")
	})
}

// first is a memory of one proof.
type first struct {
	used bool
	err  error
}

func (f *first) First(context.Context, caller.Caller) (bool, error) {
	used := f.used
	f.used = true
	return !used, f.err
}

// operator says no in the place of a budget, or of an order.
type operator struct {
	wait   time.Duration
	order  string
	ledger error
	epoch  string
}

func (o operator) Spend(context.Context, caller.Caller, policy.Grant) time.Duration { return o.wait }
func (o operator) Generation(policy string) string                                  { return policy + o.epoch }
func (o operator) Forbid(context.Context, caller.Caller, policy.Grant) string       { return o.order }
func (o operator) HandedOut(context.Context, caller.Caller, policy.Grant, *ghapp.Token) error {
	return o.ledger
}

func TestBudgetOrdersAndLedgerHaveTheirSay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		w.Budget = operator{wait: 7 * time.Second}
		testkit.Equal(t, w.refused(t, w.siteRequest(), exchange.Limited, "budget").RetryAfter, 7*time.Second, "retry")
		w.Budget, w.Orders = operator{}, operator{order: "the rule is suspended"}
		w.refused(t, w.siteRequest(), exchange.Refused, "suspended")
		testkit.Equal(t, w.github.Mints(), 0, "mints")
		w.Orders, w.Ledger = operator{}, operator{ledger: errors.New("not kept")}
		w.refused(t, w.siteRequest(), exchange.Refused, "not kept")
		testkit.Equal(t, w.github.Tokens()[0].Revoked, true, "revoked")
		w.Ledger = operator{}
		before := w.token(t, w.siteRequest())
		w.Orders = operator{epoch: "/2"}
		if after := w.token(t, w.siteRequest()); after.Token.Reveal() == before.Token.Reveal() {
			t.Error("a token of before an order is handed out")
		}
	})
}

func TestWhatGitHubSaysIsToldByWhoHasToAct(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   githubtest.Fault
		outcome exchange.Outcome
	}{
		"down": {githubtest.Fault{Status: 503, Body: "no"}, exchange.Unavailable},
		"forbidden": {githubtest.Fault{Status: 403, Body: `{"message":"Resource not accessible by integration"}`},
			exchange.Refused},
		"not there": {githubtest.Fault{Status: 404, Body: `{"message":"Not Found"}`}, exchange.Refused},
		"no such": {githubtest.Fault{Status: 422, Body: `{"message":"There is at least one repository that ` +
			`does not exist or is not accessible to the parent installation."}`}, exchange.Refused},
		"our key": {githubtest.Fault{Status: 401, Body: `{"message":"A JSON web token could not be decoded"}`},
			exchange.Unavailable},
		"IP address": {githubtest.Fault{Status: 403, Body: `{"message":"Although you appear to have the ` +
			"correct authorization credentials, the `acme` organization has an IP allow list enabled, " +
			`and your IP address is not permitted to access this resource."}`}, exchange.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, rules)
				c.fault.Match = githubtest.MintPattern
				testkit.OK(t, w.github.Fault(c.fault))
				w.refused(t, w.siteRequest(), c.outcome, "")
				testkit.Equal(t, w.audit.events(), "allowed, failed", "events")
			})
		})
	}
}

// allow is the file of acme/site.
const allow = `
allow:
- issuer: ` + actions + `
  claims: {repository_owner_id: "7"}
  permissions: {contents: read}
`

func TestARepositorysOwnFileTakesAwayAndAddsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.Replace(rules, "{repositories", "{repository-file: true, repositories", 1))
		file := &served{body: allow}
		testkit.OK(t, w.github.Fault(githubtest.Fault{Match: "GET /repos/acme/site/contents/.github/ghapp.yaml",
			Handler: file}))
		w.token(t, w.siteRequest())
		testkit.Equal(t, file.asked.Load(), 1, "asked")
		w.refused(t, w.ask(ghapp.Permissions{"contents": "write"}, "acme/site"), exchange.Refused, "contents:read at most")
		w.refused(t, w.ask(ghapp.Permissions{"contents": "admin"}, "acme/site"), exchange.Refused, "is asked for")
		w.refused(t, w.ask(nil, "acme/site", "acme/lib"), exchange.Refused, "acme/lib") // has no file
		testkit.Equal(t, file.asked.Load(), 1, "asked again")
		file.set(200, strings.Replace(allow, `"7"`, `"8"`, 1))
		time.Sleep(time.Minute)
		w.refused(t, w.siteRequest(), exchange.Refused, "the file of acme/site")
	})
}

func TestAFileThatIsGoneOrMakesNoSenseAllowsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		header http.Header
		stale  bool // whether the file before serves on for a while
	}{
		"gone":      {status: 404, body: allow},
		"forbidden": {status: 403, body: allow},
		"moved": {status: 301, body: allow,
			header: http.Header{"Location": {"/repos/acme/lib/contents/.github/ghapp.yaml"}}},
		"empty":        {status: 200},
		"nonsense":     {status: 200, body: "allow: everybody"},
		"unknown key":  {status: 200, body: allow + "  more: yes\n"},
		"too large":    {status: 200, body: allow + strings.Repeat("# more\n", 20_000)},
		"down":         {status: 502, stale: true},
		"rate limited": {status: 403, header: http.Header{"Retry-After": {"60"}}, stale: true},
		"too many":     {status: 429, stale: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, strings.Replace(rules, "{repositories", "{repository-file: true, repositories", 1))
				file := &served{body: allow}
				testkit.OK(t, w.github.Fault(githubtest.Fault{Match: "GET /repos/acme/site/contents/.github/ghapp.yaml",
					Handler: file}))
				testkit.OK(t, w.github.Fault(githubtest.Fault{Match: "GET /repos/acme/lib/contents/.github/ghapp.yaml",
					Handler: &served{body: allow}}))
				w.token(t, w.siteRequest())
				file.setHeader(c.status, c.body, c.header)
				time.Sleep(time.Minute)
				if !c.stale {
					w.refused(t, w.siteRequest(), exchange.Refused, "")
					return
				}
				w.token(t, w.siteRequest())
				time.Sleep(5 * time.Minute)
				w.refused(t, w.siteRequest(), exchange.Unavailable, "")
				file.setHeader(200, allow, nil)
				w.token(t, w.siteRequest())
			})
		})
	}
}

// served is a file that GitHub has.
type served struct {
	mu     sync.Mutex
	status int
	body   string
	header http.Header
	asked  atomicInt
}

type atomicInt struct{ atomic.Int64 }

func (a *atomicInt) Load() int { return int(a.Int64.Load()) }

func (s *served) set(status int, body string) { s.setHeader(status, body, nil) }

func (s *served) setHeader(status int, body string, header http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body, s.header = status, body, header
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.Add(1)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "token gh") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	maps.Copy(w.Header(), s.header)
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	_, _ = w.Write([]byte(s.body))
}

func TestNoSecretIsInWhatIsRecordedOrPrinted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		answer := w.token(t, w.siteRequest())
		w.audit.fail[audit.HandedOut] = errors.New("full")
		_, err := w.Token(t.Context(), w.siteRequest())
		said := fmt.Sprintf("%v %+v %#v %v %+v", answer, answer, answer, err, err)
		for _, record := range w.audit.list {
			said += fmt.Sprintf("%+v", record)
		}
		testkit.Lacks(t, said, answer.Token.Reveal())
	})
}

// An owner may have the same name on github.com and on an Enterprise Server.
func TestTokenOfOneHostIsNotForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules)
		r := w.siteRequest()
		r.Host = "https://ghes.example.com"
		_, err := w.Token(t.Context(), r)
		testkit.ErrorContains(t, err, "ghes.example.com")
		testkit.Equal(t, w.audit.events(), "refused")
		r.Host = "https://github.com"
		testkit.Must(w.Token(t.Context(), r))(t)
	})
}
