package githubtest

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What GitHub answers to a JWT it does not accept. Three of them are what clients recognise a wrong clock by.
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
const (
	notDecoded      = "A JSON web token could not be decoded"
	issuerMissing   = "Missing 'issuer' claim ('iss') in assertion"
	issuerNoInteger = "'Issuer' claim ('iss') must be an Integer"
	appNotFound     = "Integration not found"
	appWithoutKey   = "Integration must generate a public key"
	expiryPast      = "'Expiration time' claim ('exp') must be a numeric value representing the future time " +
		"at which the assertion expires"
	expiryTooFar   = "'Expiration time' claim ('exp') is too far in the future"
	issuedInFuture = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
)

// maxJWTLife is how far ahead of GitHub's clock a JWT may expire.
const maxJWTLife = 10 * time.Minute

// verify finds the App a JWT speaks for, or says with which status and message it is refused.
func (gh *GitHub) verify(jwt string) (app *App, status int, message string) {
	header, claims, signature, ok := decode(jwt)
	if !ok {
		return nil, http.StatusUnauthorized, notDecoded
	}
	app, status, message = gh.issuer(claims["iss"])
	if app == nil {
		return nil, status, message
	}
	if len(app.keys) == 0 {
		return nil, http.StatusUnauthorized, appWithoutKey
	}
	digest := sha256.Sum256([]byte(jwt[:strings.LastIndexByte(jwt, '.')]))
	signedBy := func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
	if header["alg"] != "RS256" || !slices.ContainsFunc(app.keys, signedBy) {
		return nil, http.StatusUnauthorized, notDecoded
	}
	now := gh.now().Unix()
	switch expires, ok := seconds(claims["exp"]); {
	case !ok || expires <= now:
		return nil, http.StatusUnauthorized, expiryPast
	case expires > now+int64(maxJWTLife/time.Second):
		return nil, http.StatusUnauthorized, expiryTooFar
	}
	if issued, ok := seconds(claims["iat"]); !ok || issued > now {
		return nil, http.StatusUnauthorized, issuedInFuture
	}
	return app, 0, ""
}

// issuer finds an App by the iss claim: its client ID, or its App ID as a number or as a string of digits.
func (gh *GitHub) issuer(iss any) (app *App, status int, message string) {
	var text string
	switch iss := iss.(type) {
	case nil:
		return nil, http.StatusUnauthorized, issuerMissing
	case string:
		text = iss
	case json.Number:
		text = iss.String()
	}
	id, err := strconv.ParseInt(text, 10, 64)
	for _, app := range gh.apps {
		if app.ClientID == text || err == nil && app.ID == id {
			return app, 0, ""
		}
	}
	if err != nil {
		return nil, http.StatusUnauthorized, issuerNoInteger
	}
	return nil, http.StatusNotFound, appNotFound
}

// decode takes a JWS in compact serialization apart (RFC 7515, section 7.1).
func decode(jwt string) (header, claims map[string]any, signature []byte, ok bool) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil, nil, nil, false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return nil, nil, nil, false
	}
	return header, claims, signature, true
}

func decodePart(part string, into *map[string]any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // 1.5 and 1e9 must not pass for integers
	return d.Decode(into) == nil
}

// seconds reads a NumericDate that is a whole number of seconds, as GitHub demands.
func seconds(claim any) (int64, bool) {
	number, ok := claim.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := number.Int64()
	return n, err == nil
}

// looksLikeJWT tells a JWT from a token by its form: three parts, the first of which begins a JSON object.
func looksLikeJWT(credential string) bool {
	return strings.HasPrefix(credential, "eyJ") && strings.Count(credential, ".") == 2
}

// authorization takes the Authorization header apart. The kind is "basic", "bearer", "token", "" for none, and "other".
func authorization(r *http.Request) (kind string, c login) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", login{}
	}
	if user, password, ok := r.BasicAuth(); ok {
		return "basic", login{user, password}
	}
	scheme, credential, _ := strings.Cut(header, " ")
	switch scheme = strings.ToLower(scheme); scheme {
	case "bearer", "token":
		return scheme, login{password: strings.TrimSpace(credential)}
	}
	return "other", login{}
}

// login is a name and a password. A token that is sent without a name is the password.
type login struct{ user, password string }
