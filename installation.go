package ghapp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// InstallationInfo is the App's installation on an account.
type InstallationInfo struct {
	ID int64
	// Account is the login of the user or organization, or an enterprise's slug.
	Account string
	// AccountType is User, Organization or Enterprise. An enterprise's
	// installation reaches no repositories.
	AccountType string
	// AllRepositories reports whether the installation covers all of the account's
	// repositories, later ones included, rather than those selected.
	AllRepositories bool
	Permissions     Permissions
	AppID           int64
	AppSlug         string
	URL             string    // its settings page
	SuspendedAt     time.Time // zero: it is active
}

func newInstallation(i *api.Installation) *InstallationInfo {
	n := &InstallationInfo{
		ID: i.ID, Account: accountName(i.Account), AccountType: i.TargetType,
		AllRepositories: i.RepositorySelection == "all", Permissions: i.Permissions,
		AppID: i.AppID, AppSlug: i.AppSlug, URL: i.HTMLURL,
	}
	if i.SuspendedAt != nil {
		n.SuspendedAt = *i.SuspendedAt
	}
	return n
}

func accountName(a *api.Account) string {
	switch {
	case a == nil:
		return ""
	case a.Login != "":
		return a.Login
	}
	return a.Slug
}

// installationRef is where a token is minted: what is remembered of a lookup.
type installationRef struct {
	Installation int64 `json:"installation"`
	// Repository is the ID of the one repository asked for where it has been
	// renamed or transferred: GitHub mints by its ID then, not by its old name.
	Repository int64     `json:"repository,omitempty"`
	FoundAt    time.Time `json:"found_at"`

	err    error // of a lookup that found nothing
	cached bool  // rather than asked for just now
}

const (
	// refLife is how long a found installation is believed. A mint that fails
	// with it drops it sooner.
	refLife = 24 * time.Hour
	// missLife is how long a miss is believed: long enough for a burst of callers,
	// short enough for a person who has just pressed Install.
	missLife = 10 * time.Second
)

func (r installationRef) valid() bool {
	age := time.Since(r.FoundAt)
	return r.err == nil && r.Installation != 0 && age >= 0 && age < refLife ||
		r.err != nil && age >= 0 && age < missLife
}

// installations find out where to mint: in memory, in the store, or at GitHub. They are
// the same for every key of the App.
type installations struct {
	host   api.Host
	issuer string
	shared Store // may be nil
	log    *slog.Logger

	start  time.Time // what monotonic readings are relative to
	memory sync.Map  // cache key -> installationRef
	grants sync.Map  // installation -> grant
}

// resolve finds where to mint what spec asks for: the installation of the owner, or, where
// a single repository is known to have moved, or its owner has none, that of the repository
// itself.
func (i *installations) resolve(ctx context.Context, c *signedClient, spec tokenSpec) (installationRef, error) {
	single, one := spec.single()
	if one && spec.target.id == 0 {
		if ref, ok := i.cached(ctx, i.key(single)); ok && ref.Repository != 0 {
			return ref, nil
		}
	}
	ref, err := i.find(ctx, c, spec.target)
	if one && errors.Is(err, ErrNotInstalled) {
		if moved, findErr := i.find(ctx, c, single); findErr == nil {
			return moved, nil
		}
	}
	return ref, err
}

// find finds the installation of a target: by itself where it is an ID, from the cache,
// or at GitHub, where concurrent lookups are merged.
func (i *installations) find(ctx context.Context, c *signedClient, t target) (installationRef, error) {
	if t.id != 0 {
		return installationRef{Installation: t.id}, nil
	}
	key := i.key(t)
	if ref, ok := i.cached(ctx, key); ok {
		return ref, ref.err
	}
	return merge(ctx, &c.inflight, key, func(ctx context.Context) (installationRef, error) {
		// Another call may have ended between the look above and this one.
		if ref, ok := i.cached(ctx, key); ok {
			return ref, ref.err
		}
		ref, err := c.fetchInstallation(ctx, t)
		if err != nil {
			if errors.Is(err, ErrNotInstalled) {
				i.remember(key, installationRef{FoundAt: time.Now(), err: err})
			}
			return installationRef{}, err
		}
		ref.FoundAt = time.Now()
		i.store(ctx, key, ref)
		return ref, nil
	})
}

