// Package audit keeps what ghapp-server has decided, so that no token leaves without a
// record of it. Each record is a line of JSON that has the hash of the one before, so that one
// which was changed, removed or put elsewhere is found by [Verify].
//
// A chain without a secret is proof against accidents and against those who can change some
// of the places it is kept in, and not against who can write all of them anew: for that the
// hash of its newest record is to be noted elsewhere, or the records sent to another machine.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
)

// Event is what a record tells of.
type Event string

// The events. A request has Allowed or Refused, before anything is asked of GitHub, and after
// Allowed one of HandedOut and Failed.
const (
	Allowed   Event = "allowed"
	Refused   Event = "refused"
	HandedOut Event = "handed out"
	Failed    Event = "failed"
	// Revoked tells of a token that was ended, and Ordered of an order of an operator's, such as
	// to revoke or to suspend.
	Revoked Event = "revoked"
	Ordered Event = "ordered"

	continued Event = "continued" // after a record that was cut short
)

// Record is one line. What is empty is left out.
type Record struct {
	// Time is when it happened; zero: now.
	Time  time.Time `json:"time"`
	Event Event     `json:"event"`
	// ID is that of the request, which its caller is told.
	ID string `json:"id,omitempty"`
	// Address is where the request came from.
	Address string `json:"address,omitempty"`

	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Claims are those of the caller's that are listed for the audit; see [Claims].
	Claims map[string]string `json:"claims,omitempty"`

	Rule string `json:"rule,omitempty"`
	// Generation is that of the policy that decided.
	Generation string `json:"generation,omitempty"`
	Asked      *Scope `json:"asked,omitempty"`
	Granted    *Scope `json:"granted,omitempty"`
	// Reason is why it was refused, or failed. The caller is not told.
	Reason string `json:"reason,omitempty"`

	// HashedToken is that of [HashToken].
	HashedToken  string     `json:"hashed_token,omitempty"`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	Installation int64      `json:"installation,omitempty"`
	// Source is "minted", "merged" where the token was minted meanwhile for another who asked for the
	// same, or "cached".
	Source string `json:"source,omitempty"`
	// GitHubMillis is how long GitHub took, in milliseconds.
	GitHubMillis int64 `json:"github_ms,omitempty"`

	// Torn is what the record before was cut short to, in one that continues after it.
	Torn *Torn `json:"torn,omitempty"`
}

// Scope is what was asked for, or granted.
type Scope struct {
	Owner        string            `json:"owner,omitempty"`
	Repositories []string          `json:"repositories,omitempty"`
	All          bool              `json:"all,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// Torn is the rest of a record that a loss of power has cut short.
type Torn struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const (
	maxText = 512 // bytes of one text that a caller may have chosen
	maxLine = 256 << 10
)

// HashToken is a token as GitHub's own audit log shows it, as hashed_token: the SHA-256 of it
// in base64. GitHub's page on it is called "Identifying audit log events performed by an access
// token".
func HashToken(token secret.Text) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Claims are those of a caller's claims that names lists, as text, each cut to what one line
// may bear.
func Claims(all map[string]any, names []string) map[string]string {
	listed := make(map[string]string, len(names))
	for _, name := range names {
		value, there := all[name]
		if !there {
			continue
		}
		s, ok := value.(string)
		if !ok {
			encoded, err := json.Marshal(value)
			if err != nil {
				continue // what JSON has given, it can take
			}
			s = string(encoded)
		}
		listed[name] = text.Shorten(s, maxText)
	}
	return listed
}

// encode is the record as one JSON object, without its place in the chain.
func (r Record) encode() ([]byte, error) {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	r.Time = r.Time.UTC()
	for _, s := range []*string{&r.ID, &r.Address, &r.Issuer, &r.Subject, &r.Rule, &r.Generation, &r.Reason} {
		*s = text.Shorten(*s, maxText)
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return nil, fmt.Errorf("write a record of the audit: %w", err)
	}
	if body.Len() > maxLine-1<<10 {
		return nil, fmt.Errorf("write a record of the audit: it has %d bytes, and %d are the most", body.Len(), maxLine)
	}
	return []byte(text.JSON(string(bytes.TrimRight(body.Bytes(), "\n")))), nil
}
