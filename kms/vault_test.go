package kms_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

const vaultHost = "vault.example"

// vault plays Vault: its HTTP API with tokens and what they allow. Behind it is a
// transit engine: Vault's own where KMS_TEST_TRANSIT names the program of the
// directory transit, and else a stand-in.
type vault struct {
	w      *world
	token  string
	engine http.Handler

	mu        sync.Mutex
	namespace string
	mounts    []string
	deny      map[string]bool // paths that the token may not use
	sealed    bool
	throttle  bool
	asked     []string
}

func newVault(w *world) *vault {
	v := &vault{w: w, token: w.secret("hvs.CAESIcanarycanarycanarycanary"), mounts: []string{"transit"},
		deny: map[string]bool{}, engine: newTransit(w)}
	w.environ["VAULT_ADDR"], w.environ["VAULT_TOKEN"] = "https://"+vaultHost, v.token
	w.host(vaultHost, v)
	return v
}

func (v *vault) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	refuse := func(status int, text string) { vaultError(out, status, text) }
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	v.asked = append(v.asked, r.Method+" "+path)
	switch {
	case v.sealed:
		refuse(503, "Vault is sealed")
	case v.throttle:
		refuse(429, "request path \"transit/\": rate limit quota exceeded")
	case r.Header.Get("X-Vault-Request") != "true":
		refuse(412, "missing X-Vault-Request")
	case r.Header.Get("X-Vault-Token") != v.token, v.deny[path]:
		refuse(403, "permission denied")
	case r.Header.Get("X-Vault-Namespace") != v.namespace:
		refuse(403, "permission denied")
	default:
		for _, mount := range v.mounts {
			if rest, ok := strings.CutPrefix(path, mount+"/"); ok {
				r.URL.Path = "/" + rest
				v.engine.ServeHTTP(out, r)
				return
			}
		}
		refuse(404, fmt.Sprintf("no handler for route %q. route entry not found.", path))
	}
}

func vaultError(out http.ResponseWriter, status int, text string) {
	said := []string{}
	if text != "" {
		said = append(said, text)
	}
	vaultAnswer(out, status, map[string]any{"errors": said})
}

func vaultAnswer(out http.ResponseWriter, status int, answer any) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(status)
	_ = json.NewEncoder(out).Encode(answer)
}

// do asks the engine for something, as its owner.
func (v *vault) do(method, path string, data map[string]any) map[string]any {
	v.w.t.Helper()
	body := testkit.Must(json.Marshal(data))(v.w.t)
	recorder := httptest.NewRecorder()
	v.engine.ServeHTTP(recorder, httptest.NewRequest(method, "/"+path, bytes.NewReader(body)))
	var answer struct {
		Data   map[string]any
		Errors []string
	}
	if text := recorder.Body.Bytes(); len(text) > 0 {
		testkit.OK(v.w.t, json.Unmarshal(text, &answer), "%s", text)
	}
	if recorder.Code >= 300 {
		v.w.t.Fatalf("%s %s: %d %v", method, path, recorder.Code, answer.Errors)
	}
	return answer.Data
}

// put puts a key into the engine, wrapped as its documentation has it.
func (v *vault) put(name string, key *rsa.PrivateKey, version bool) {
	v.w.t.Helper()
	block, _ := pem.Decode([]byte(v.do("GET", "wrapping_key", nil)["public_key"].(string)))
	wrapping := testkit.Must(x509.ParsePKIXPublicKey(block.Bytes))(v.w.t)
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(key))(v.w.t)
	secret := make([]byte, 32)
	rand.Read(secret)
	kwp := testkit.Must(subtle.NewKWP(secret))(v.w.t)
	second := testkit.Must(kwp.Wrap(der))(v.w.t)
	first := testkit.Must(rsa.EncryptOAEP(sha256.New(), rand.Reader, wrapping.(*rsa.PublicKey), secret, nil))(v.w.t)
	operation := "/import"
	if version {
		operation = "/import_version"
	}
	v.do("POST", "keys/"+name+operation, map[string]any{"type": fmt.Sprintf("rsa-%d", key.N.BitLen()),
		"ciphertext": base64.StdEncoding.EncodeToString(append(first, second...))})
}

