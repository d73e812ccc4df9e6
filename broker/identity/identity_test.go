package identity_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

const whom = "https://broker.example"

// token is a JSON Web Token for an audience, as an issuer makes it.
func token(t testing.TB, subject, audience string) string {
	t.Helper()
	return testapp.JWT(t, testkit.NthKey(t, 1), map[string]any{"iss": "https://issuer.example", "sub": subject,
		"aud": audience, "exp": time.Now().Add(time.Minute).Unix()})
}

// get is the token of an identity, and whether it asked for the audience.
func get(t testing.TB, name string, o identity.Options) (text string, asked bool, err error) {
	t.Helper()
	who, err := identity.Open(name, o)
	if err != nil {
		return "", false, err
	}
	got, err := who.Token(t.Context(), func(context.Context) (string, error) {
		asked = true
		return whom, nil
	})
	return got.Reveal(), asked, err
}

// wantToken fails unless an identity gives a token for the broker, whose audience it has asked for.
func wantToken(t testing.TB, name string, o identity.Options) {
	t.Helper()
	text, asked, err := get(t, name, o)
	testkit.OK(t, err)
	testkit.Equal(t, asked, true, "asked for the audience")
	claims := testkit.Must(identity.Read(secret.New(text)))(t)
	testkit.Diff(t, claims.Audience, []string{whom})
}

// serve answers what a vendor documents, or 400 with what is wrong.
func serve(t testing.TB, answer func(r *http.Request) (string, error)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := answer(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r.Header.Get("Metadata-Flavor") != "" {
			w.Header().Set("Metadata-Flavor", "Google")
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server
}

func actions(t testing.TB) *httptest.Server {
	return serve(t, func(r *http.Request) (string, error) {
		switch {
		case r.Method != http.MethodGet, r.URL.Path != "/jobs/7/idtoken", r.URL.Query().Get("api-version") != "2.0":
			return "", fmt.Errorf("%s %s", r.Method, r.URL)
		case r.Header.Get("Authorization") != "Bearer actions-canary":
			return "", errors.New("not authorized: " + r.Header.Get("Authorization"))
		}
		return fmt.Sprintf(`{"count":1,"value":%q}`, token(t, "repo:acme/site", r.URL.Query().Get("audience"))), nil
	})
}

func TestGitHubActionsGivesATokenForTheBroker(t *testing.T) {
	t.Parallel()
	server := actions(t)
	environ := []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + server.URL + "/jobs/7/idtoken?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN=actions-canary"}
	wantToken(t, "github-actions", identity.Options{Environ: environ})
	wantToken(t, "", identity.Options{Environ: environ})

	for name, broken := range map[string][]string{
		"id-token: write": {"GITHUB_ACTIONS=true"},
		"answered 400":    {environ[0], "ACTIONS_ID_TOKEN_REQUEST_TOKEN=wrong-canary"},
		"no https URL":    {"ACTIONS_ID_TOKEN_REQUEST_URL=http://issuer.example/", environ[1]},
	} {
		_, _, err := get(t, "github-actions", identity.Options{Environ: broken})
		testkit.ErrorContains(t, err, name)
		testkit.Lacks(t, err.Error(), "canary")
	}
}

func TestGoogleIsAskedWithItsHeaderAndMustAnswerWithIt(t *testing.T) {
	t.Parallel()
	flavor := "Google"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("format") != "full" ||
			r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/identity" {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		w.Header().Set("Metadata-Flavor", flavor)
		_, _ = io.WriteString(w, token(t, "1234", r.URL.Query().Get("audience")))
	}))
	t.Cleanup(server.Close)
	// A proxy that is set for everything else is not asked.
	o := identity.Options{Environ: []string{"GCE_METADATA_HOST=" + strings.TrimPrefix(server.URL, "http://")},
		Transport: testkit.RoundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("by the proxy") })}
	wantToken(t, "gcp", o)
	flavor = ""
	_, _, err := get(t, "gcp", o)
	testkit.ErrorContains(t, err, "what answers is not")
}

func TestAppServiceOfAzureIsAskedWithItsSecret(t *testing.T) {
	t.Parallel()
	server := serve(t, func(r *http.Request) (string, error) {
		q := r.URL.Query()
		if r.Header.Get("X-IDENTITY-HEADER") != "azure-canary" || q.Get("api-version") != "2019-08-01" ||
			q.Get("client_id") != "c1" {
			return "", fmt.Errorf("%s %v", r.URL, r.Header)
		}
		return fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer"}`, token(t, "m", q.Get("resource"))), nil
	})
	environ := []string{"IDENTITY_ENDPOINT=" + server.URL, "IDENTITY_HEADER=azure-canary", "AZURE_CLIENT_ID=c1"}
	wantToken(t, "azure", identity.Options{Environ: environ})
	environ[2] = "X=y"
	_, _, err := get(t, "azure", identity.Options{Environ: environ})
	testkit.ErrorContains(t, err, "Azure answered 400")
	testkit.Lacks(t, err.Error(), "canary")
	environ[0] = "IDENTITY_ENDPOINT=http://evil.example"
	_, _, err = get(t, "azure", identity.Options{Environ: environ})
	testkit.ErrorContains(t, err, "neither https nor on this machine")
}

