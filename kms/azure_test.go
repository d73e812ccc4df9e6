package kms_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const (
	azureHost   = "apps.vault.azure.net"
	azureLogin  = "login.microsoftonline.com"
	azureTenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	azureURI    = "azurekms://" + azureHost + "/app"
)

// azureVault stands in for Microsoft Entra ID and for a Key Vault. A request without a
// token is answered with a challenge that names the tenant and the resource, and the
// token with the client's secret,
// https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses.
type azureVault struct {
	w              *world
	client, secret string
	token          string

	mu       sync.Mutex
	keys     map[string][]*azureHeld // the versions, the newest last
	resource string
	refuse   string // what Entra ID says instead of a token
	status   int    // of every answer of the vault, if it is not 0
	code     string
	inner    string
	asked    []string
}

type azureHeld struct {
	kind string
	ops  []string
	key  *rsa.PrivateKey
}

func newAzure(w *world) *azureVault {
	a := &azureVault{
		w: w, client: "00001111-aaaa-2222-bbbb-3333cccc4444", secret: w.secret("Azr8Q~canary.client.secret.canary"),
		token: w.secret("opaque-azure-access-token-canary"), resource: "https://vault.azure.net",
		keys: map[string][]*azureHeld{"app": {{"RSA", []string{"sign", "verify"}, appKey()}}},
	}
	w.environ["AZURE_TENANT_ID"], w.environ["AZURE_CLIENT_ID"], w.environ["AZURE_CLIENT_SECRET"] = azureTenant,
		a.client, a.secret
	w.host(azureLogin, http.HandlerFunc(a.serveLogin))
	w.host(azureHost, a)
	return a
}

// serveLogin is Entra ID's discovery, and the client credentials grant of
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
func (a *azureVault) serveLogin(out http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	base := "https://" + azureLogin + "/" + azureTenant
	switch {
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		_ = json.NewEncoder(out).Encode(map[string]any{
			"tenant_discovery_endpoint": base + "/v2.0/.well-known/openid-configuration",
			"metadata": []any{map[string]any{"preferred_network": azureLogin,
				"preferred_cache": "login.windows.net", "aliases": []string{azureLogin}}},
		})
	case !strings.HasPrefix(r.URL.Path, "/"+azureTenant+"/"):
		out.WriteHeader(400)
		_ = json.NewEncoder(out).Encode(map[string]any{"error": "invalid_tenant",
			"error_description": "AADSTS90002: Tenant not found."})
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		_ = json.NewEncoder(out).Encode(map[string]any{
			"authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"token_endpoint":         base + "/oauth2/v2.0/token", "issuer": base + "/v2.0",
		})
	case r.Method == http.MethodPost && r.URL.Path == "/"+azureTenant+"/oauth2/v2.0/token":
		refuse := func(status int, code, text string) {
			out.WriteHeader(status)
			_ = json.NewEncoder(out).Encode(map[string]any{"error": code, "error_description": text})
		}
		switch {
		case a.refuse != "":
			refuse(400, "unauthorized_client", a.refuse)
		case r.FormValue("grant_type") != "client_credentials" ||
			!strings.HasPrefix(r.FormValue("scope"), a.resource+"/.default"):
			refuse(400, "invalid_scope", "not a scope of this test: "+r.FormValue("scope"))
		case r.FormValue("client_id") != a.client:
			refuse(400, "unauthorized_client", "AADSTS700016: Application with identifier was not found in the directory.")
		case r.FormValue("client_secret") != a.secret:
			refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
		default:
			_ = json.NewEncoder(out).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599,
				"ext_expires_in": 3599, "access_token": a.token})
		}
	default:
		http.NotFound(out, r)
	}
}

