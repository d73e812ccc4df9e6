package kms_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const (
	gcpTokenHost = "oauth2.googleapis.com"
	gcpHost      = "cloudkms.googleapis.com"
	gcpRing      = "projects/acme/locations/europe-west3/keyRings/apps"
	gcpName      = gcpRing + "/cryptoKeys/app/cryptoKeyVersions/1"
	gcpURI       = "gcpkms://" + gcpName
)

// gcpKMS stands in for Google's token endpoint and for Cloud KMS. A token is handed out
// for a JSON Web Token that a service account has signed, and checked with its key,
// https://developers.google.com/identity/protocols/oauth2/service-account#httprest;
// checksums are compared as the reference of Cloud KMS has them.
type gcpKMS struct {
	w       *world
	account *rsa.PrivateKey
	token   string

	mu       sync.Mutex
	versions map[string]*gcpVersion // by name
	jobs     map[string]string      // the state of each, by name
	missing  bool                   // the key that versions are of
	refuse   string                 // what the token endpoint says instead of a token
	status   int                    // of every answer of Cloud KMS, if it is not 0
	message  string
	respond  func(answer map[string]any) // falsifies an answer
	asked    []string
}

type gcpVersion struct {
	key       any
	algorithm string
	state     string
}

func newGCP(w *world) *gcpKMS {
	g := &gcpKMS{w: w, account: otherKey(), token: w.secret("ya29.canary-access-token-canary"), jobs: map[string]string{},
		versions: map[string]*gcpVersion{
			gcpName: {appKey(), "RSA_SIGN_PKCS1_2048_SHA256", "ENABLED"},
		}}
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(g.account))(w.t)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	w.secret(strings.Split(text, "\n")[20])
	credentials, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "acme", "private_key_id": "kid-1", "private_key": text,
		"client_email": "ci@acme.iam.gserviceaccount.com", "client_id": "1",
		"token_uri": "https://" + gcpTokenHost + "/token",
	})
	testkit.OK(w.t, err)
	w.environ["GOOGLE_APPLICATION_CREDENTIALS"] = w.write("gcp.json", string(credentials))
	w.host(gcpTokenHost, http.HandlerFunc(g.serveToken))
	w.host(gcpHost, g)
	return g
}

