package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// proof is an identity of these tests. It asks for the audience where fixed is empty.
type proof struct {
	make func(audience string) (string, error)
	// audience of a token that is there already; empty: it can be chosen
	fixed string
	asked atomic.Int32
}

func (p *proof) Token(ctx context.Context, audience func(context.Context) (string, error)) (secret.Text, error) {
	p.asked.Add(1)
	aud := p.fixed
	if aud == "" {
		var err error
		if aud, err = audience(ctx); err != nil {
			return secret.Text{}, err
		}
	}
	text, err := p.make(aud)
	return secret.New(text), err
}

func (p *proof) Subject() string { return "subject" }

func (p *proof) String() string { return "test" }

// setUp is a broker with the key of an App on acme, and who asks it.
func setUp(t *testing.T) (*testapp.Broker, *proof, *testapp.TestApp) {
	t.Helper()
	app := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{Repositories: []string{"site", "docs"}})
	b := testapp.NewBroker(t, app.Open(t))
	return b, &proof{make: func(audience string) (string, error) { return b.JWT(t, "machine", audience), nil }}, app
}

func client(t *testing.T, c broker.Config) *broker.Client {
	t.Helper()
	return testkit.Must(broker.New(c))(t)
}

func site() ghapp.TokenRequest { return ghapp.TokenRequest{Repositories: []string{"acme/site"}} }

func kindIs(t *testing.T, err error, kind ghapp.Kind) {
	t.Helper()
	if got := ghapp.KindOf(err); got != kind {
		t.Errorf("the error is %v of the kind %q, want %q", err, got, kind)
	}
}

func TestTokenIsExchanged(t *testing.T) {
	t.Parallel()
	b, who, _ := setUp(t)
	c := client(t, broker.Config{URL: b.URL + "/", Identity: who})
	token := testkit.Must(c.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site", "acme/docs"},
		Permissions: ghapp.Permissions{"contents": "read", "metadata": "read"}, MinLife: 90 * time.Second}))(t)
	testkit.Diff(t, token.Repositories, []string{"acme/docs", "acme/site"})
	testkit.Diff(t, token.Permissions, ghapp.Permissions{"contents": "read", "metadata": "read"})
	if life := token.Life(); life < 59*time.Minute || life > time.Hour {
		t.Errorf("the token lives %s, want an hour", life)
	}
	form := b.Forms()[0]
	form.Del("subject_token")
	testkit.Diff(t, form, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"resource":             {"https://github.com/acme/site", "https://github.com/acme/docs"},
		"scope":                {"contents:read metadata:read"},
		"min_life":             {"90"},
	})
	testkit.Must(c.Token(t.Context(), site()))(t)
	testkit.Equal(t, b.Lookups(), 1, "questions for the audience")
	testkit.Equal(t, len(b.Forms()), 2, "exchanges: a client keeps nothing")
}

func TestAllRepositoriesAreAskedForByTheirOwner(t *testing.T) {
	t.Parallel()
	b, who, _ := setUp(t)
	c := client(t, broker.Config{URL: b.URL, Identity: who})
	token := testkit.Must(c.Token(t.Context(), ghapp.TokenRequest{AllRepositories: true, Installation: "acme"}))(t)
	testkit.Equal(t, len(token.Repositories), 0, "repositories named")
	testkit.Diff(t, b.Forms()[0]["resource"], []string{"https://github.com/acme"})
	for _, r := range []ghapp.TokenRequest{
		{}, {AllRepositories: true}, {AllRepositories: true, Installation: "https://x/installations/1"},
		{AllRepositories: true, Installation: "acme", Repositories: []string{"acme/site"}},
		{Repositories: []string{"acme/site"}, RepositoryIDs: []int64{1}},
		{Repositories: []string{"acme/site"}, AllPermissions: true}, {Repositories: []string{"../x"}},
	} {
		kindIs(t, testkit.ErrorOf(c.Token(t.Context(), r)), ghapp.ErrInvalid)
	}
	testkit.Equal(t, len(b.Forms()), 1, "exchanges")
}