// known are the places that are cached for what spec asks for.
func (i *installations) known(ctx context.Context, spec tokenSpec) []installationRef {
	if spec.target.id != 0 {
		return []installationRef{{Installation: spec.target.id}}
	}
	var refs []installationRef
	targets := []target{spec.target}
	if single, ok := spec.single(); ok {
		targets = append(targets, single)
	}
	for _, t := range targets {
		if ref, ok := i.cached(ctx, i.key(t)); ok && ref.err == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

// evict drops what is cached for spec and turned out to be wrong: the App was installed
// anew, or the repository moved.
func (i *installations) evict(ctx context.Context, spec tokenSpec) {
	targets := []target{spec.target}
	if single, ok := spec.single(); ok {
		targets = append(targets, single)
	}
	for _, t := range targets {
		i.memory.Delete(i.key(t))
		if i.shared == nil {
			continue
		}
		none := func(context.Context, []byte) ([]byte, error) { return nil, nil }
		if err := i.shared.Update(ctx, i.key(t), none); err != nil {
			i.log.Warn("a stale installation stays in the cache", "error", err)
		}
	}
}

// key is the cache key of a lookup.
func (i *installations) key(t target) string {
	return cacheKey("installation", i.host.API, i.issuer, strings.ToLower(t.owner), strings.ToLower(t.name))
}

// cached returns a lookup from memory or the store.
func (i *installations) cached(ctx context.Context, key string) (installationRef, bool) {
	if held, ok := i.memory.Load(key); ok {
		ref := held.(installationRef)
		ref.cached = true
		return ref, ref.valid()
	}
	if i.shared == nil {
		return installationRef{}, false
	}
	text, err := i.shared.Get(ctx, key)
	if err != nil || text == nil {
		return installationRef{}, false
	}
	var ref installationRef
	if json.Unmarshal(text, &ref) != nil || !ref.valid() {
		return installationRef{}, false
	}
	i.remember(key, ref)
	ref.cached = true
	return ref, true
}

// store keeps a lookup in memory and in the store.
func (i *installations) store(ctx context.Context, key string, ref installationRef) {
	i.remember(key, ref)
	if i.shared == nil {
		return
	}
	text, err := json.Marshal(ref)
	if err == nil {
		err = i.shared.Update(ctx, key, func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		i.log.Warn("the installation is not remembered", "error", err)
	}
}

// remember holds a lookup in memory, and drops those that are believed no more, so that
// a process which is asked about many owners does not grow.
func (i *installations) remember(key string, ref installationRef) {
	i.memory.Range(func(key, held any) bool {
		if !held.(installationRef).valid() {
			i.memory.Delete(key)
		}
		return true
	})
	i.memory.Store(key, ref)
}

// fetchInstallation asks GitHub: for the owner's installation, which serves all its
// repositories with one answer; for a repository that has moved, by its name.
func (c *signedClient) fetchInstallation(ctx context.Context, t target) (installationRef, error) {
	var repository int64
	ask := func(auth api.Authorization) (found *api.Installation, err error) {
		if t.name == "" {
			return c.api.AccountInstallation(ctx, auth, t.owner)
		}
		found, repository, err = c.api.RepositoryInstallation(ctx, auth, t.owner, t.name)
		return found, err
	}
	found, err := withAcceptedKey(ctx, c, "find the installation of "+t.String(), ask)
	if err != nil {
		return installationRef{}, notInstalled(err)
	}
	if err := newInstallation(found).usable(t.String()); err != nil {
		return installationRef{}, err
	}
	return installationRef{Installation: found.ID, Repository: repository}, nil
}

// usable refuses an installation that cannot give a token for repositories.
func (i *InstallationInfo) usable(of string) error {
	op := "use the installation of " + of
	switch {
	case i.AccountType == "Enterprise":
		return &Error{Kind: ErrEnterprise, Op: op, Err: errors.New("it is on an enterprise, and such an installation " +
			"reaches no repositories; install the App on the organization as well")}
	case !i.SuspendedAt.IsZero():
		return &Error{Kind: ErrSuspended, Op: op,
			Err: errors.New("the installation has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly))}
	}
	return nil
}
