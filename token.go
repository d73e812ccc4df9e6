package ghapp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/redact"
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

// TokenRequest says what a token is for.
type TokenRequest struct {
	// Repositories are owner/name, or bare names where Installation is an owner; all
	// of one owner, at most 500. Letter case does not matter. An empty list is an
	// error, never "all".
	Repositories []string
	// AllRepositories asks for every repository of the installation.
	AllRepositories bool
	// Permissions are what the token may do. Empty: contents: read. GitHub adds
	// metadata: read to any of them.
	Permissions Permissions
	// AllPermissions asks for everything the installation was granted.
	AllPermissions bool
	// Installation says which one: an owner, an ID, or the address of its settings
	// page. Empty: that of the repositories' owner.
	Installation string
	// MinLife is how long the token must live at least, up to 59 minutes. 0: a minute.
	MinLife time.Duration
}

// Token is an installation access token. It is not to be modified.
type Token struct {
	Secret Secret
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
	refused *atomic.Bool  // told by whoever saw GitHub refuse it; nil in a Token of a caller's own
	key     string        // of the entry in the Store that has it, or empty
	settled *settled      // nil in a Token of a caller's own
	read    bool          // from the Store
	listed  Permissions   // the installation's, when a token with all of them was minted; nil: not looked at
}

// Life is how long the token has left by GitHub's clock; negative once expired.
func (t *Token) Life() time.Duration {
	left := time.Until(t.ExpiresAt.Add(-t.offset))
	if !t.MintedAt.IsZero() {
		// In the process that minted it Age is monotonic: setting the wall clock
		// back does not make the token live longer.
		left = min(left, t.whole()-t.Age())
	}
	return left
}

// Age is how long ago the token was minted.
func (t *Token) Age() time.Duration { return time.Since(t.MintedAt.Add(-t.offset)) }

// A token's whole life is an hour at GitHub, and seconds in tests, so its ages are
// shares of it.
const (
	agingShare = 12 // the last twelfth, five minutes: it is renewed while it still serves
	lastShare  = 60 // the last sixtieth, a minute: it serves no more
)

func (t *Token) whole() time.Duration { return t.ExpiresAt.Sub(t.MintedAt) }

// serves reports whether the token can be handed out to someone who needs it for
// minLife.
func (t *Token) serves(minLife time.Duration) bool {
	return t != nil && !t.refused.Load() && t.Life() > max(minLife, t.whole()/lastShare)
}

// aging reports whether it is time to renew.
func (t *Token) aging() bool { return t.Life() <= t.whole()/agingShare }

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
	if len(text) == 0 || json.Unmarshal(text, &s) != nil || !redact.IsToken(s.Token) {
		return nil
	}
	return &Token{
		Secret: redact.NewSecret(s.Token), ExpiresAt: s.ExpiresAt, MintedAt: s.MintedAt, Permissions: s.Permissions,
		Repositories: s.Repositories, Installation: s.Installation, API: s.API, offset: s.Offset, refused: new(atomic.Bool),
		settled: newSettled(s.Settled...), read: true, listed: s.Listed,
	}
}

// want is a TokenRequest that has been checked and put in order, so that equal
// wishes are equal.
type want struct {
	target      target
	owner       string   // of the repositories, in lower case; empty where none is named
	names       []string // without owner, in lower case, sorted, each once
	all         bool
	permissions Permissions // nil: all that were granted
	minLife     time.Duration
	granted     Permissions // where all are asked for: what the installation has; nil: not known
}

const (
	maxRepositories = 500              // GitHub's own
	maxLife         = 59 * time.Minute // of the hour some is gone before the token is here
)

// permissionName reports whether GitHub could have a permission of that name.
func permissionName(name string) bool {
	return consistsOf(name, "_") && name == strings.ToLower(name)
}