func (a *azureVault) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	out.Header().Set("Content-Type", "application/json; charset=utf-8")
	refuse := func(status int, code, inner, text string) {
		out.WriteHeader(status)
		said := map[string]any{"code": code, "message": text + "\r\nCaller: appid=1;oid=2\r\nVault: apps;location=westeurope"}
		if inner != "" {
			said["innererror"] = map[string]any{"code": inner}
		}
		_ = json.NewEncoder(out).Encode(map[string]any{"error": said})
	}
	if r.Header.Get("Authorization") != "Bearer "+a.token {
		out.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="%s"`,
			azureLogin, azureTenant, a.resource))
		if r.Header.Get("Authorization") == "" && len(body) > 0 {
			refuse(400, "BadParameter", "", "a request without a token has no body: what is in it is for those who have one")
			return
		}
		refuse(401, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.")
		return
	}
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	if a.status != 0 {
		refuse(a.status, a.code, a.inner, "it is not to be")
		return
	}
	if version := r.URL.Query().Get("api-version"); !regexp.MustCompile(
		`^(7\.[4-6]|202\d-\d\d-\d\d)$`).MatchString(version) {
		refuse(400, "BadParameter", "", "api-version is missing")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 2 || parts[0] != "keys" {
		refuse(404, "NotFound", "", "there is nothing")
		return
	}
	name := parts[1]
	versions := a.keys[name]
	if r.Method == http.MethodPut && len(parts) == 2 {
		a.importKey(out, refuse, name, body)
		return
	}
	at := len(versions)
	operation := ""
	for _, part := range parts[2:] {
		if _, err := fmt.Sscanf(part, "v%d", &at); err != nil {
			operation = part
		}
	}
	if at < 1 || at > len(versions) {
		refuse(404, "KeyNotFound", "", "A key with (name/id) "+name+" was not found in this key vault. "+
			"If you recently deleted this key you may be able to recover it using the correct recovery command.")
		return
	}
	held := versions[at-1]
	id := fmt.Sprintf("https://%s/keys/%s/v%d", azureHost, name, at)
	switch {
	case operation == "" && r.Method == http.MethodGet:
		_ = json.NewEncoder(out).Encode(map[string]any{"key": held.jwk(id), "attributes": map[string]any{"enabled": true}})
	case operation == "sign" && r.Method == http.MethodPost:
		var in struct{ Alg, Value string }
		_ = json.Unmarshal(body, &in)
		digest, err := base64.RawURLEncoding.DecodeString(in.Value)
		switch {
		case !slices.Contains(held.ops, "sign"):
			refuse(403, "Forbidden", "KeyOperationForbidden", "Operation sign is not permitted on this key.")
		case held.key == nil || in.Alg != "RS256":
			refuse(400, "BadParameter", "", "Key and signing algorithm are incompatible. Key https://… is of type '"+held.kind+
				"', and algorithm '"+in.Alg+"' can only be used with a key of type 'RSA' or 'RSA-HSM'.")
		case err != nil || len(digest) != 32:
			refuse(400, "BadParameter", "", "Property \"value\" has an invalid length.")
		default:
			signature, err := signDigest(held.key, digest)
			if err != nil {
				panic(err)
			}
			_ = json.NewEncoder(out).Encode(map[string]any{"kid": id, "value": base64.RawURLEncoding.EncodeToString(signature)})
		}
	default:
		refuse(405, "MethodNotAllowed", "", "there is no such operation")
	}
}

func (h *azureHeld) jwk(id string) map[string]any {
	jwk := map[string]any{"kid": id, "kty": h.kind, "key_ops": h.ops}
	if h.key != nil {
		jwk["n"], jwk["e"] = base64.RawURLEncoding.EncodeToString(h.key.N.Bytes()), "AQAB"
	} else {
		jwk["crv"], jwk["x"], jwk["y"] = "P-256", base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
			base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	}
	return jwk
}

// importKey puts a key together from its JSON Web Key (RFC 7518 section 6.3.2).
func (a *azureVault) importKey(out http.ResponseWriter,
	refuse func(int, string, string, string), name string, body []byte) {
	var in struct {
		Key struct {
			Kty                       string
			KeyOps                    []string `json:"key_ops"`
			N, E, D, P, Q, Dp, Dq, Qi string
		}
		Attributes struct{ Exportable bool }
	}
	number := func(text string) *big.Int {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(raw)
	}
	err := json.Unmarshal(body, &in)
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number(in.Key.N), E: int(number(in.Key.E).Int64())},
		D: number(in.Key.D), Primes: []*big.Int{number(in.Key.P), number(in.Key.Q)}}
	if err == nil {
		err = key.Validate()
	}
	if err == nil {
		key.Precompute()
		if key.Precomputed.Dp.Cmp(number(in.Key.Dp)) != 0 || key.Precomputed.Dq.Cmp(number(in.Key.Dq)) != 0 ||
			key.Precomputed.Qinv.Cmp(number(in.Key.Qi)) != 0 {
			err = fmt.Errorf("its numbers do not belong together")
		}
	}
	if err != nil || in.Key.Kty != "RSA" || in.Attributes.Exportable {
		refuse(400, "BadParameter", "", fmt.Sprintf("Invalid key: %v", err))
		return
	}
	held := &azureHeld{in.Key.Kty, in.Key.KeyOps, key}
	a.keys[name] = append(a.keys[name], held)
	_ = json.NewEncoder(out).Encode(map[string]any{"key": held.jwk("https://" + azureHost + "/keys/" + name + "/v1")})
}

func TestAzure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := newAzure(w)
	for _, uri := range []string{azureURI, "azurekms:name=app;vault=apps",
		"azurekms:name=app;vault=apps;environment=public", azureURI + "/v1", "azurekms:name=app;vault=apps?version=v1"} {
		a.asked = nil
		w.holds(uri, appKey())
		testkit.Equal(t, len(a.asked), 2, "%s: the vault was asked for %q", uri, a.asked)
	}
	a.keys["app"] = append(a.keys["app"], &azureHeld{"RSA-HSM", []string{"sign"}, otherKey()})
	w.holds(azureURI, otherKey())
	w.holds(azureURI+"/v1", appKey())
	if got := w.connections(); !slices.Equal(got, []string{azureHost, azureLogin}) {
		t.Errorf("there were connections to %v", got)
	}
	// The client's secret in the URI, as step-kms has it.
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"} {
		delete(w.environ, name)
	}
	w.holds(fmt.Sprintf("azurekms:name=app;vault=apps;tenant-id=%s;client-id=%s;client-secret=%s", azureTenant,
		a.client, a.secret), otherKey())
}

func TestAzureBadDays(t *testing.T) {
	t.Parallel()
	for _, c := range casesOf(t, func(w *world) []badCase {
		a := newAzure(w)
		held := a.keys["app"][0]
		is := func(change func()) func() string { return func() string { change(); return "" } }
		names := func(uri string) func() string { return func() string { return uri } }
		says := func(status int, code, inner string) func() string {
			return is(func() { a.status, a.code, a.inner = status, code, inner })
		}
		return append(w.generally(azureHost), []badCase{
			{name: "wrong secret", kind: "denied", text: "401 AADSTS7000215",
				set: is(func() { w.environ["AZURE_CLIENT_SECRET"] = w.secret("another-client-secret-canary") })},
			{name: "unknown client", kind: "denied", text: "no token",
				set: is(func() { w.environ["AZURE_CLIENT_ID"] = "00000000-0000-0000-0000-000000000000" })},
			{name: "no credentials", kind: "denied", text: "az login", set: is(func() {
				for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"} {
					delete(w.environ, name)
				}
			})},
			{name: "another tenant", kind: "denied", text: "another tenant than that of " + azureHost,
				set: is(func() { w.environ["AZURE_TENANT_ID"] = "00000000-0000-0000-0000-000000000000" })},
			{name: "revoked client", kind: "denied", text: "no token",
				set: is(func() { a.refuse = "AADSTS700082: it has expired" })},
			{name: "token endpoint busy", kind: "unavailable", text: "503",
				set: is(func() { w.host(azureLogin, replies(503, "{}", "Content-Type", "application/json")) })},
			{name: "token endpoint down", kind: "unavailable", text: azureLogin, set: is(func() { w.host(azureLogin, nil) })},
			{name: "token endpoint slow", kind: "timeout", ask: slowly(w), set: is(func() { w.host(azureLogin, slow()) })},
			{name: "a token that is not taken", kind: "denied", set: is(func() { w.host(azureLogin, loginWith(a, "old")) })},
			{name: "a challenge for another's token", kind: "failed", text: "challenge",
				set: is(func() { a.resource = "https://evil.example" })},
			{name: "no right", kind: "denied", text: "ForbiddenByRbac", set: says(403, "Forbidden", "ForbiddenByRbac")},
			{name: "disabled", kind: "denied", text: "KeyDisabled", set: says(403, "Forbidden", "KeyDisabled")},
			{name: "no such key", kind: "not-found", text: "was not found", set: names("azurekms://" + azureHost + "/none")},
			{name: "no such version", kind: "not-found", set: names(azureURI + "/v9")},
			{name: "no such vault", kind: "unavailable", text: "none.vault.azure.net",
				set: names("azurekms:name=app;vault=none")},
			{name: "no key named", kind: "invalid-uri", text: "names no key", set: names("azurekms:vault=apps")},
			{name: "a path for a name", kind: "invalid-uri", set: names("azurekms:name=..;vault=apps")},
			{name: "a host for a vault", kind: "invalid-uri", set: names("azurekms:name=app;vault=evil.example/")},
			{name: "a port", kind: "invalid-uri", set: names("azurekms://" + azureHost + ":8443/app")},
			{name: "another environment", kind: "invalid-uri", text: "environment",
				set: names("azurekms:name=app;vault=apps;environment=mars")},
			{name: "misspelt attribute", kind: "invalid-uri", text: "valut", set: names("azurekms:name=app;valut=apps")},
			{name: "an EC key", kind: "key-type", text: "EC", ask: w.publicKey,
				set: is(func() { held.kind, held.key = "EC", nil })},
			{name: "a key for encryption", kind: "key-type", text: "signing", ask: w.publicKey,
				set: is(func() { held.ops = []string{"encrypt", "decrypt"} })},
			{name: "a key for encryption, signing", kind: "denied", text: "KeyOperationForbidden", ask: w.signature,
				set: is(func() { held.ops = []string{"encrypt", "decrypt"} })},
			{name: "throttled", kind: "unavailable", text: "429", set: says(429, "Throttled", "")},
			{name: "internal error", kind: "unavailable", text: "500", set: says(500, "InternalServerError", "")},
			{name: "says what it was told", kind: "failed", set: is(func() {
				w.host(azureHost, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") == "" {
						a.ServeHTTP(out, r)
						return
					}
					out.Header().Set("Content-Type", "application/json")
					out.WriteHeader(400)
					_ = json.NewEncoder(out).Encode(
						map[string]any{"error": map[string]any{"code": "Strange", "message": r.Header.Get("Authorization")}})
				}))
			})},
		}...)
	}) {
		c.run(t, azureURI)
	}
}

// loginWith is Entra ID with another token.
func loginWith(a *azureVault, token string) http.Handler {
	other := &azureVault{w: a.w, client: a.client, secret: a.secret, resource: a.resource, token: token}
	return http.HandlerFunc(other.serveLogin)
}

func TestAzureImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newAzure(w)
	for uri, key := range map[string]*rsa.PrivateKey{"azurekms:name=new;vault=apps": otherKey(),
		"azurekms://" + azureHost + "/big": bigKey()} {
		if got := w.imported(uri, key); got.Error != nil {
			t.Fatal(got.Error)
		}
		w.holds(uri, key)
	}
	bad := func(uri, kind string, key any) {
		t.Helper()
		if got := w.imported(uri, key); got.Error == nil || got.Error.Kind != kind {
			t.Errorf("the error is %v; want %s", got.Error, kind)
		}
	}
	bad(azureURI, "exists", otherKey())
	bad("azurekms:name=third;vault=apps?version=v1", "invalid-uri", otherKey())
	bad("azurekms:name=third;vault=apps", "key-type", ecKey())
	w.holds(azureURI, appKey())
}
