package githubtest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func newIssuer(t *testing.T) (*githubtest.Issuer, *http.Client) {
	issuer := githubtest.NewIssuer()
	server := httptest.NewTLSServer(issuer)
	t.Cleanup(server.Close)
	issuer.SetURL(server.URL)
	return issuer, server.Client()
}

func getJSON[T any](t *testing.T, client *http.Client, url string) (value T) {
	answer := testkit.Must(client.Get(url))(t)
	defer answer.Body.Close()
	testkit.Equal(t, answer.StatusCode, http.StatusOK, "%s", url)
	testkit.OK(t, json.NewDecoder(answer.Body).Decode(&value))
	return value
}

func decode(t *testing.T, segment string) []byte {
	return testkit.Must(base64.RawURLEncoding.DecodeString(segment))(t)
}

type jwk struct{ Kid, Kty, Alg, N, E, Crv, X, Y string }

// claimsOf verifies a token by what the issuer publishes, with nothing of the issuer's own code.
func claimsOf(t *testing.T, issuer *githubtest.Issuer, client *http.Client, token string) (map[string]any, error) {
	configuration := getJSON[struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}](t, client, issuer.URL()+githubtest.ConfigurationPath)
	testkit.Equal(t, configuration.Issuer, issuer.URL())
	keys := getJSON[struct{ Keys []jwk }](t, client, configuration.Keys).Keys
	parts := strings.Split(token, ".")
	testkit.Equal(t, len(parts), 3, "segments")
	var header struct{ Kid, Alg string }
	testkit.OK(t, json.Unmarshal(decode(t, parts[0]), &header))
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature := decode(t, parts[2])
	for _, key := range keys {
		if key.Kid != header.Kid || key.Alg != header.Alg || !key.verifies(t, digest[:], signature) {
			continue
		}
		var claims map[string]any
		testkit.OK(t, json.Unmarshal(decode(t, parts[1]), &claims))
		return claims, nil
	}
	return nil, errors.New("no key of the issuer's verifies it")
}

func (k jwk) verifies(t *testing.T, digest, signature []byte) bool {
	number := func(s string) *big.Int { return new(big.Int).SetBytes(decode(t, s)) }
	if k.Kty == "EC" {
		point := append(append([]byte{4}, decode(t, k.X)...), decode(t, k.Y)...)
		public := testkit.Must(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point))(t)
		return len(signature) == 64 && ecdsa.Verify(public, digest,
			new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	public := &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
	return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
}

func TestIssuersTokenIsVerifiedByItsKeySet(t *testing.T) {
	issuer, client := newIssuer(t)
	old := issuer.Token(githubtest.Workflow{}.Claims("us"))
	claims := testkit.Must(claimsOf(t, issuer, client, old))(t)
	testkit.Equal(t, claims["iss"], any(issuer.URL()))
	testkit.Equal(t, claims["sub"], any("repo:acme/site:ref:refs/heads/main"))
	issuer.Rotate(githubtest.ES256)
	testkit.Must(claimsOf(t, issuer, client, issuer.Token(nil)))(t)
	testkit.Must(claimsOf(t, issuer, client, old))(t)
	issuer.RetireKeys()
	testkit.Fails(t, testkit.ErrorOf(claimsOf(t, issuer, client, old)), "a retired key")
}

func TestForgedTokensOfAnIssuerAreNone(t *testing.T) {
	issuer, client := newIssuer(t)
	for _, how := range []githubtest.Forgery{
		githubtest.Unsigned, githubtest.PublicKeyAsHMAC, githubtest.UnknownKey, githubtest.OtherKey,
	} {
		testkit.Fails(t, testkit.ErrorOf(claimsOf(t, issuer, client, issuer.Forge(how, nil))), "%v", how)
	}
}

func TestClaimsOfCallersAreThoseOfTheirVendors(t *testing.T) {
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string // the subject
	}{
		"a push": {githubtest.Workflow{}.Claims("us"), "repo:acme/site:ref:refs/heads/main"},
		"with IDs": {githubtest.Workflow{Immutable: true}.Claims("us"),
			"repo:acme@1000001/site@400000001:ref:refs/heads/main"},
		"pull_request":   {githubtest.Workflow{Event: "pull_request"}.Claims("us"), "repo:acme/site:pull_request"},
		"an environment": {githubtest.Workflow{Environment: "a:b"}.Claims("us"), "repo:acme/site:environment:a%3Ab"},
		"GitLab":         {githubtest.GitLabJob{}.Claims("us"), "project_path:acme/site:ref_type:branch:ref:main"},
		"Buildkite": {githubtest.BuildkiteJob{Tag: "v1", Step: "s"}.Claims("us"),
			"organization:acme:pipeline:site:ref:refs/tags/v1:commit:" + strings.Repeat("0a", 20) + ":step:s"},
		"Kubernetes": {githubtest.ServiceAccount{}.Claims("us"), "system:serviceaccount:default:deployer"},
	} {
		testkit.Equal(t, tt.claims["sub"], any(tt.want), "%s", name)
	}
	called := githubtest.Workflow{Reusable: "acme/w/.github/workflows/d.yml@refs/heads/main"}.Claims("us")
	testkit.Equal(t, called["job_workflow_ref"], any("acme/w/.github/workflows/d.yml@refs/heads/main"))
	testkit.Equal(t, called["workflow_ref"], any("acme/site/.github/workflows/ci.yml@refs/heads/main"))
}