// An App with a broker has one exchange where one with a key has a mint, and one question more.
func TestAppWithABrokerSharesWhatItGets(t *testing.T) {
	t.Parallel()
	b, who, app := setUp(t)
	open := func() *ghapp.App {
		return testkit.Must(ghapp.New(ghapp.Config{Client: ghapp.Client{Transport: app.GitHub.RoundTripper()},
			Broker: client(t, broker.Config{URL: b.URL, Identity: who})}))(t)
	}
	a := open()
	first := testkit.Must(a.Token(t.Context(), site()))(t)
	testkit.Equal(t, testkit.Must(a.Token(t.Context(), site()))(t), first, "second token")
	testkit.Equal(t, len(b.Forms()), 1, "exchanges")
	testkit.Contains(t, a.Status().Broker, b.URL, "test")
}

func TestTokenThatReachesFurtherIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(map[string]any)
		kind   ghapp.Kind
	}{
		"other repository": {func(a map[string]any) {
			a["repositories"] = []map[string]any{{"id": 2, "full_name": "acme/docs"}}
		}, ghapp.ErrTooBroad},
		"all repositories": {func(a map[string]any) { delete(a, "repositories") }, ghapp.ErrTooBroad},
		"to write": {func(a map[string]any) { a["permissions"] = map[string]string{"contents": "write"} },
			ghapp.ErrTooBroad},
		"for longer":   {func(a map[string]any) { a["expires_in"] = 7200 }, ghapp.ErrTooBroad},
		"for ever":     {func(a map[string]any) { delete(a, "expires_in") }, ghapp.ErrBrokerUnreachable},
		"no token":     {func(a map[string]any) { delete(a, "access_token") }, ghapp.ErrBrokerUnreachable},
		"other type":   {func(a map[string]any) { a["token_type"] = "N_A" }, ghapp.ErrBrokerUnreachable},
		"of its own":   {func(a map[string]any) { a["issued_token_type"] = "urn:x" }, ghapp.ErrBrokerUnreachable},
		"line breaks":  {func(a map[string]any) { a["access_token"] = "ghs_a\nusername=b" }, ghapp.ErrBrokerUnreachable},
		"a number":     {func(a map[string]any) { a["access_token"] = 7 }, ghapp.ErrBrokerUnreachable},
		"huge":         {func(a map[string]any) { a["x"] = strings.Repeat("x", 2<<20) }, ghapp.ErrBrokerUnreachable},
		"overflowing":  {func(a map[string]any) { a["expires_in"] = int64(1) << 62 }, ghapp.ErrBrokerUnreachable},
		"without name": {func(a map[string]any) { a["repositories"] = []map[string]any{{"id": 1}} }, ghapp.ErrTooBroad},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, who, app := setUp(t)
			b.Change = test.change
			c := client(t, broker.Config{URL: b.URL, Identity: who,
				GitHub: ghapp.Client{Transport: app.GitHub.RoundTripper()}})
			before := len(app.GitHub.Requests())
			token, err := c.Token(t.Context(), site())
			kindIs(t, err, test.kind)
			revoked := slices.ContainsFunc(app.GitHub.Requests()[before:], func(r githubtest.Request) bool {
				return r.Method == http.MethodDelete
			})
			testkit.Equal(t, revoked, test.kind == ghapp.ErrTooBroad, "revoked")
			if token != nil {
				t.Error("the token was handed out all the same")
			}
		})
	}
}

