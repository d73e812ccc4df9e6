package ghapp_test

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
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// canary is a secret that must appear nowhere.
const canary = "ghs_canary_7WJ2cD5"

// printed is a value in all the ways in which values get printed by accident.
func printed(t testing.TB, value any) string {
	t.Helper()
	var text bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p"} {
		fmt.Fprintf(&text, verb+"\n", value)
	}
	fmt.Fprintln(&text, []any{value}, map[string]any{"key": value}, struct {
		Shown  any
		hidden any
	}{value, value})
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&text, options), slog.NewJSONHandler(&text, options)} {
		log := slog.New(handler)
		log.Info("value", "value", value, "list", []any{value}, slog.Group("group", "value", value))
	}
	if encoded, err := json.Marshal(value); err == nil {
		text.Write(encoded)
	} else {
		text.WriteString(err.Error())
	}
	if err, ok := value.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&text, "%v %+v %#v\n", err, err, err)
		}
	}
	return text.String()
}

// disguises are the forms in which a secret may stand in a text.
func disguises(secret string) []string {
	return []string{
		secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), url.QueryEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("x-access-token:" + secret)),
		secret[len(secret)/2:], // a tail is as bad
	}
}

// wantNone fails where a text holds a secret.
func wantNone(t testing.TB, where, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if len(secret) < 12 {
			t.Fatalf("%q is no secret to search for", secret)
		}
		for _, form := range disguises(secret) {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s holds a secret: …%.60s…", where, text[max(0, i-20):])
			}
		}
	}
}

func TestSecretsArePrintedNowhere(t *testing.T) {
	w := newWorld(t)
	c := w.Config(t)
	c.Transport = roundTrips(c.Transport.RoundTrip) // the stand-in itself knows its tokens
	app := testkit.Must(ghapp.New(c))(t)
	token := mustToken(t, app, site())
	jwt := testkit.Must(app.JWT(t.Context()))(t)
	source := app.TokenSource(site())
	testkit.Must(source.Token(t.Context()))(t)
	signature := jwt.Secret.Reveal()[strings.LastIndex(jwt.Secret.Reveal(), ".")+1:]
	key := testkit.Key(t)
	secrets := []string{
		token.Secret.Reveal(), jwt.Secret.Reveal(), signature,
		key.D.String(), key.Primes[0].String(), fmt.Sprintf("%x", key.D), fmt.Sprintf("%x", key.Primes[0]),
		base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)),
	}
	for name, value := range map[string]any{
		"Secret": token.Secret, "a pointer to it": &token.Secret, "Token": token, "a copy of it": *token,
		"JWT": jwt, "a copy of that": *jwt,
		"App": app, "Config": c, "a pointer to Config": &c, "Signer": c.Signer, "TokenSource": source,
		"Transport":                 &ghapp.Transport{Source: source},
		"a Token of a caller's own": ghapp.Token{Secret: token.Secret},
	} {
		wantNone(t, name, printed(t, value), secrets...)
	}
	for value, want := range map[any]string{app: "App " + app.Status().Issuer + " on github.com",
		source: "tokens for acme/site"} {
		testkit.Equal(t, fmt.Sprintf("%v|%+v|%s", value, value, value), want+"|"+want+"|"+want, "prints as")
	}
	testkit.Equal(t, fmt.Sprint(token.Secret), "[redacted]", "a secret prints as")
}

// trouble is everything that can go wrong with requests, one kind at a time.
func trouble(w *world) map[string]githubtest.Fault {
	// Hosts and proxies that show what they were sent.
	echo := fmt.Sprintf(`{"message":"you sent %s","errors":["%s"],"documentation_url":"https://x/%s"}`,
		canary, canary, canary)
	faults := map[string]githubtest.Fault{
		"reset": {Reset: true}, "cut": {CutAfter: 30}, "cut early": {CutAfter: 1}, "delay": {Delay: time.Hour},
		"html 200": {Status: 200, Body: "<html>" + canary},
		"html 502": githubtest.HTML502(""), "html 404": {Status: 404, Body: "<html>" + canary},
		"half JSON":              {Status: 201, Body: `{"token":"` + canary},
		"JSON of another shape":  {Status: 200, Body: `["` + canary + `"]`},
		"a wrong type":           {Status: 201, Body: `{"token":["` + canary + `"]}`},
		"no expiry":              {Status: 201, Body: `{"token":"` + canary + `"}`},
		"redirect":               {RedirectTo: "https://evil.example"},
		"redirect with a secret": {RedirectTo: "https://u:" + canary + "@evil.example/" + canary + "?token=" + canary},
		"redirect within":        {RedirectTo: "https://api.github.com/" + canary + "?x=" + canary},
		"redirect garbage":       {RedirectTo: "https://%zz" + canary, Status: 302},
		"secondary limit":        githubtest.SecondaryLimit("", time.Hour),
		"overgrant": {Overgrant: &githubtest.Overgrant{AllRepositories: true,
			Permissions: map[string]string{"issues": "write"}}},
		"link":            {Header: http.Header{"Link": {`<https://evil.example/` + canary + `>; rel="next"`}}},
		"link to nowhere": {Header: http.Header{"Link": {`<%zz` + canary + `>; rel="next"`}}},
	}
	for _, status := range []int{401, 403, 404, 422, 429, 500} {
		faults[fmt.Sprint(status)] = githubtest.Fault{Status: status}
		faults[fmt.Sprint(status, " that echoes")] = githubtest.Fault{Status: status, Body: echo}
	}
	return faults
}