func TestJobOfActionsAsksForItsToken(t *testing.T) {
	issuer, client := newIssuer(t)
	address, bearer := issuer.ActionsJob(githubtest.Workflow{}.Claims(""))
	ask := func(address, bearer string) (status int, token string) {
		r := testkit.Must(http.NewRequest("GET", address, nil))(t)
		r.Header.Set("Authorization", "bearer "+bearer)
		answer := testkit.Must(client.Do(r))(t)
		defer answer.Body.Close()
		var body struct{ Value string }
		testkit.OK(t, json.NewDecoder(answer.Body).Decode(&body))
		return answer.StatusCode, body.Value
	}
	for address, audience := range map[string]string{
		address:                                 "https://github.com/acme",
		address + "&audience=https%3A%2F%2Fus/": "https://us/",
	} {
		_, token := ask(address, bearer)
		claims := testkit.Must(claimsOf(t, issuer, client, token))(t)
		testkit.Equal(t, claims["aud"], any(audience))
	}
	status, _ := ask(address, "another")
	testkit.Equal(t, status, http.StatusUnauthorized)
}

func TestFaultsOfAnIssuer(t *testing.T) {
	issuer, client := newIssuer(t)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Transport.(*http.Transport).DisableCompression = true
	for name, tt := range map[string]struct {
		fault  githubtest.IssuerFault
		status int
		body   string // how it begins
	}{
		"down":         {githubtest.IssuerFault{Status: 503}, 503, "Service Unavailable"},
		"a redirect":   {githubtest.IssuerFault{RedirectTo: "http://elsewhere"}, 302, ""},
		"endless":      {githubtest.IssuerFault{Endless: true}, 200, "          "},
		"a gzip bomb":  {githubtest.IssuerFault{Compressed: true}, 200, "\x1f\x8b"},
		"a drip":       {githubtest.IssuerFault{Drip: time.Hour}, 200, " "},
		"another path": {githubtest.IssuerFault{Status: 503, Path: "/other"}, 200, "{"},
		"the issuer":   {githubtest.IssuerFault{Issuer: "https://other"}, 200, "{"},
		"many keys":    {githubtest.IssuerFault{MoreKeys: 10_000}, 200, "{"},
	} {
		issuer.SetFault(tt.fault)
		answer := testkit.Must(client.Get(issuer.URL() + githubtest.KeysPath))(t)
		testkit.Equal(t, answer.StatusCode, tt.status, "%s", name)
		begin := make([]byte, len(tt.body))
		testkit.Must(io.ReadFull(answer.Body, begin))(t)
		testkit.Equal(t, string(begin), tt.body, "%s", name)
		answer.Body.Close()
	}
	testkit.Equal(t, issuer.RequestsTo(githubtest.KeysPath), 8)
}