func TestRedirectIsNotFollowedWithTheSecret(t *testing.T) {
	t.Parallel()
	reached := false
	other := serve(t, func(*http.Request) (string, error) { reached = true; return "", nil })
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	_, _, err := get(t, "github-actions", identity.Options{Environ: []string{
		"ACTIONS_ID_TOKEN_REQUEST_URL=" + server.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=x"}})
	testkit.ErrorContains(t, err, "answered 307")
	testkit.Equal(t, reached, false, "the redirect was followed")
}

// A token that lies there is for whom it is for: nobody is asked, and it is read anew each time.
func TestGivenTokensAreReadEachTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	for _, subject := range []string{"system:serviceaccount:ci:a", "system:serviceaccount:ci:b"} {
		want := token(t, subject, whom)
		testkit.OK(t, os.WriteFile(path, []byte(want+"\n"), 0o600))
		for name, environ := range map[string][]string{
			"file:" + path: nil,
			"env:MY_TOKEN": {"MY_TOKEN=" + want},
			"gitlab":       {"GHAPP_ID_TOKEN=" + want},
			"gitlab:OTHER": {"OTHER=" + want},
			"":             {"GITLAB_CI=true", "GHAPP_ID_TOKEN=" + want},
		} {
			text, asked, err := get(t, name, identity.Options{Environ: environ})
			testkit.OK(t, err, name)
			testkit.Equal(t, text, want, name)
			testkit.Equal(t, asked, false, name)
			who := testkit.Must(identity.Open(name, identity.Options{Environ: environ}))(t)
			testkit.Contains(t, who.Subject(), subject)
		}
	}
}

func TestWhatIsNoTokenIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := testapp.JWT(t, testkit.NthKey(t, 1), map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	for text, why := range map[string]string{
		"":                                  "not set",
		"canary":                            "no JSON Web Token",
		"canary.canary.canary.canary":       "no JSON Web Token",
		"canary\nHost: x.canary.y":          "no JSON Web Token",
		"a.canary.c":                        "cannot be read",
		strings.Repeat("a", 20000) + ".b.c": "no JSON Web Token",
		old:                                 "ran out",
	} {
		_, _, err := get(t, "env:T", identity.Options{Environ: []string{"T=" + text}})
		testkit.ErrorContains(t, err, why)
		testkit.Lacks(t, err.Error(), "canary")
	}
	for name, why := range map[string]string{
		"file:" + dir:             "directory",
		"file:" + dir + "/absent": "no such file",
		"file:relative":           "absolute",
		"file:":                   "write file:/PATH",
		"env:A B":                 "name of a variable",
		"github-action":           `did you mean "github-actions"`,
		"github-actions:x":        "nothing after it",
		"spiffe":                  "SPIFFE_ENDPOINT_SOCKET is not set",
		"spiffe:tcp://1.2.3.4:5":  "not unix:///PATH",
		"nothing-like-this-thing": "there are",
	} {
		_, _, err := get(t, name, identity.Options{})
		testkit.ErrorContains(t, err, why)
	}
}

func TestOnlyWhatLeavesNoDoubtIsFound(t *testing.T) {
	t.Parallel()
	for want, environ := range map[string][]string{
		"github-actions":     {"ACTIONS_ID_TOKEN_REQUEST_URL=https://x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=y"},
		"gitlab":             {"GITLAB_CI=true", "GHAPP_ID_TOKEN=x"},
		"buildkite":          {"BUILDKITE=true", "BUILDKITE_JOB_ID=x"},
		"circleci":           {"CIRCLECI=true", "CIRCLE_OIDC_TOKEN_V2=x"},
		"azure":              {"IDENTITY_ENDPOINT=http://127.0.0.1", "IDENTITY_HEADER=x"},
		"spiffe":             {"SPIFFE_ENDPOINT_SOCKET=unix:///x"},
		"env:GHAPP_ID_TOKEN": {"GHAPP_ID_TOKEN=x"},
	} {
		testkit.Equal(t, testkit.Must(identity.Found(identity.Options{Environ: environ}))(t), want)
	}
	for why, environ := range map[string][]string{
		"nothing here":      {"HOME=/x", "ACTIONS_ID_TOKEN_REQUEST_URL=https://x"},
		"id-token: write":   {"GITHUB_ACTIONS=true"},
		"id_tokens":         {"GITLAB_CI=true"},
		"buildkite, spiffe": {"BUILDKITE=true", "BUILDKITE_JOB_ID=x", "SPIFFE_ENDPOINT_SOCKET=unix:///x"},
	} {
		testkit.ErrorContains(t, testkit.ErrorOf(identity.Found(identity.Options{Environ: environ})), why)
	}
}

// What the broker says of its audience is the broker's error, and not the identity's.
func TestErrorOfTheAudienceIsPassedOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("the broker is away")
	who := testkit.Must(identity.Open("gcp", identity.Options{}))(t)
	_, err := who.Token(t.Context(), func(context.Context) (string, error) { return "", broken })
	testkit.Equal(t, err, broken)
}

func TestSecretsOfIdentitiesAreNamed(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"github-actions": {"ACTIONS_ID_TOKEN_REQUEST_TOKEN"}, "env:X": {"X"}, "gitlab": {"GHAPP_ID_TOKEN"},
		"gitlab:Y": {"Y"}, "gcp": nil, "nothing": nil,
		"": {"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GHAPP_ID_TOKEN", "CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN",
			"IDENTITY_HEADER", "GHAPP_ID_TOKEN"},
	} {
		testkit.Diff(t, identity.Secrets(name), want)
	}
}

func FuzzClaims(f *testing.F) {
	f.Add(token(f, "s", "a"))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := identity.Read(secret.New(text))
		if err == nil && (strings.Count(text, ".") != 2 || strings.ContainsAny(text, " \r\n&=")) {
			t.Errorf("%q is taken for a token of %+v", text, claims)
		}
	})
}
