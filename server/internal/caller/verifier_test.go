package caller_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

const audience = "https://ghapp.example.com"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// serve gives an issuer an address, and returns how it is listed.
func serve(t *testing.T, issuer *githubtest.Issuer) caller.Issuer {
	server := httptest.NewTLSServer(issuer)
	t.Cleanup(server.Close)
	issuer.SetURL(server.URL)
	file := filepath.Join(t.TempDir(), "ca.pem")
	testkit.OK(t, os.WriteFile(file, pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return caller.Issuer{URL: server.URL, CAFile: file, Addresses: loopback}
}

func verifier(t *testing.T, issuers ...caller.Issuer) *caller.Verifier {
	return testkit.Must(caller.New(caller.Config{Audience: audience, Issuers: issuers}))(t)
}

func verify(t *testing.T, v *caller.Verifier, token string) (caller.Caller, error) {
	return v.Verify(t.Context(), secret.New(token))
}

func TestTokenOfAListedIssuerIsTaken(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	v := verifier(t, serve(t, issuer))
	claims := githubtest.Workflow{Immutable: true}.Claims(audience)
	c := testkit.Must(verify(t, v, issuer.Token(claims)))(t)
	testkit.Equal(t, c.Issuer, issuer.URL())
	testkit.Equal(t, c.Subject, "repo:acme@1000001/site@400000001:ref:refs/heads/main")
	testkit.Equal(t, c.Claims["repository_id"], any("400000001"))
	testkit.Equal(t, c.ID, "00000000-0000-4000-8000-000000000001")
	if left := time.Until(c.Expires); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("it ends in %v", left)
	}
	testkit.Must(verify(t, v, issuer.Token(githubtest.ServiceAccount{}.Claims(audience))))(t)
	testkit.Equal(t, issuer.RequestsTo(githubtest.KeysPath), 1, "the keys are remembered")
}

func TestTokenThatIsSignedWithECDSAIsTaken(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	issuer.Rotate(githubtest.ES256)
	v := verifier(t, serve(t, issuer))
	testkit.Must(verify(t, v, issuer.Token(githubtest.GitLabJob{}.Claims(audience))))(t)
}

// Case 3.
func TestAudienceIsOursToTheLetterAndOursAlone(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	v := verifier(t, serve(t, issuer))
	claims := githubtest.Workflow{}.Claims(audience)
	for name, aud := range map[string]any{
		"another":          "https://other.example.com",
		"an extra member":  []string{audience, "https://other.example.com"},
		"twice":            []string{audience, audience},
		"missing":          nil,
		"no member":        []string{},
		"another case":     "https://GHAPP.example.com",
		"a slash":          audience + "/",
		"a blank":          audience + " ",
		"empty":            "",
		"a number":         1,
		"an object":        map[string]any{audience: true},
		"a list in a list": []any{[]string{audience}},
	} {
		claims["aud"] = aud
		_, err := verify(t, v, issuer.Token(claims))
		testkit.ErrorAs[*caller.Refused](t, err)
		if !strings.Contains(err.Error(), "audience") {
			t.Errorf("%s: %v", name, err)
		}
	}
	testkit.Equal(t, issuer.RequestsTo(githubtest.KeysPath), 0, "what is wrong at sight is not worth a request")
	claims["aud"] = []string{audience}
	testkit.Must(verify(t, v, issuer.Token(claims)))(t)
}

func TestTokenOfAnotherTimeIsRefused(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	v := verifier(t, serve(t, issuer))
	now := time.Now()
	for name, tt := range map[string]struct {
		claim string
		value any
		taken bool
	}{
		"ended, within the leeway": {"exp", now.Add(-20 * time.Second).Unix(), true},
		"ended":                    {"exp", now.Add(-40 * time.Second).Unix(), false},
		"endless":                  {"exp", nil, false},
		"an end that is text":      {"exp", "2030-01-01", false},
		"an end beyond numbers":    {"exp", 1e300, false},
		"early, within the leeway": {"nbf", now.Add(20 * time.Second).Unix(), true},
		"early":                    {"nbf", now.Add(40 * time.Second).Unix(), false},
		"issued later":             {"iat", now.Add(40 * time.Second).Unix(), false},
		"a time before all times":  {"iat", -1, false},
		"no subject":               {"sub", nil, false},
		"an empty subject":         {"sub", "", false},
		"a subject of two lines":   {"sub", "repo:acme/site\n", false},
		"an ID that is a number":   {"jti", 1, false},
	} {
		claims := githubtest.Workflow{}.Claims(audience)
		claims[tt.claim] = tt.value
		_, err := verify(t, v, issuer.Token(claims))
		if tt.taken {
			testkit.OK(t, err, "%s", name)
			continue
		}
		if _, refused := errors.AsType[*caller.Refused](err); !refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Case 29, of tokens.
func TestForgedTokenIsRefused(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	v := verifier(t, serve(t, issuer))
	claims := githubtest.Workflow{}.Claims(audience)
	genuine := issuer.Token(claims)
	testkit.Must(verify(t, v, genuine))(t)
	parts := strings.Split(genuine, ".")
	other := strings.Split(issuer.Token(githubtest.Workflow{Repository: "acme/other"}.Claims(audience)), ".")
	for name, token := range map[string]string{
		"unsigned":                  issuer.Forge(githubtest.Unsigned, claims),
		"HS256 with the public key": issuer.Forge(githubtest.PublicKeyAsHMAC, claims),
		"an unknown key":            issuer.Forge(githubtest.UnknownKey, claims),
		"a key of another's":        issuer.Forge(githubtest.OtherKey, claims),
		"claims of another":         parts[0] + "." + other[1] + "." + parts[2],
		"no signature":              parts[0] + "." + parts[1] + ".",
		"the JSON form": `{"protected":"` + parts[0] + `","payload":"` + parts[1] +
			`","signature":"` + parts[2] + `"}`,
		"four segments": genuine + ".x",
		"too long":      genuine + strings.Repeat("A", 20<<10),
		"nothing":       "",
	} {
		_, err := verify(t, v, token)
		if _, refused := errors.AsType[*caller.Refused](err); !refused {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range parts[1:] {
			testkit.Lacks(t, err.Error(), part)
		}
	}
}

// Case 29: one refresh in an interval.
func TestFloodOfUnknownKeysAsksTheIssuerOnce(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	v := verifier(t, serve(t, issuer))
	claims := githubtest.Workflow{}.Claims(audience)
	for range 100 {
		_, err := verify(t, v, issuer.Forge(githubtest.UnknownKey, claims))
		testkit.ErrorAs[*caller.Refused](t, err)
	}
	testkit.Equal(t, issuer.RequestsTo(githubtest.KeysPath), 1)
	testkit.Must(verify(t, v, issuer.Token(claims)))(t)
}

// Case 27. It changes the resolver of the process, so it is not parallel.
func TestIssuerThatIsNotListedCausesNoLookUpAndNoConnection(t *testing.T) {
	was := net.DefaultResolver
	var lookUps atomic.Int32
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: countingDial(&lookUps)}
	defer func() { net.DefaultResolver = was }()

	listed, stranger := githubtest.NewIssuer(), githubtest.NewIssuer()
	v := verifier(t, serve(t, listed))
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(stranger)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	for _, url := range []string{
		server.URL, "https://stranger.example.com", strings.ToUpper(listed.URL()), listed.URL() + "/",
		listed.URL() + "?", listed.URL() + "#", strings.Replace(listed.URL(), "https://", "https://u:p@", 1),
		strings.Replace(listed.URL(), "127.0.0.1", "127.1", 1), "https://bücher.example", "https://ghapp.example.com.",
		strings.Replace(listed.URL(), "https:", "http:", 1), "accounts.google.com", "",
	} {
		stranger.SetURL(url)
		_, err := verify(t, v, stranger.Token(githubtest.Workflow{}.Claims(audience)))
		testkit.ErrorAs[*caller.Refused](t, err)
		testkit.ErrorContains(t, err, "not listed")
	}
	testkit.Equal(t, connections.Load(), 0)
	testkit.Equal(t, lookUps.Load(), 0)
	testkit.Equal(t, listed.RequestsTo(githubtest.ConfigurationPath), 0)
}

// Case 27, of the configuration.
func TestIssuersThatCanBeSpelledInSeveralWaysAreNoneToList(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "x", "//issuer.example.com", "https://", "https:issuer.example.com",
		"https://user@issuer.example.com", "https://user:password@issuer.example.com",
		"https://issuer.example.com?", "https://issuer.example.com?a=b", "https://issuer.example.com#",
		"https://issuer.example.com#a",
		"https://issuer.example.com.", "https://Issuer.example.com", "HTTPS://issuer.example.com",
		"https://issuer.example.com:", "https://issuer.example.com:443",
		"https://bücher.example", "https://issuer_1.example.com", "https://-a.example.com", "https://a..example.com",
		"https://127.0.0.1", "https://10.0.0.1", "https://169.254.169.254", "https://[::1]", "https://[::ffff:8.8.8.8]",
		"https://[fe80::1%25eth0]", "https://2130706433", "https://0x7f.1", "https://127.1",
		"http://issuer.example.com", "http://8.8.8.8", "ftp://issuer.example.com",
		"https://issuer.example.com/a/../b", "https://issuer.example.com//a", "https://issuer.example.com/%61",
		"https://issuer.example.com/a b", "https://issuer.example.com/\x00", `https://issuer.example.com\@other.example.com`,
	} {
		_, err := caller.New(caller.Config{Audience: audience, Issuers: []caller.Issuer{{URL: url}}})
		testkit.Fails(t, err, "%q", url)
		_, err = caller.New(caller.Config{Audience: audience,
			Issuers: []caller.Issuer{{URL: "https://issuer.example.com", KeysURL: url}}})
		if url != "" {
			testkit.Fails(t, err, "keys at %q", url)
		}
	}
	for _, url := range []string{
		"https://token.actions.githubusercontent.com", "https://gitlab.example.com:8443", "https://tenant.auth0.com/",
		"https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE", "https://8.8.8.8",
		"https://xn--bcher-kva.example", "https://kubernetes.default.svc.cluster.local",
		"https://ghes.example.com/_services/token",
	} {
		_, err := caller.New(caller.Config{Audience: audience, Issuers: []caller.Issuer{{URL: url}}})
		testkit.OK(t, err, "%q", url)
	}
}

func TestNobodyIsBelievedByDefault(t *testing.T) {
	t.Parallel()
	listed := caller.Issuer{URL: "https://issuer.example.com"}
	for name, c := range map[string]caller.Config{
		"no audience": {Issuers: []caller.Issuer{listed}},
		"no issuer":   {Audience: audience},
		"twice":       {Audience: audience, Issuers: []caller.Issuer{listed, listed}},
		"no file": {Audience: audience, Issuers: []caller.Issuer{
			{URL: listed.URL, CAFile: filepath.Join(t.TempDir(), "absent")},
		}},
	} {
		testkit.Fails(t, testkit.ErrorOf(caller.New(c)), "%s", name)
	}
}

// Case 28: what a name leads to counts when it is dialed.
func TestNameThatLeadsToAPrivateAddressIsNotDialed(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	server := httptest.NewServer(issuer)
	defer server.Close()
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	issuer.SetURL(url)
	token := issuer.Token(githubtest.Workflow{}.Claims(audience))
	_, err := verify(t, verifier(t, caller.Issuer{URL: url}), token)
	testkit.ErrorIs(t, err, caller.ErrIssuerUnreachable)
	testkit.ErrorContains(t, err, "is no address on the internet")
	testkit.Equal(t, issuer.RequestsTo(githubtest.ConfigurationPath), 0)
	testkit.Must(verify(t, verifier(t, caller.Issuer{URL: url, Addresses: loopback}), token))(t)
}

// Cases 28 and 29, of what an issuer answers.
func TestHostileIssuerIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := githubtest.NewIssuer()
	other := serve(t, elsewhere)
	for name, tt := range map[string]struct {
		fault githubtest.IssuerFault
		says  string
	}{
		"another issuer": {githubtest.IssuerFault{Issuer: "https://other.example.com"}, "of another issuer"},
		"a redirect":     {githubtest.IssuerFault{RedirectTo: other.URL}, "redirects are not followed"},
		"a redirect of the keys": {githubtest.IssuerFault{Path: githubtest.KeysPath, RedirectTo: other.URL},
			"redirects are not followed"},
		"keys on another host":         {githubtest.IssuerFault{KeysURL: other.URL + githubtest.KeysPath}, "another host"},
		"keys at the metadata service": {githubtest.IssuerFault{KeysURL: "https://169.254.169.254/jwks"}, "jwks_uri"},
		"keys in a file":               {githubtest.IssuerFault{KeysURL: "file:///etc/passwd"}, "jwks_uri"},
		"an endless document":          {githubtest.IssuerFault{Endless: true}, "more than"},
		"endless keys":                 {githubtest.IssuerFault{Path: githubtest.KeysPath, Endless: true}, "more than"},
		"a compressed bomb":            {githubtest.IssuerFault{Compressed: true}, "compressed"},
		"ten thousand keys":            {githubtest.IssuerFault{MoreKeys: 10_000}, "more than"},
		"two hundred keys":             {githubtest.IssuerFault{MoreKeys: 200}, "at most 100"},
		"down":                         {githubtest.IssuerFault{Status: 503}, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := githubtest.NewIssuer()
			listed := serve(t, issuer)
			issuer.SetFault(tt.fault)
			_, err := verify(t, verifier(t, listed), issuer.Token(githubtest.Workflow{}.Claims(audience)))
			testkit.ErrorIs(t, err, caller.ErrIssuerUnreachable)
			testkit.ErrorContains(t, err, tt.says)
			testkit.Equal(t, elsewhere.RequestsTo(githubtest.KeysPath), 0, "requests elsewhere")
		})
	}
}