func (a *App) want(r TokenRequest) (want, error) {
	bad := func(format string, args ...any) (want, error) {
		return want{}, &Error{Kind: ErrInvalid, Op: "ask for a token", Err: fmt.Errorf(format, args...)}
	}
	w := want{all: r.AllRepositories, permissions: maps.Clone(r.Permissions), minLife: r.MinLife}
	switch {
	case r.AllRepositories && len(r.Repositories) > 0:
		return bad("repositories are named and all are asked for; decide on one")
	case !r.AllRepositories && len(r.Repositories) == 0:
		return bad("no repository is named; all of an installation's must be asked for explicitly")
	case len(r.Repositories) > maxRepositories:
		return bad("%d repositories are named; GitHub allows %d in one token", len(r.Repositories), maxRepositories)
	case r.AllPermissions && len(r.Permissions) > 0:
		return bad("permissions are named and all are asked for; decide on one")
	case r.MinLife > maxLife:
		return bad("a life of %s is asked for; a token lives an hour, of which some is gone when it is here: "+
			"at most 59m can be promised", r.MinLife)
	case r.MinLife < 0:
		return bad("a life of %s is asked for; give 0 to 59m", r.MinLife)
	case r.AllRepositories && r.Installation == "":
		return bad("all repositories are asked for, but not of which installation; name its owner")
	}
	if r.AllPermissions {
		w.permissions = nil
	} else if len(w.permissions) == 0 {
		w.permissions = Permissions{"contents": "read"}
	}
	for name, value := range w.permissions {
		if !permissionName(name) {
			return bad("%q is not the name of a permission", name)
		}
		if value != "read" && value != "write" && value != "admin" {
			return bad("permission %s: %q is neither read, write nor admin", name, value)
		}
	}
	if r.Installation != "" {
		t, err := parseTarget(r.Installation, a.host)
		if err != nil {
			return want{}, err
		}
		if t.name != "" {
			return bad("%s names one repository where an installation is meant; name its owner", t)
		}
		w.target, w.owner = t, strings.ToLower(t.owner)
	}
	for _, text := range r.Repositories {
		if !strings.Contains(text, "/") && w.owner != "" {
			text = w.owner + "/" + text
		}
		repository, err := ParseRepository(text)
		if err != nil {
			return want{}, err
		}
		if repository.Host != "" && repository.Host != a.host.Name {
			return want{}, &Error{Kind: ErrWrongHost, Op: "ask for a token",
				Err: fmt.Errorf("%s is on %s, but this App is on %s", repository, repository.Host, a.host.Name)}
		}
		owner := strings.ToLower(repository.Owner)
		if w.owner != "" && owner != w.owner {
			first := "the installation of " + w.owner
			if len(w.names) > 0 {
				first = w.owner + "/" + w.names[0]
			}
			return bad("%s and %s have different owners; a token is for one installation", first, repository)
		}
		w.owner = owner
		w.names = append(w.names, strings.ToLower(repository.Name))
	}
	slices.Sort(w.names)
	w.names = slices.Compact(w.names)
	if w.target == (target{}) {
		w.target = target{owner: w.owner}
	}
	return w, nil
}

// object names what the token is for, in messages.
func (w want) object() string {
	switch {
	case w.all:
		return "all repositories of " + w.target.String()
	case len(w.names) == 1:
		return w.owner + "/" + w.names[0]
	}
	return fmt.Sprintf("%d repositories of %s", len(w.names), w.owner)
}

// repositories are the full names asked for.
func (w want) repositories() []string {
	full := make([]string, len(w.names))
	for i, name := range w.names {
		full[i] = w.owner + "/" + name
	}
	return full
}

// key is the cache key of the token: everything that decides what it may do, who
// made it and where it is good.
func (a *App) key(w want, p place) string {
	scope := "selected"
	if w.all {
		scope = "all repositories"
	}
	rights := "all permissions"
	if w.permissions != nil {
		rights = "only " + w.permissions.String()
	}
	parts := []string{
		"token", a.host.API, a.issuer, a.fingerprint(),
		fmt.Sprint(p.Installation), fmt.Sprint(p.Repository), w.owner, scope, rights,
	}
	return cacheKey(append(parts, w.names...)...)
}

// cacheKey hashes parts with their lengths before them, so that no two lists run
// together into one.
func cacheKey(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		hash.Write(length[:])
		hash.Write([]byte(part))
	}
	return hex.EncodeToString(hash.Sum(nil))
}