// serveToken exchanges a JSON Web Token for an access token (RFC 7523).
func (g *gcpKMS) serveToken(out http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	refuse := func(text string) {
		out.WriteHeader(400)
		_ = json.NewEncoder(out).Encode(map[string]string{"error": "invalid_grant", "error_description": text})
	}
	if g.refuse != "" {
		refuse(g.refuse)
		return
	}
	if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse("not a grant type of this test")
		return
	}
	parts := strings.Split(r.FormValue("assertion"), ".")
	if len(parts) != 3 {
		refuse("Invalid JWT")
		return
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || rsa.VerifyPKCS1v15(&g.account.PublicKey, crypto.SHA256,
		sha256Of([]byte(parts[0]+"."+parts[1])), signature) != nil {
		refuse("Invalid JWT Signature.")
		return
	}
	var claims struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Iss != "ci@acme.iam.gserviceaccount.com" ||
		claims.Aud != "https://"+gcpTokenHost+"/token" {
		refuse("Invalid JWT: " + string(text))
		return
	}
	if now := time.Now().Unix(); claims.Iat > now+60 || claims.Exp < now || claims.Exp > claims.Iat+3600 {
		refuse("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
		return
	}
	if !strings.Contains(claims.Scope, "https://www.googleapis.com/auth/cloudkms") {
		refuse("Invalid scope")
		return
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(map[string]any{"access_token": g.token, "token_type": "Bearer", "expires_in": 3599})
}

func (g *gcpKMS) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	g.asked = append(g.asked, r.Method+" "+path)
	status, answer := g.answer(r, path, body)
	if status != 200 {
		answer = map[string]any{"error": map[string]any{"code": status,
			"message": answer["message"], "status": answer["status"]}}
	} else if g.respond != nil {
		g.respond(answer)
	}
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(status)
	_ = json.NewEncoder(out).Encode(answer)
}

func gcpError(code, format string, args ...any) map[string]any {
	return map[string]any{"status": code, "message": fmt.Sprintf(format, args...)}
}

func (g *gcpKMS) answer(r *http.Request, path string, body []byte) (int, map[string]any) {
	if r.Header.Get("Authorization") != "Bearer "+g.token {
		return 401, gcpError("UNAUTHENTICATED", "Request had invalid authentication credentials. "+
			"Expected OAuth 2 access token, login cookie or other valid authentication credential.")
	}
	if g.status != 0 {
		return g.status, gcpError("UNKNOWN", "%s", g.message)
	}
	name, verb, _ := strings.Cut(path, ":")
	switch {
	case strings.HasSuffix(name, "/publicKey"):
		return g.publicKey(strings.TrimSuffix(name, "/publicKey"))
	case verb == "asymmetricSign":
		return g.sign(name, body)
	case verb == "import":
		return g.importVersion(strings.TrimSuffix(name, "/cryptoKeyVersions"), body)
	case strings.HasSuffix(name, "/importJobs") && r.Method == http.MethodPost:
		var job struct{ ImportMethod, ProtectionLevel string }
		if json.Unmarshal(body, &job) != nil || job.ImportMethod != "RSA_OAEP_3072_SHA256_AES_256" ||
			job.ProtectionLevel != "SOFTWARE" {
			return 400, gcpError("INVALID_ARGUMENT", "not a method of this test")
		}
		name += "/" + r.URL.Query().Get("importJobId")
		g.jobs[name] = "PENDING_GENERATION"
		return 200, map[string]any{"name": name, "state": g.jobs[name]}
	case g.jobs[name] != "":
		g.jobs[name] = "ACTIVE" // by now
		return 200, map[string]any{"name": name, "state": "ACTIVE",
			"publicKey": map[string]any{"pem": publicPEM(&wrappingKey().PublicKey)}}
	case strings.Contains(name, "/cryptoKeyVersions/"):
		version, there := g.versions[name]
		if !there {
			return 404, gcpError("NOT_FOUND", "CryptoKeyVersion %s not found.", name)
		}
		if version.state == "PENDING_IMPORT" {
			version.state = "ENABLED"
		}
		return 200, map[string]any{"name": name, "state": version.state, "algorithm": version.algorithm}
	case name == gcpRing+"/cryptoKeys/app" && !g.missing:
		return 200, map[string]any{"name": name, "purpose": "ASYMMETRIC_SIGN",
			"versionTemplate": map[string]any{"algorithm": "RSA_SIGN_PKCS1_2048_SHA256", "protectionLevel": "SOFTWARE"}}
	}
	return 404, gcpError("NOT_FOUND", "%s not found.", name)
}

// usable finds a version that can be used.
func (g *gcpKMS) usable(name string) (*gcpVersion, int, map[string]any) {
	version, there := g.versions[name]
	switch {
	case !there:
		return nil, 404, gcpError("NOT_FOUND", "CryptoKeyVersion %s not found.", name)
	case version.state != "ENABLED":
		return nil, 400, gcpError("FAILED_PRECONDITION", "%s is not enabled, current state is: %s.", name, version.state)
	case version.algorithm == "GOOGLE_SYMMETRIC_ENCRYPTION":
		return nil, 400, gcpError("INVALID_ARGUMENT", "The request is not valid for keys with purpose ENCRYPT_DECRYPT.")
	}
	return version, 200, nil
}

func (g *gcpKMS) publicKey(name string) (int, map[string]any) {
	version, status, failed := g.usable(name)
	if failed != nil {
		return status, failed
	}
	var public any = &ecKey().PublicKey
	if key, ok := version.key.(*rsa.PrivateKey); ok {
		public = &key.PublicKey
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return 200, map[string]any{"name": name, "algorithm": version.algorithm, "pem": string(text),
		"pemCrc32c": castagnoli(text)}
}

func castagnoli(text []byte) string {
	return fmt.Sprint(crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
}

func (g *gcpKMS) sign(name string, body []byte) (int, map[string]any) {
	version, status, failed := g.usable(name)
	if failed != nil {
		return status, failed
	}
	var in struct {
		Digest       struct{ Sha256 []byte }
		DigestCrc32c string
	}
	if json.Unmarshal(body, &in) != nil || len(in.Digest.Sha256) != 32 {
		return 400, gcpError("INVALID_ARGUMENT", "Request contains an invalid argument.")
	}
	if in.DigestCrc32c != castagnoli(in.Digest.Sha256) {
		return 400, gcpError("INVALID_ARGUMENT",
			"The checksum in field digest_crc32c did not match the data in field digest.")
	}
	key, ok := version.key.(*rsa.PrivateKey)
	if !ok || !strings.HasPrefix(version.algorithm, "RSA_SIGN_PKCS1_") {
		return 400, gcpError("INVALID_ARGUMENT", "the digest is not for %s", version.algorithm)
	}
	signature, err := signDigest(key, in.Digest.Sha256)
	if err != nil {
		panic(err)
	}
	return 200, map[string]any{"name": name, "signature": signature,
		"signatureCrc32c": castagnoli(signature), "verifiedDigestCrc32c": true}
}

func (g *gcpKMS) importVersion(parent string, body []byte) (int, map[string]any) {
	var in struct {
		Algorithm, ImportJob string
		WrappedKey           []byte
	}
	if json.Unmarshal(body, &in) != nil || g.jobs[in.ImportJob] != "ACTIVE" {
		return 400, gcpError("FAILED_PRECONDITION", "the import job is not active")
	}
	key, err := unwrap(wrappingKey(), in.WrappedKey)
	if err != nil || in.Algorithm != fmt.Sprintf("RSA_SIGN_PKCS1_%d_SHA256", key.N.BitLen()) {
		return 400, gcpError("INVALID_ARGUMENT", "the wrapped key cannot be unwrapped")
	}
	name := fmt.Sprintf("%s/cryptoKeyVersions/%d", parent, len(g.versions)+1)
	g.versions[name] = &gcpVersion{key, in.Algorithm, "PENDING_IMPORT"}
	return 200, map[string]any{"name": name, "state": "PENDING_IMPORT", "algorithm": in.Algorithm}
}

func TestGCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGCP(w)
	for _, uri := range []string{gcpURI, "cloudkms:" + gcpName, "gcpkms://" + gcpRing + "/cryptoKeys/app/versions/1"} {
		g.asked = nil
		w.holds(uri, appKey())
		testkit.Equal(t, len(g.asked), 2, "%s: Cloud KMS was asked for %q", uri, g.asked)
	}
	if got := w.connections(); !slices.Equal(got, []string{gcpHost, gcpTokenHost}) {
		t.Errorf("there were connections to %v", got)
	}
	// The credentials in a file that the URI names.
	path := w.environ["GOOGLE_APPLICATION_CREDENTIALS"]
	delete(w.environ, "GOOGLE_APPLICATION_CREDENTIALS")
	w.holds(gcpURI+"?credentials-file="+url.QueryEscape(path), appKey())

	w.environ["GOOGLE_APPLICATION_CREDENTIALS"] = path
	w.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"] = "https://kms.private.example/"
	w.host("kms.private.example", g)
	w.host(gcpHost, nil)
	w.holds(gcpURI, appKey())
	w.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"] = "http://kms.private.example/"
	w.fails(badCase{set: func() string { return "" }, kind: "invalid-uri", text: "not https"}, gcpURI)
}

// A machine of Google's has its credentials from a service on its own link.
func TestGCPMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGCP(w)
	delete(w.environ, "GOOGLE_APPLICATION_CREDENTIALS")
	metadata := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Metadata-Flavor", "Google")
		if r.Header.Get("Metadata-Flavor") != "Google" || !strings.HasSuffix(r.URL.Path, "/service-accounts/default/token") {
			http.NotFound(out, r)
			return
		}
		_ = json.NewEncoder(out).Encode(map[string]any{"access_token": g.token, "token_type": "Bearer", "expires_in": 3599})
	}))
	defer metadata.Close()
	w.environ["GCE_METADATA_HOST"] = metadata.Listener.Addr().String()
	w.holds(gcpURI, appKey())
}