// newTransit is a transit engine, below /.
func newTransit(w *world) http.Handler {
	w.t.Helper()
	if os.Getenv("KMS_TEST_TRANSIT") == "" {
		return &transit{keys: map[string]*transitKey{}}
	}
	engine := testkit.Must(vaultsOwn())(w.t)
	// The tests share the engine, of which the wrapping key takes long to make.
	own := strings.ReplaceAll(filepath.Base(w.root), "-", "")
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if kind, rest, named := strings.Cut(strings.Trim(r.URL.Path, "/"), "/"); named {
			r.URL.Path = "/" + kind + "/" + own + "_" + rest
		}
		engine.ServeHTTP(out, r)
	})
}

// vaultsOwn starts Vault's own engine; it ends with this process.
var vaultsOwn = sync.OnceValues(func() (http.Handler, error) {
	cmd := exec.Command(os.Getenv("KMS_TEST_TRANSIT"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, err
	}
	return struct {
		http.Handler
		io.Closer // kept, or the collector of garbage would close it
	}{httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: strings.TrimSpace(address)}), stdin}, nil
})

// transit stands in for the transit engine, for what ghapp asks of it:
// https://developer.hashicorp.com/vault/api-docs/secret/transit
type transit struct {
	mu   sync.Mutex
	keys map[string]*transitKey
}

type transitKey struct {
	kind     string
	versions []*rsa.PrivateKey // of RSA keys
}

func (e *transit) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var in struct {
		Type               string `json:"type"`
		Input              string `json:"input"`
		Ciphertext         string `json:"ciphertext"`
		HashAlgorithm      string `json:"hash_algorithm"`
		SignatureAlgorithm string `json:"signature_algorithm"`
		Prehashed          bool   `json:"prehashed"`
		KeyVersion         int    `json:"key_version"`
	}
	if r.Method != http.MethodGet && json.NewDecoder(r.Body).Decode(&in) != nil {
		vaultError(out, 400, "failed to parse JSON input")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	key := e.keys[parts[min(1, len(parts)-1)]]
	switch {
	case len(parts) == 1 && parts[0] == "wrapping_key" && r.Method == http.MethodGet:
		vaultAnswer(out, 200, map[string]any{"data": map[string]any{"public_key": publicPEM(&wrappingKey().PublicKey)}})
	case len(parts) == 2 && parts[0] == "keys" && r.Method == http.MethodGet && key == nil:
		vaultError(out, 404, "")
	case len(parts) == 2 && parts[0] == "keys" && r.Method == http.MethodGet:
		vaultAnswer(out, 200, map[string]any{"data": key.describe()})
	case len(parts) == 2 && parts[0] == "keys":
		e.keys[parts[1]] = &transitKey{kind: in.Type}
		vaultAnswer(out, 200, map[string]any{"data": map[string]any{}})
	case len(parts) == 3 && parts[0] == "keys" && strings.HasPrefix(parts[2], "import"):
		e.importKey(out, parts[1], parts[2] == "import_version", in.Type, in.Ciphertext)
	case len(parts) == 2 && parts[0] == "sign" && key == nil:
		vaultError(out, 400, "signing key not found")
	case len(parts) == 2 && parts[0] == "sign" && !strings.HasPrefix(key.kind, "rsa-") &&
		!strings.HasPrefix(key.kind, "ecdsa-"):
		vaultError(out, 400, "key type "+key.kind+" does not support signing")
	case len(parts) == 2 && parts[0] == "sign":
		version := in.KeyVersion
		if version == 0 {
			version = len(key.versions)
		}
		input, err := base64.StdEncoding.DecodeString(in.Input)
		if err != nil || len(input) != sha256.Size || !in.Prehashed || in.HashAlgorithm != "sha2-256" ||
			in.SignatureAlgorithm != "pkcs1v15" || version < 1 || version > len(key.versions) {
			vaultError(out, 400, "requested version for signing is higher than the latest key version, or not RS256")
			return
		}
		signature, err := signDigest(key.versions[version-1], input)
		if err != nil {
			panic(err)
		}
		vaultAnswer(out, 200, map[string]any{"data": map[string]any{"signature": fmt.Sprintf("vault:v%d:%s", version,
			base64.StdEncoding.EncodeToString(signature)), "key_version": version}})
	default:
		vaultError(out, 404, "unsupported path")
	}
}