// echoing answers with the credential that was sent where the body says canary, as
// a proxy that shows requests does.
func echoing(base http.RoundTripper) http.RoundTripper {
	return roundTrips(func(req *http.Request) (*http.Response, error) {
		answer, err := base.RoundTrip(req)
		_, secret, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		if err != nil || secret == "" {
			return answer, err
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(answer.Body); err != nil {
			return nil, err
		}
		answer.Body = readCloser{bytes.NewReader(bytes.ReplaceAll(body.Bytes(), []byte(canary), []byte(secret)))}
		for _, values := range answer.Header {
			for i := range values {
				values[i] = strings.ReplaceAll(values[i], canary, secret)
			}
		}
		return answer, nil
	})
}

func TestNoErrorAndNoLogHoldsASecret(t *testing.T) {
	testkit.Long(t)
	for name, fault := range trouble(newWorld(t)) {
		for _, match := range []string{"", "GET /users/**", githubtest.MintPattern, "DELETE /installation/token",
			"GET /installation/repositories"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.GitHub.SetTokenFormat(githubtest.Stateless)
				var log logBuffer
				app := w.Open(t, func(c *ghapp.Config) {
					c.Transport, c.Log, c.Store, c.MaxWait = echoing(w.GitHub.RoundTripper()), logTo(&log), newMemory(), time.Second
				})
				token, err := app.Token(t.Context(), site()) // before anything goes wrong
				testkit.OK(t, err)
				jwt := testkit.Must(app.JWT(t.Context()))(t)
				time.Sleep(time.Minute)
				fault.Match = match
				w.fault(t, fault)
				var errs []error
				keep := func(err error) {
					if err != nil {
						errs = append(errs, err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				_, err = app.Info(ctx)
				keep(err)
				_, err = app.FindInstallation(ctx, "acme/site")
				keep(err)
				for _, err := range app.Installations(ctx) {
					keep(err)
				}
				fresh := ghapp.TokenRequest{Repositories: []string{"acme/docs"}}
				_, err = app.Token(ctx, fresh)
				keep(err)
				_, err = app.Token(ctx, ghapp.TokenRequest{AllRepositories: true, Installation: "globex"})
				keep(err)
				for _, err := range app.Repositories(ctx, token) {
					keep(err)
				}
				client := &http.Client{Transport: &ghapp.Transport{Source: app.TokenSource(fresh),
					Base: echoing(w.GitHub.RoundTripper())}, Timeout: time.Hour}
				req := testkit.Must(http.NewRequestWithContext(ctx, http.MethodGet, theSite, nil))(t)
				if answer, err := client.Do(req); err == nil {
					answer.Body.Close()
				} else if kind := ghapp.KindOf(err); kind != "" {
					keep(err) // ours; what a stranger's address says in net/http's is the caller's
				}
				keep(app.Revoke(ctx, token))
				time.Sleep(3 * time.Hour) // whatever runs detached comes to its end

				secrets := map[string]bool{token.Secret.Reveal(): true, jwt.Secret.Reveal(): true}
				for _, minted := range w.GitHub.Tokens() {
					secrets[minted.Token] = true
				}
				for _, r := range w.GitHub.Requests() {
					if r.Credential.Kind == githubtest.JWTCredential {
						secrets[r.Credential.Token] = true
					}
				}
				where := fmt.Sprintf("%s at %q", name, match)
				var told strings.Builder
				for _, err := range errs {
					told.WriteString(printed(t, err))
					if message := err.Error(); strings.ContainsAny(message, "\n\r\x1b") || len(message) > 1500 {
						t.Errorf("%s: error %.200q is not one harmless line", where, message)
					}
				}
				if match == "" && len(errs) == 0 && fault.Overgrant == nil && fault.Header == nil &&
					fault.CutAfter == 0 && fault.Delay == 0 {
					t.Errorf("%s: no error came: this test proves nothing", where)
				}
				for secret := range secrets {
					wantNone(t, where+": an error", told.String(), secret)
					wantNone(t, where+": the log", log.String(), secret)
				}
			})
		}
	}
}

func TestSignersErrorIsTheOnlyThingOfItThatIsPrinted(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t, func(c *ghapp.Config) {
		c.Signer = &countingSigner{key: testkit.Key(t), wait: func(context.Context) error { return errors.New("no card") }}
	})
	_, err := app.Token(t.Context(), site())
	wantNone(t, "the error", printed(t, err), testkit.Key(t).D.String(), fmt.Sprintf("%x", testkit.Key(t).D))
}