func TestKeysOnAnotherHostAreTakenWhereTheyAreNamed(t *testing.T) {
	t.Parallel()
	issuer, keys := githubtest.NewIssuer(), httptest.NewUnstartedServer(nil)
	keys.Config.Handler = issuer
	keys.Start()
	defer keys.Close()
	issuer.SetURL("https://accounts.example.com")
	v := verifier(t, caller.Issuer{
		URL: issuer.URL(), KeysURL: keys.URL + githubtest.KeysPath, Addresses: loopback,
	})
	testkit.Must(verify(t, v, issuer.Token(githubtest.Workflow{}.Claims(audience))))(t)
	testkit.Equal(t, issuer.RequestsTo(githubtest.ConfigurationPath), 0)
}

func TestAuthorityOfAnIssuersCertificateIsTheOneThatIsNamed(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	listed := serve(t, issuer)
	listed.CAFile = ""
	_, err := verify(t, verifier(t, listed), issuer.Token(githubtest.Workflow{}.Claims(audience)))
	testkit.ErrorIs(t, err, caller.ErrIssuerUnreachable)
	testkit.ErrorAs[x509.UnknownAuthorityError](t, err)
}

// countingDial is how a resolver asks its servers, which none here may do.
func countingDial(count *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		count.Add(1)
		return nil, errors.New("no name is to be looked up")
	}
}

// A claim that is there twice is one thing to one reader and another to the next.
func TestClaimThatIsThereTwiceIsRefused(t *testing.T) {
	t.Parallel()
	issuer := githubtest.NewIssuer()
	v := verifier(t, serve(t, issuer))
	for _, claims := range []string{
		`"aud":"https://other.example.com","aud":"` + audience + `"`, `"aud":"` + audience + `","a":{"b":1,"b":2}`,
		`"\u0061ud":"https://other.example.com","aud":"` + audience + `"`, `"aud":"` + audience + `","a":[{"b":[],"b":2}]`,
	} {
		middle := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil,
			`{"iss":%q,"sub":"s","exp":%d,%s}`, issuer.URL(), time.Now().Add(time.Minute).Unix(), claims))
		_, err := verify(t, v, "e30."+middle+".e30")
		testkit.ErrorContains(t, err, "twice")
	}
}
