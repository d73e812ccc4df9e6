package testapp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Broker is a token broker (RFC 8693) with the key of an App, for tests of its clients. It takes
// the JSON Web Tokens that [Broker.JWT] makes. [NewBroker] makes one.
type Broker struct {
	*httptest.Server
	// Refuse is answered in the place of a token, where it is not nil.
	Refuse http.HandlerFunc
	// Change changes an answer before it is sent; may be nil.
	Change func(answer map[string]any)

	app    *ghapp.App
	issuer *rsa.PrivateKey

	mu      sync.Mutex
	forms   []url.Values
	lookups int
}

// NewBroker starts a broker that has the key of an App, and ends with the test.
func NewBroker(t testing.TB, app *ghapp.App) *Broker {
	t.Helper()
	b := &Broker{app: app, issuer: testkit.NthKey(t, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ghapp", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		b.lookups++
		b.mu.Unlock()
		reply(w, http.StatusOK, map[string]any{"audience": b.URL})
	})
	mux.HandleFunc("POST /token", b.token)
	b.Server = httptest.NewUnstartedServer(mux) // who answers reads its address
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// RefuseNow sets Refuse while other processes may ask already.
func (b *Broker) RefuseNow(answer http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Refuse = answer
}

// Forms are the requests for tokens so far.
func (b *Broker) Forms() []url.Values {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]url.Values(nil), b.forms...)
}

// Lookups is how often the broker was asked for its audience.
func (b *Broker) Lookups() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lookups
}

// JWT is a token of an identity, for an audience.
func (b *Broker) JWT(t testing.TB, subject, audience string) string {
	t.Helper()
	return JWT(t, b.issuer, map[string]any{"iss": "https://issuer.example", "sub": subject, "aud": audience,
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()})
}

// JWT is a JSON Web Token with these claims, signed by RS256.
func JWT(t testing.TB, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	part := func(value any) string {
		return base64.RawURLEncoding.EncodeToString(testkit.Must(json.Marshal(value))(t))
	}
	signed := part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	signature := testkit.Must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]))(t)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func reply(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (b *Broker) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	b.mu.Lock()
	b.forms = append(b.forms, r.PostForm)
	b.mu.Unlock()
	switch {
	case b.Refuse != nil:
		b.Refuse(w, r)
		return
	case r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange",
		r.PostForm.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt":
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "id": "d1"})
		return
	case !b.proves(r.PostForm.Get("subject_token")):
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "id": "d2"})
		return
	}
	t, err := b.app.Token(r.Context(), b.request(r.PostForm))
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_target", "id": "d3"})
		return
	}
	answer := map[string]any{
		"access_token": t.Secret.Reveal(), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
		"token_type": "Bearer", "expires_in": int(t.Life().Seconds()), "permissions": t.Permissions,
		"installation": t.Installation, "id": "d4",
	}
	var reached []map[string]any
	for i, name := range t.Repositories {
		reached = append(reached, map[string]any{"id": i + 1, "full_name": name})
	}
	if reached != nil && !strings.HasSuffix(r.PostForm.Get("resource"), "/"+b.owner(r.PostForm)) {
		answer["repositories"] = reached
	}
	if b.Change != nil {
		b.Change(answer)
	}
	reply(w, http.StatusOK, answer)
}

// proves reports whether a token is the issuer's, for this broker, and alive.
func (b *Broker) proves(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&b.issuer.PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Aud string `json:"aud"`
		Exp int64  `json:"exp"`
	}
	return err == nil && json.Unmarshal(text, &claims) == nil && claims.Aud == b.URL && claims.Exp > time.Now().Unix()
}

// owner is that of the first resource.
func (b *Broker) owner(form url.Values) string {
	u, err := url.Parse(form.Get("resource"))
	if err != nil {
		return ""
	}
	owner, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return owner
}

// request is what a form asks for.
func (b *Broker) request(form url.Values) ghapp.TokenRequest {
	r := ghapp.TokenRequest{Permissions: ghapp.Permissions{}}
	for _, resource := range form["resource"] {
		u, err := url.Parse(resource)
		if err != nil {
			continue
		}
		if name := strings.TrimPrefix(u.Path, "/"); strings.Contains(name, "/") {
			r.Repositories = append(r.Repositories, name)
		} else {
			r.AllRepositories, r.Installation = true, name
		}
	}
	for word := range strings.FieldsSeq(form.Get("scope")) {
		name, level, _ := strings.Cut(word, ":")
		r.Permissions[name] = level
	}
	return r
}
