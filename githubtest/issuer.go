package githubtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Issuer is an issuer of identity tokens in a process, as GitHub Actions, GitLab, Buildkite and Kubernetes have one,
// for tests of what takes such tokens and of what asks for them: OpenID Connect Discovery 1.0, a JSON Web Key Set (RFC
// 7517), and the endpoint at which a job of GitHub Actions asks for a token. It is an [http.Handler], and safe for
// concurrent use. Make one with [NewIssuer].
//
//	issuer := githubtest.NewIssuer()
//	server := httptest.NewTLSServer(issuer)
//	issuer.SetURL(server.URL)
//	token := issuer.Token(githubtest.Workflow{Repository: "acme/site"}.Claims("https://broker.example.com"))
type Issuer struct {
	mu       sync.Mutex
	url      string
	keys     []issuerKey // the last one signs
	fault    IssuerFault
	jobs     map[string]map[string]any // claims of jobs of GitHub Actions by the bearer token
	requests map[string]int            // by path
	tokens   int
}

// issuerKey is a key with its ID.
type issuerKey struct {
	id     string
	signer crypto.Signer
}

// Algorithms of [Issuer.Rotate], as RFC 7518 section 3.1 names them.
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// Paths at which an [Issuer] answers, below its URL.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	KeysPath          = "/jwks"
	actionsPath       = "/actions/idtoken"
)

// NewIssuer makes an Issuer that signs with a new RSA key, as GitHub's does. Its tokens are nobody's before
// [Issuer.SetURL].
func NewIssuer() *Issuer {
	i := &Issuer{jobs: map[string]map[string]any{}, requests: map[string]int{}}
	i.Rotate(RS256)
	return i
}

// SetURL sets what tokens have as iss, and where the key set is said to be: the address of the server, without a slash
// at its end.
func (i *Issuer) SetURL(url string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.url = url
}

// URL is as it was set.
func (i *Issuer) URL() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.url
}