func TestGCPBadDays(t *testing.T) {
	t.Parallel()
	for _, c := range casesOf(t, func(w *world) []badCase {
		g := newGCP(w)
		version := g.versions[gcpName]
		is := func(change func()) func() string { return func() string { change(); return "" } }
		names := func(uri string) func() string { return func() string { return uri } }
		says := func(status int, message string) func() string {
			return is(func() { g.status, g.message = status, message })
		}
		falsifies := func(member string, value any) func() string {
			return is(func() { g.respond = func(answer map[string]any) { answer[member] = value } })
		}
		return append(w.generally(gcpHost), []badCase{
			{name: "no credentials", kind: "denied", text: "gcloud auth application-default login",
				set: is(func() { w.environ["GOOGLE_APPLICATION_CREDENTIALS"] = "/none" })},
			{name: "credentials that are none", kind: "denied", text: "GOOGLE_APPLICATION_CREDENTIALS",
				set: is(func() { w.write("gcp.json", "{}") })},
			{name: "a named file that is none", kind: "denied", text: "credentials-file",
				set: names(gcpURI + "?credentials-file=/none")},
			{name: "another account's key", kind: "denied", text: "Invalid JWT Signature",
				set: is(func() { g.account = bigKey() })},
			{name: "revoked account", kind: "denied", text: "account not found",
				set: is(func() { g.refuse = "Invalid grant: account not found" })},
			{name: "token endpoint without TLS", kind: "invalid-uri", text: "not https", set: is(func() {
				text := testkit.Must(os.ReadFile(w.environ["GOOGLE_APPLICATION_CREDENTIALS"]))(w.t)
				w.write("gcp.json", strings.ReplaceAll(string(text), "https://"+gcpTokenHost, "http://"+gcpTokenHost))
			})},
			{name: "token endpoint down", kind: "unavailable", text: gcpTokenHost,
				set: is(func() { w.host(gcpTokenHost, nil) })},
			{name: "token endpoint busy", kind: "unavailable", set: is(func() { w.host(gcpTokenHost, replies(503, "busy")) })},
			{name: "token endpoint slow", kind: "timeout", set: is(func() { w.host(gcpTokenHost, slow()) }), ask: slowly(w)},
			{name: "revoked token", kind: "denied", text: "invalid authentication credentials", set: is(func() {
				g.token = w.secret("ya29.another-token-canary")
				g.w.host(gcpTokenHost, replies(200, `{"access_token":"ya29.old","token_type":"Bearer","expires_in":3599}`,
					"Content-Type", "application/json"))
			})},
			{name: "no right", kind: "denied", text: "cloudkms.cryptoKeyVersions.useToSign",
				set: says(403, "Permission 'cloudkms.cryptoKeyVersions.useToSign' denied on resource")},
			{name: "no such key", kind: "not-found", text: "not found",
				set: names("gcpkms://" + gcpRing + "/cryptoKeys/none/cryptoKeyVersions/1")},
			{name: "wrong location", kind: "not-found", text: "us-east1",
				set: names("gcpkms://projects/acme/locations/us-east1/keyRings/apps/cryptoKeys/app/cryptoKeyVersions/1")},
			{name: "no version", kind: "invalid-uri", text: "version", set: names("gcpkms://" + gcpRing + "/cryptoKeys/app")},
			{name: "misspelt attribute", kind: "invalid-uri", text: "credential-file",
				set: names(gcpURI + "?credential-file=x")},
			{name: "disabled", kind: "denied", text: "DISABLED", set: is(func() { version.state = "DISABLED" })},
			{name: "an EC key", kind: "key-type", text: "EC key", ask: w.publicKey,
				set: is(func() { version.key, version.algorithm = nil, "EC_SIGN_P256_SHA256" })},
			{name: "a key for another signature", kind: "key-type", text: "RSA_SIGN_PSS_2048_SHA256", ask: w.publicKey,
				set: is(func() { version.algorithm = "RSA_SIGN_PSS_2048_SHA256" })},
			{name: "a key for encryption", kind: "key-type", text: "ENCRYPT_DECRYPT",
				set: is(func() { version.algorithm = "GOOGLE_SYMMETRIC_ENCRYPTION" })},
			{name: "throttled", kind: "unavailable", text: "429", set: says(429, "Quota exceeded")},
			{name: "internal error", kind: "unavailable", text: "500", set: says(500, "Internal error")},
			{name: "a public key that was damaged", kind: "failed", text: "damaged", ask: w.publicKey,
				set: falsifies("pemCrc32c", "1")},
			{name: "another key's public key", kind: "failed", text: "damaged", ask: w.publicKey,
				set: falsifies("name", gcpName+"2")},
			{name: "a signature that was damaged", kind: "failed", text: "damaged", ask: w.signature,
				set: falsifies("signature", bytes.Repeat([]byte{1}, 256))},
			{name: "a digest that was not checked", kind: "failed", text: "damaged", ask: w.signature,
				set: falsifies("verifiedDigestCrc32c", false)},
		}...)
	}) {
		c.run(t, gcpURI)
	}
}

func TestGCPImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGCP(w)
	second := "gcpkms://" + gcpRing + "/cryptoKeys/app/cryptoKeyVersions/2"
	if got := w.imported(second, otherKey()); got.Error != nil {
		t.Fatal(got.Error)
	}
	w.holds(second, otherKey())
	w.holds(gcpURI, appKey())
	bad := func(uri, kind, text string, key any) {
		t.Helper()
		if got := w.imported(uri, key); got.Error == nil || got.Error.Kind != kind ||
			!strings.Contains(got.Error.Message, text) {
			t.Errorf("the error is %v; want %s: …%s…", got.Error, kind, text)
		}
	}
	bad(second, "exists", "version 2", appKey())
	third := "gcpkms://" + gcpRing + "/cryptoKeys/app/cryptoKeyVersions/3"
	bad(third, "key-type", "RSA_SIGN_PKCS1_3072_SHA256", bigKey())
	bad(third, "key-type", "RSA", ecKey())
	// What another one has made meanwhile.
	bad("gcpkms://"+gcpRing+"/cryptoKeys/app/cryptoKeyVersions/9", "failed",
		gcpRing+"/cryptoKeys/app/cryptoKeyVersions/3", appKey())
	g.missing = true
	bad("gcpkms://"+gcpRing+"/cryptoKeys/app/cryptoKeyVersions/8", "not-found", "", appKey())
}
