package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/secret"
)

// signatureHeader is GitHub's. The older X-Hub-Signature, of SHA-1, is never looked at.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
const signatureHeader = "X-Hub-Signature-256"

// signature is an HMAC-SHA256.
type signature [sha256.Size]byte

// usable reports whether one of the secrets is more than an empty text, with which everybody could sign.
func usable(secrets []secret.Text) bool {
	return slices.ContainsFunc(secrets, func(s secret.Text) bool { return !s.IsZero() })
}

// parseSignature reads the value of the header: "sha256=" and 64 hexadecimal digits.
func parseSignature(value string) (s signature, ok bool) {
	digits, ok := strings.CutPrefix(value, "sha256=")
	if !ok || len(digits) != hex.EncodedLen(len(s)) {
		return s, false
	}
	_, err := hex.Decode(s[:], []byte(digits))
	return s, err == nil
}

// signed reports whether a signature is that of the body with one of the secrets. How long it takes says nothing of
// any of them.
func (s signature) signed(body []byte, secrets []secret.Text) bool {
	found := false
	for _, secret := range secrets {
		if secret.IsZero() {
			continue
		}
		mac := hmac.New(sha256.New, []byte(secret.Reveal()))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), s[:]) {
			found = true
		}
	}
	return found
}

// bears reports whether a request brings one of the secrets as a bearer token (RFC 6750, section 2.1). How long it
// takes says nothing of any of them, not even how long they are.
func bears(r *http.Request, secrets []secret.Text) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, given, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(given))
	found := 0
	for _, secret := range secrets {
		if secret.IsZero() {
			continue
		}
		want := sha256.Sum256([]byte(secret.Reveal()))
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return found == 1
}