// Rotate signs with a new key from now on: [RS256] with 2048 bits, or [ES256]. Those before stay in the key set until
// [Issuer.RetireKeys]. It panics for another algorithm.
func (i *Issuer) Rotate(algorithm string) {
	key := issuerKey{id: rand.Text()}
	var err error
	switch algorithm {
	case RS256:
		key.signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case ES256:
		key.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		err = fmt.Errorf("githubtest: no algorithm of an issuer's: %q", algorithm)
	}
	if err != nil {
		panic(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, key)
}

// RetireKeys takes all keys but the last out of the key set.
func (i *Issuer) RetireKeys() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Token signs a token with these claims. What they lack of iss, iat, nbf, exp (five minutes) and jti is added, and a
// claim that is nil is left out. It panics where claims are not JSON.
func (i *Issuer) Token(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.keys[len(i.keys)-1]
	return key.sign(map[string]any{"typ": "JWT", "kid": key.id, "alg": key.algorithm()}, i.complete(claims))
}

// Forgery is a way in which somebody who has no key of the issuer's makes a token.
type Forgery int

// The ways of [Issuer.Forge].
const (
	Unsigned        Forgery = iota // the algorithm is "none"
	PublicKeyAsHMAC                // HS256, and the secret is the public key, which everybody has
	UnknownKey                     // signed with a key that is not in the key set, under an ID that is not either
	OtherKey                       // signed with a key that is not in the key set, under the ID of one that is
)

// Forge makes a token with these claims that is none of the issuer's, completed as by [Issuer.Token].
func (i *Issuer) Forge(how Forgery, claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.keys[len(i.keys)-1]
	claims = i.complete(claims)
	switch how {
	case Unsigned:
		return signingInput(map[string]any{"typ": "JWT", "alg": "none"}, claims) + "."
	case PublicKeyAsHMAC:
		public, err := x509.MarshalPKIXPublicKey(key.signer.Public())
		if err != nil {
			panic(err)
		}
		text := signingInput(map[string]any{"typ": "JWT", "kid": key.id, "alg": "HS256"}, claims)
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
		mac.Write([]byte(text))
		return text + "." + encodeSegment(mac.Sum(nil))
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	stranger := issuerKey{id: rand.Text(), signer: other}
	if how == OtherKey {
		stranger.id = key.id
	}
	return stranger.sign(map[string]any{"typ": "JWT", "kid": stranger.id, "alg": ES256}, claims)
}

// ActionsJob lets a job of GitHub Actions ask for tokens with these claims, and returns what the runner has in the
// environment of its steps as ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN. The audience is added to
// the claims as it is asked for; without one it is https://github.com/ and the owner.
// https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
func (i *Issuer) ActionsJob(claims map[string]any) (requestURL, requestToken string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	requestToken = rand.Text()
	i.jobs[requestToken] = maps.Clone(claims)
	return i.url + actionsPath + "?api-version=2.0", requestToken
}

// RequestsTo counts the requests to a path so far, such as [KeysPath].
func (i *Issuer) RequestsTo(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[path]
}

// ServeHTTP answers as an issuer, or as an [IssuerFault] says.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests[r.URL.Path]++
	if fault := i.fault; fault.replaces(r.URL.Path) {
		i.mu.Unlock() // it may take long
		defer i.mu.Lock()
		fault.ServeHTTP(w, r)
		return
	}
	switch r.URL.Path {
	case ConfigurationPath:
		respondJSON(w, http.StatusOK, i.configuration())
	case KeysPath:
		respondJSON(w, http.StatusOK, i.keySet())
	case actionsPath:
		i.serveActions(w, r)
	default:
		http.NotFound(w, r)
	}
}

// configuration is the discovery document, OpenID Connect Discovery 1.0 section 3, as GitHub Actions have it.
func (i *Issuer) configuration() map[string]any {
	issuer, keys := i.url, i.url+KeysPath
	if i.fault.Issuer != "" {
		issuer = i.fault.Issuer
	}
	if i.fault.KeysURL != "" {
		keys = i.fault.KeysURL
	}
	return map[string]any{
		"issuer": issuer, "jwks_uri": keys,
		"subject_types_supported":               []string{"public", "pairwise"},
		"response_types_supported":              []string{"id_token"},
		"id_token_signing_alg_values_supported": []string{RS256, ES256},
		"scopes_supported":                      []string{"openid"},
	}
}

func (i *Issuer) keySet() map[string]any {
	list := []map[string]string{}
	for _, key := range i.keys {
		list = append(list, key.jwk())
	}
	// Copies under other IDs: a set of many keys need not take long to make.
	for n := range i.fault.MoreKeys {
		copied := maps.Clone(list[len(list)-1])
		copied["kid"] = "more-" + strconv.Itoa(n)
		list = append(list, copied)
	}
	return map[string]any{"keys": list}
}

func (i *Issuer) serveActions(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	claims, known := i.jobs[token]
	if !known || !strings.EqualFold(scheme, "bearer") {
		respondJSON(w, http.StatusUnauthorized, map[string]any{"message": "Unauthorized"})
		return
	}
	claims = maps.Clone(claims)
	if audience := r.URL.Query().Get("audience"); audience != "" {
		claims["aud"] = audience
	} else if owner, ok := claims["repository_owner"].(string); ok {
		claims["aud"] = "https://github.com/" + owner
	}
	key := i.keys[len(i.keys)-1]
	signed := key.sign(map[string]any{"typ": "JWT", "kid": key.id, "alg": key.algorithm()}, i.complete(claims))
	respondJSON(w, http.StatusOK, map[string]any{"count": 1, "value": signed})
}

// complete adds what every token has.
func (i *Issuer) complete(claims map[string]any) map[string]any {
	i.tokens++
	now := time.Now()
	whole := map[string]any{
		"iss": i.url, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"jti": fmt.Sprintf("00000000-0000-4000-8000-%012d", i.tokens),
	}
	maps.Copy(whole, claims)
	maps.DeleteFunc(whole, func(_ string, value any) bool { return value == nil })
	return whole
}

func (k issuerKey) algorithm() string {
	if _, ok := k.signer.(*ecdsa.PrivateKey); ok {
		return ES256
	}
	return RS256
}

// jwk is the public half, RFC 7518 section 6.
func (k issuerKey) jwk() map[string]string {
	key := map[string]string{"kid": k.id, "use": "sig", "alg": k.algorithm()}
	switch public := k.signer.Public().(type) {
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", encodeSegment(public.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		key["kty"], key["crv"] = "EC", "P-256"
		key["x"], key["y"] = encodeSegment(point[1:33]), encodeSegment(point[33:])
	}
	return key
}

// sign is a JWS in its compact form, RFC 7515 section 7.1.
func (k issuerKey) sign(header, claims map[string]any) string {
	text := signingInput(header, claims)
	digest := sha256.Sum256([]byte(text))
	switch key := k.signer.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		signature := make([]byte, 64) // RFC 7518 section 3.4: two numbers of 32 bytes, and not their ASN.1
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return text + "." + encodeSegment(signature)
	default:
		signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			panic(err)
		}
		return text + "." + encodeSegment(signature)
	}
}

func signingInput(header, claims map[string]any) string {
	h, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return encodeSegment(h) + "." + encodeSegment(c)
}

func encodeSegment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func respondJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body)
}