func (e *transit) importKey(out http.ResponseWriter, name string, version bool, kind, ciphertext string) {
	key := e.keys[name]
	if (key != nil) != version {
		vaultError(out, 500, "the import path cannot be used with an existing key; "+
			"use import-version to rotate an existing imported key")
		return
	}
	wrapped, err := base64.StdEncoding.DecodeString(ciphertext)
	if err != nil {
		vaultError(out, 400, err.Error())
		return
	}
	private, err := unwrap(wrappingKey(), wrapped)
	if err != nil || kind != fmt.Sprintf("rsa-%d", private.N.BitLen()) {
		vaultError(out, 500, "error importing key")
		return
	}
	if key == nil {
		key = &transitKey{kind: kind}
		e.keys[name] = key
	}
	key.versions = append(key.versions, private)
	out.WriteHeader(http.StatusNoContent)
}

func (k *transitKey) describe() map[string]any {
	keys := map[string]any{}
	for i, private := range k.versions {
		keys[fmt.Sprint(i+1)] = map[string]any{"name": k.kind, "public_key": publicPEM(&private.PublicKey)}
	}
	if len(k.versions) == 0 {
		keys["1"] = 1700000000
	}
	return map[string]any{"type": k.kind, "keys": keys, "latest_version": max(len(k.versions), 1)}
}

func publicPEM(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := newVault(w)
	v.mounts = append(v.mounts, "ci/transit")
	v.put("app", appKey(), false)
	for _, uri := range []string{"hashivault://app", "hashivault:app", "hashivault:name=app", "hashivault://transit/app",
		"hashivault://ci/transit/app", "hashivault:name=app;mount=ci/transit"} {
		v.asked = nil
		w.holds(uri, appKey())
		testkit.Equal(t, len(v.asked), 2, "%s: Vault was asked for %q", uri, v.asked)
	}
	// A rotated key is another one, unless the URI names the version.
	v.put("app", otherKey(), true)
	w.holds("hashivault://app", otherKey())
	w.holds("hashivault:name=app;version=1", appKey())
	w.holds("hashivault://app?version=2", otherKey())
	if got := w.connections(); !slices.Equal(got, []string{vaultHost}) {
		t.Errorf("there were connections to %v", got)
	}
}

// Address, token and namespace are where Vault's and OpenBao's own programs have them.
func TestVaultSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := newVault(w)
	v.put("app", appKey(), false)
	delete(w.environ, "VAULT_TOKEN")
	w.write("home/.vault-token", v.token+"\n")
	w.holds("hashivault://app", appKey())
	w.write("home/.vault-token", "another")
	w.environ["BAO_ADDR"], w.environ["BAO_TOKEN"], w.environ["VAULT_ADDR"] = w.environ["VAULT_ADDR"],
		v.token, "https://elsewhere.example"
	w.holds("hashivault://app", appKey())
	v.namespace, w.environ["VAULT_NAMESPACE"] = "team-a", "team-a"
	w.holds("hashivault://app", appKey())
	v.mounts, w.environ["TRANSIT_SECRET_ENGINE_PATH"] = []string{"ci"}, "ci"
	w.holds("hashivault://app", appKey())

	// On loopback it may be http:, or nobody at all.
	server := httptest.NewServer(v)
	defer server.Close()
	w.environ["BAO_ADDR"] = server.URL
	w.holds("hashivault://app", appKey())
	server.Close()
	w.fails(badCase{set: func() string { return "" }, kind: "unavailable", text: "connection refused"}, "hashivault://app")
}

