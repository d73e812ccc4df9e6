package ghapp

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/ghtoken"
	"github.com/ghapp-dev/ghapp/secret"
)

// Permissions maps GitHub's names of permissions to read, write or admin
// (https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app).
type Permissions map[string]string

// String lists the permissions by name: contents:read,metadata:read.
func (p Permissions) String() string {
	list := make([]string, 0, len(p))
	for _, name := range slices.Sorted(maps.Keys(p)) {
		list = append(list, name+":"+p[name])
	}
	return strings.Join(list, ",")
}

// level orders the values of permissions. A value that is not known is above all,
// so that it is never taken for little.
func level(value string) int {
	switch value {
	case "read":
		return 1
	case "write":
		return 2
	case "admin":
		return 3
	}
	return 4
}

// Covers reports whether p gives everything that wanted asks for.
func (p Permissions) Covers(wanted Permissions) bool {
	for name, value := range wanted {
		have, ok := p[name]
		if !ok || level(have) < level(value) {
			return false
		}
	}
	return true
}

// Token is an installation access token. It is not to be modified.
type Token struct {
	Secret secret.Text
	// ExpiresAt and MintedAt are on GitHub's clock.
	ExpiresAt time.Time
	MintedAt  time.Time
	// Permissions were granted.
	Permissions Permissions
	// Repositories are the full names of those it reaches; nil where it reaches
	// all of the installation's.
	Repositories []string
	Installation int64
	// API is the root of the one API the token is for.
	API string

	offset  time.Duration // what to add to the local clock to get GitHub's
	refused *atomic.Bool  // told by those who saw GitHub refuse it; nil in a Token of a caller's own
	key     string        // of the entry in the Store that has it, or empty
	settled *settled      // nil in a Token of a caller's own
	read    bool          // from the Store
	listed  Permissions   // the installation's, when a token with all of them was minted; nil: not looked at
}

// Life is how long the token has left by GitHub's clock; negative once expired.
func (t *Token) Life() time.Duration {
	left := time.Until(t.ExpiresAt.Add(-t.offset))
	if !t.MintedAt.IsZero() {
		// In the process that minted it age is monotonic: setting the wall clock
		// back does not make the token live longer.
		left = min(left, t.lifetime()-t.age())
	}
	return left
}

// age is how long ago the token was minted.
func (t *Token) age() time.Duration { return time.Since(t.MintedAt.Add(-t.offset)) }

// A token's whole life is an hour at GitHub, and seconds in tests, so its ages are
// shares of it.
const (
	refreshShare = 12 // the last twelfth, five minutes: it is renewed while it still serves
	lastShare    = 60 // the last sixtieth, a minute: it serves no more
)

func (t *Token) lifetime() time.Duration { return t.ExpiresAt.Sub(t.MintedAt) }

// validFor reports whether the token can be handed out to someone who needs it for
// minLife.
func (t *Token) validFor(minLife time.Duration) bool {
	return t != nil && !t.refused.Load() && t.Life() > max(minLife, t.lifetime()/lastShare)
}

// needsRefresh reports whether it is time to renew.
func (t *Token) needsRefresh() bool { return t.Life() <= t.lifetime()/refreshShare }

// stored is a Token in a [Store], with its secret in the open.
type stored struct {
	Token        string        `json:"token"`
	ExpiresAt    time.Time     `json:"expires_at"`
	MintedAt     time.Time     `json:"minted_at"`
	Permissions  Permissions   `json:"permissions"`
	Repositories []string      `json:"repositories,omitempty"`
	Installation int64         `json:"installation"`
	API          string        `json:"api"`
	Offset       time.Duration `json:"clock_offset_ns"`
	Settled      []string      `json:"settled,omitempty"`
	Listed       Permissions   `json:"installation_permissions,omitempty"`
}

func (t *Token) encode() ([]byte, error) {
	return json.Marshal(stored{
		t.Secret.Reveal(), t.ExpiresAt, t.MintedAt, t.Permissions, t.Repositories, t.Installation, t.API, t.offset,
		t.settled.list(), t.listed,
	})
}

// decodeToken returns nil for an entry that is damaged: it is minted anew.
func decodeToken(text []byte) *Token {
	var s stored
	if len(text) == 0 || json.Unmarshal(text, &s) != nil || !ghtoken.Valid(s.Token) {
		return nil
	}
	return &Token{
		Secret: secret.New(s.Token), ExpiresAt: s.ExpiresAt, MintedAt: s.MintedAt, Permissions: s.Permissions,
		Repositories: s.Repositories, Installation: s.Installation, API: s.API, offset: s.Offset, refused: new(atomic.Bool),
		settled: newSettled(s.Settled...), read: true, listed: s.Listed,
	}
}
