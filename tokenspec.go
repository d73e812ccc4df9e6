package ghapp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// TokenRequest says what a token is for.
type TokenRequest struct {
	// Repositories are owner/name, or bare names where Installation is an owner; all
	// of one owner, at most 500. Letter case does not matter. An empty list is an
	// error, never "all".
	Repositories []string
	// RepositoryIDs are GitHub's IDs of Repositories, one for each and in their order, where
	// they are known: a repository that has such a name and another ID is not meant. 0 stands
	// for one that is known by its name only. Empty: all are.
	RepositoryIDs []int64
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

// tokenSpec is a TokenRequest that has been checked and put in order, so that equal
// requests are equal.
type tokenSpec struct {
	target      target
	owner       string           // of the repositories, in lower case; empty where none is named
	names       []string         // without owner, in lower case, sorted, each once
	ids         map[string]int64 // by name, where they are known
	all         bool
	permissions Permissions // nil: all that were granted
	minLife     time.Duration
	granted     Permissions // where all are asked for: what the installation has; nil: not known
}

const (
	maxRepositories = 500              // GitHub's own
	maxLife         = 59 * time.Minute // of the hour some is gone before the token is here
)

// newTokenSpec checks a request for a token of a host.
func newTokenSpec(r TokenRequest, host api.Host) (tokenSpec, error) {
	if err := r.contradiction(); err != nil {
		return tokenSpec{}, err
	}
	permissions, err := r.permissions()
	if err != nil {
		return tokenSpec{}, err
	}
	spec := tokenSpec{all: r.AllRepositories, permissions: permissions, minLife: r.MinLife}
	if r.Installation != "" {
		t, err := parseTarget(r.Installation, host)
		if err != nil {
			return tokenSpec{}, err
		}
		if t.name != "" {
			return tokenSpec{}, badRequest("%s names one repository where an installation is meant; name its owner", t)
		}
		spec.target, spec.owner = t, strings.ToLower(t.owner)
	}
	for i, text := range r.Repositories {
		if err := spec.add(text, host); err != nil {
			return tokenSpec{}, err
		}
		if len(r.RepositoryIDs) > 0 && r.RepositoryIDs[i] != 0 {
			if err := spec.identify(spec.names[i], r.RepositoryIDs[i]); err != nil {
				return tokenSpec{}, err
			}
		}
	}
	slices.Sort(spec.names)
	spec.names = slices.Compact(spec.names)
	if spec.target == (target{}) {
		spec.target = target{owner: spec.owner}
	}
	return spec, nil
}

func badRequest(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Op: "ask for a token", Err: fmt.Errorf(format, args...)}
}

// contradiction is what cannot be asked for, or not at once.
func (r TokenRequest) contradiction() error {
	switch {
	case r.AllRepositories && len(r.Repositories) > 0:
		return badRequest("repositories are named and all are asked for; decide on one")
	case !r.AllRepositories && len(r.Repositories) == 0:
		return badRequest("no repository is named; all of an installation's must be asked for explicitly")
	case len(r.Repositories) > maxRepositories:
		return badRequest("%d repositories are named; GitHub allows %d in one token", len(r.Repositories), maxRepositories)
	case len(r.RepositoryIDs) > 0 && len(r.RepositoryIDs) != len(r.Repositories):
		return badRequest("%d IDs are given for %d repositories", len(r.RepositoryIDs), len(r.Repositories))
	case r.AllPermissions && len(r.Permissions) > 0:
		return badRequest("permissions are named and all are asked for; decide on one")
	case r.MinLife > maxLife:
		return badRequest("a life of %s is asked for; a token lives an hour, of which some is gone when it is here: "+
			"at most 59m can be promised", r.MinLife)
	case r.MinLife < 0:
		return badRequest("a life of %s is asked for; give 0 to 59m", r.MinLife)
	case r.AllRepositories && r.Installation == "":
		return badRequest("all repositories are asked for, but not of which installation; name its owner")
	}
	return nil
}

// permissions are those asked for; nil: all.
func (r TokenRequest) permissions() (Permissions, error) {
	switch {
	case r.AllPermissions:
		return nil, nil
	case len(r.Permissions) == 0:
		return Permissions{"contents": "read"}, nil
	}
	for name, value := range r.Permissions {
		if !permissionName(name) {
			return nil, badRequest("%q is not the name of a permission", name)
		}
		if value != "read" && value != "write" && value != "admin" {
			return nil, badRequest("permission %s: %q is neither read, write nor admin", name, value)
		}
	}
	return maps.Clone(r.Permissions), nil
}