func TestVaultBadDays(t *testing.T) {
	t.Parallel()
	for _, c := range casesOf(t, func(w *world) []badCase {
		v := newVault(w)
		v.put("app", appKey(), false)
		is := func(change func()) func() string { return func() string { change(); return "" } }
		names := func(uri string) func() string { return func() string { return uri } }
		return append(w.generally(vaultHost), []badCase{
			{name: "no address", kind: "failed", text: "VAULT_ADDR", set: is(func() { delete(w.environ, "VAULT_ADDR") })},
			{name: "an address that is none", kind: "failed", text: "VAULT_ADDR",
				set: is(func() { w.environ["VAULT_ADDR"] = "https://%zz" })},
			{name: "plain http elsewhere", kind: "invalid-uri", text: "not https",
				set: is(func() { w.environ["VAULT_ADDR"] = "http://" + vaultHost })},
			{name: "no token", kind: "denied", text: "vault login", set: is(func() { delete(w.environ, "VAULT_TOKEN") })},
			{name: "wrong token", kind: "denied", text: "permission denied",
				set: is(func() { w.environ["VAULT_TOKEN"] = w.secret("hvs.another") })},
			{name: "a token in two lines", kind: "failed",
				set: is(func() { w.environ["VAULT_TOKEN"] = w.secret("hvs.ab\ncd") })},
			{name: "revoked", kind: "denied", text: "policy",
				set: is(func() { v.deny["transit/keys/app"], v.deny["transit/sign/app"] = true, true })},
			{name: "another namespace", kind: "denied", set: is(func() { v.namespace = "team-a" })},
			{name: "no such key", kind: "not-found", set: names("hashivault://none")},
			{name: "no such mount", kind: "not-found", set: names("hashivault://none/app")},
			{name: "no such version", kind: "not-found", text: "no version 7", ask: w.publicKey,
				set: names("hashivault:name=app;version=7")},
			{name: "no version", kind: "invalid-uri", set: names("hashivault:name=app;version=new")},
			{name: "no name", kind: "invalid-uri", text: "names no key", set: names("hashivault:mount=transit")},
			{name: "a path for a name", kind: "invalid-uri", set: names("hashivault://../sys/raw/app")},
			{name: "two names", kind: "invalid-uri", text: "twice", set: names("hashivault://app?name=web")},
			{name: "misspelt attribute", kind: "invalid-uri", text: "muont", set: names("hashivault:name=app;muont=x")},
			{name: "sealed", kind: "unavailable", text: "sealed", set: is(func() { v.sealed = true })},
			{name: "throttled", kind: "unavailable", text: "rate limit", ask: w.signature,
				set: is(func() { v.throttle = true })},
			{name: "an EC key", kind: "key-type", text: "ecdsa-p256", ask: w.publicKey, set: func() string {
				v.do("POST", "keys/ec", map[string]any{"type": "ecdsa-p256"})
				return "hashivault://ec"
			}},
			{name: "a key for encryption", kind: "key-type", text: "aes256-gcm96", set: func() string {
				v.do("POST", "keys/aes", map[string]any{"type": "aes256-gcm96"})
				return "hashivault://aes"
			}},
			{name: "says what it was told", kind: "failed", set: is(func() {
				w.host(vaultHost, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					vaultError(out, 400, "the token is "+r.Header.Get("X-Vault-Token"))
				}))
			})},
			{name: "says what it was told, in another form", kind: "failed", set: is(func() {
				w.host(vaultHost, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					out.WriteHeader(400)
					_, _ = io.WriteString(out, "the token is "+r.Header.Get("X-Vault-Token"))
				}))
			})},
		}...)
	}) {
		c.run(t, "hashivault://app")
	}
}

func TestVaultImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := newVault(w)
	for uri, key := range map[string]*rsa.PrivateKey{"hashivault://app": appKey(), "hashivault://transit/big": bigKey()} {
		if got := w.imported(uri, key); got.Error != nil {
			t.Fatal(got.Error)
		}
		w.holds(uri, key)
	}
	bad := func(name, uri, kind string, key any) {
		t.Helper()
		if got := w.imported(uri, key); got.Error == nil || got.Error.Kind != kind {
			t.Errorf("%s: the error is %v; want %s", name, got.Error, kind)
		}
	}
	bad("there already", "hashivault://app", "exists", otherKey())
	w.holds("hashivault://app", appKey())
	bad("a version", "hashivault:name=new;version=1", "invalid-uri", otherKey())
	bad("not RSA", "hashivault://new", "key-type", ecKey())
	bad("short", "hashivault://new", "key-type", shortKey())
	v.deny["transit/wrapping_key"] = true
	bad("no right", "hashivault://new", "denied", otherKey())
	if got := w.publicKey("hashivault://new"); got.Error == nil || got.Error.Kind != "not-found" {
		t.Errorf("there is a key: %v", got.Error)
	}
}