func answering(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestRefusalsHaveTheirKinds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		kind   ghapp.Kind
		tries  int
		says   string
	}{
		"refused": {answering(400, nil, `{"error":"invalid_grant","id":"01J"}`), ghapp.ErrBrokerRefused, 1,
			"400 invalid_grant (id 01J)"},
		"forbidden": {answering(403, nil, `{"error":"access_denied","error_description":"no\u001b[2Jrule"}`),
			ghapp.ErrBrokerRefused, 1, `access_denied no\x1b[2Jrule`},
		"no broker": {answering(404, nil, "<html>"), ghapp.ErrBrokerUnreachable, 1, "it answered 404"},
		"redirect": {answering(307, http.Header{"Location": {"https://evil.example/token"}}, ""),
			ghapp.ErrBrokerUnreachable, 1, "leads to https://evil.example"},
		"fails":   {answering(500, nil, `{"error":"server_error"}`), ghapp.ErrBrokerUnreachable, 3, "500 server_error"},
		"is busy": {answering(503, http.Header{"Retry-After": {"0"}}, ""), ghapp.ErrBrokerUnreachable, 3, "503"},
		"is limited": {answering(429, http.Header{"Retry-After": {"3600"}}, `{"error":"slow_down"}`),
			ghapp.ErrRateLimited, 1, "slow_down"},
		"says none": {answering(429, nil, ``), ghapp.ErrRateLimited, 1, "429"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, who, _ := setUp(t)
			b.Refuse = test.answer
			_, err := client(t, broker.Config{URL: b.URL, Identity: who}).Token(t.Context(), site())
			kindIs(t, err, test.kind)
			testkit.ErrorContains(t, err, test.says, b.URL)
			testkit.Equal(t, len(b.Forms()), test.tries, "attempts")
			testkit.Equal(t, int(who.asked.Load()), test.tries, "tokens of the identity, of which one may serve once")
			_, told := errors.AsType[*ghapp.RateLimitError](err)
			testkit.Equal(t, told, test.kind == ghapp.ErrRateLimited || name == "is busy", "says when to come back")
		})
	}
}

func TestBrokerThatIsAwayIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		lost := testkit.RoundTrip(func(*http.Request) (*http.Response, error) {
			tries++
			return nil, errors.New("connection reset")
		})
		who := &proof{fixed: "x", make: func(string) (string, error) { return "a.b.c", nil }}
		began := time.Now()
		_, err := client(t, broker.Config{URL: "https://broker.example", Identity: who, Transport: lost}).
			Token(t.Context(), site())
		kindIs(t, err, ghapp.ErrBrokerUnreachable)
		testkit.Equal(t, tries, 3, "attempts")
		testkit.Equal(t, time.Since(began), 1500*time.Millisecond, "waited")
		tries = 0
		_, err = client(t, broker.Config{URL: "https://broker.example", Identity: who, Transport: lost, MaxWait: -1}).
			Token(t.Context(), site())
		kindIs(t, err, ghapp.ErrBrokerUnreachable)
		testkit.Equal(t, tries, 1, "attempts where there is to be one")
	})
}

func TestBrokerOfAnUnknownAuthorityIsNotTrusted(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	serve := func(http.ResponseWriter, *http.Request) { reached.Store(true) }
	server := httptest.NewUnstartedServer(http.HandlerFunc(serve))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	who := &proof{fixed: "x", make: func(string) (string, error) { return "a.b.c", nil }}
	_, err := client(t, broker.Config{URL: server.URL, Identity: who}).Token(t.Context(), site())
	kindIs(t, err, ghapp.ErrUntrusted)
	testkit.Equal(t, reached.Load(), false, "something was sent")
}

// A broker that could name any audience would get a token with which it is whoever asks it,
// elsewhere.
func TestBrokerNamesNoAudienceButItsOwn(t *testing.T) {
	t.Parallel()
	for _, audience := range []string{"sts.amazonaws.com", "https://vault.example.com", "",
		"https://broker.example@evil.example", "https://broker.example.evil.example", "ftp://broker.example"} {
		said := testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
			testkit.Equal(t, r.URL.Path, "/.well-known/ghapp", "what is asked")
			w := httptest.NewRecorder()
			fmt.Fprintf(w, `{"audience":%q}`, audience)
			return w.Result(), nil
		})
		who := &proof{make: func(string) (string, error) { return "", errors.New("a token was made") }}
		_, err := client(t, broker.Config{URL: "https://broker.example", Identity: who, Transport: said}).
			Token(t.Context(), site())
		kindIs(t, err, ghapp.ErrBrokerUnreachable)
		testkit.ErrorContains(t, err, "audience")
	}
	b, who, _ := setUp(t)
	_, err := client(t, broker.Config{URL: b.URL, Identity: who, Audience: "configured"}).Token(t.Context(), site())
	kindIs(t, err, ghapp.ErrBrokerRefused)
	testkit.Equal(t, b.Lookups(), 0, "questions for the audience")
}

func TestIdentityThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	b, _, _ := setUp(t)
	who := &proof{fixed: "x", make: func(string) (string, error) { return "", errors.New("GHAPP_ID_TOKEN is not set") }}
	_, err := client(t, broker.Config{URL: b.URL, Identity: who}).Token(t.Context(), site())
	kindIs(t, err, ghapp.ErrIdentity)
	testkit.ErrorContains(t, err, "GHAPP_ID_TOKEN is not set", "(test)")
	testkit.Equal(t, len(b.Forms()), 0, "exchanges")
}

func TestAddressOfABrokerIsChecked(t *testing.T) {
	t.Parallel()
	who := &proof{}
	for _, bad := range []string{"", "broker.example", "http://broker.example", "https://", "ftp://broker.example",
		"https://a:b@broker.example", "https://broker.example?x=hunter2", "https://broker.example#x", "https:broker",
		"https://br\u043eker.example", "https://broker.example:x"} {
		_, err := broker.New(broker.Config{URL: bad, Identity: who})
		kindIs(t, err, ghapp.ErrInvalid)
		testkit.Lacks(t, err.Error(), "hunter2", "a:b")
	}
	kindIs(t, testkit.ErrorOf(broker.New(broker.Config{URL: "https://broker.example"})), ghapp.ErrInvalid)
	c := broker.Config{URL: "https://broker.example", Identity: who,
		GitHub: ghapp.Client{Host: "http://x.example"}}
	kindIs(t, testkit.ErrorOf(broker.New(c)), ghapp.ErrInvalid)
	for good, want := range map[string]string{
		"https://Broker.Example:443/": "https://broker.example", "https://x.example/ghapp/": "https://x.example/ghapp",
		"http://127.0.0.1:8080": "http://127.0.0.1:8080",
	} {
		testkit.Equal(t, testkit.Must(broker.ParseURL(good))(t).String(), want, good)
	}
}

// Whatever goes wrong, and whoever repeats it: neither token is in an error or a log.
func TestTokensAreInNoError(t *testing.T) {
	t.Parallel()
	const identityCanary, tokenCanary = "eyJcanary.identity.token+/", "ghs_canaryaccesstoken"
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		w.Header().Set("Location", "https://x/"+r.PostForm.Get("subject_token"))
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"error":%q,"error_description":%q,"id":"x"}`, r.PostForm.Get("subject_token"),
			url.QueryEscape(r.PostForm.Get("subject_token")))
	}
	handlers := map[string]http.HandlerFunc{
		"echo":    echo,
		"cut":     answering(200, http.Header{"Content-Length": {"9999"}}, `{"access_token":"`+tokenCanary+`"`),
		"no JSON": answering(200, nil, `{"access_token":"`+tokenCanary+`",`),
		"wrong":   answering(200, nil, `{"access_token":"`+tokenCanary+`","expires_in":"x"}`),
		"untyped": answering(200, nil, `{"access_token":"`+tokenCanary+`","expires_in":60}`),
	}
	for name, handler := range handlers {
		b, who, app := setUp(t)
		b.Refuse = handler
		who.make = func(string) (string, error) { return identityCanary, nil }
		var logged bytes.Buffer
		log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c := client(t, broker.Config{URL: b.URL, Identity: who, MaxWait: -1})
		github := ghapp.Client{Transport: app.GitHub.RoundTripper(), Log: log}
		a := testkit.Must(ghapp.New(ghapp.Config{Client: github, Broker: c}))(t)
		_, err := a.Token(t.Context(), site())
		testkit.Fails(t, err, name)
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), logged.String(), c.String(), c.Subject(),
			fmt.Sprintf("%+v", a)} {
			testkit.Lacks(t, text, "canary")
		}
		testkit.Equal(t, b.Forms()[0].Get("subject_token"), identityCanary,
			"what was sent, or this test proves nothing")
	}
}