// permissionName reports whether GitHub could have a permission of that name.
func permissionName(name string) bool {
	return consistsOf(name, "_") && name == strings.ToLower(name)
}

// add adds a repository, as a request names it.
func (s *tokenSpec) add(text string, host api.Host) error {
	if !strings.Contains(text, "/") && s.owner != "" {
		text = s.owner + "/" + text
	}
	repository, err := ParseRepository(text)
	if err != nil {
		return err
	}
	if !repository.on(host) {
		return &Error{Kind: ErrWrongHost, Op: "ask for a token",
			Err: fmt.Errorf("%s is on %s, but this App is on %s", repository, repository.Host, host.Name)}
	}
	owner := strings.ToLower(repository.Owner)
	if s.owner != "" && owner != s.owner {
		first := "the installation of " + s.owner
		if len(s.names) > 0 {
			first = s.owner + "/" + s.names[0]
		}
		return badRequest("%s and %s have different owners; a token is for one installation", first, repository)
	}
	s.owner = owner
	s.names = append(s.names, strings.ToLower(repository.Name))
	return nil
}

// identify says which ID a repository has.
func (s *tokenSpec) identify(name string, id int64) error {
	if known := s.ids[name]; id < 0 || known != 0 && known != id {
		return badRequest("%s/%s cannot have the ID %d", s.owner, name, id)
	}
	if s.ids == nil {
		s.ids = map[string]int64{}
	}
	s.ids[name] = id
	return nil
}

// knownIDs are the IDs of all repositories asked for, or nil where one is not known.
func (s tokenSpec) knownIDs() []int64 {
	var list []int64
	for _, name := range s.names {
		if s.ids[name] == 0 {
			return nil
		}
		list = append(list, s.ids[name])
	}
	return list
}

// object names what the token is for, in messages.
func (s tokenSpec) object() string {
	switch {
	case s.all:
		return "all repositories of " + s.target.String()
	case len(s.names) == 1:
		return s.owner + "/" + s.names[0]
	}
	return fmt.Sprintf("%d repositories of %s", len(s.names), s.owner)
}

// repositories are the full names asked for.
func (s tokenSpec) repositories() []string {
	full := make([]string, len(s.names))
	for i, name := range s.names {
		full[i] = s.owner + "/" + name
	}
	return full
}

// single is the one repository asked for: only then a move can be followed.
func (s tokenSpec) single() (target, bool) {
	if len(s.names) != 1 {
		return target{}, false
	}
	return target{owner: s.owner, name: s.names[0]}, true
}

// current reports whether a token with all permissions has those that are granted by now.
// A host whose tokens do not list what its installations do is asked once: what the
// installation had then is compared.
func (s tokenSpec) current(t *Token) bool {
	return s.granted == nil || maps.Equal(t.Permissions, s.granted) || maps.Equal(t.listed, s.granted)
}

// key is the cache key of the token: everything that decides what it may do, who
// made it and where it is good.
func (s tokenSpec) key(c *signedClient, at installationRef) string {
	parts := []string{
		"token", c.host.API, c.issuer, c.fingerprint(),
		fmt.Sprint(at.Installation), fmt.Sprint(at.Repository), s.owner, s.extent(), s.rights(),
	}
	for _, name := range s.names {
		if id := s.ids[name]; id != 0 {
			name += fmt.Sprintf("@%d", id) // which is in no name
		}
		parts = append(parts, name)
	}
	return cacheKey(parts...)
}

// extent and rights are parts of a cache key.
func (s tokenSpec) extent() string {
	if s.all {
		return "all repositories"
	}
	return "selected"
}

func (s tokenSpec) rights() string {
	if s.permissions == nil {
		return "all permissions"
	}
	return "only " + s.permissions.String()
}

// request is the request that is in order.
func (s tokenSpec) request() TokenRequest {
	return TokenRequest{
		Repositories: s.repositories(), AllRepositories: s.all, Permissions: maps.Clone(s.permissions),
		AllPermissions: s.permissions == nil, Installation: s.target.String(), MinLife: s.minLife,
	}
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
