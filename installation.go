package ghapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
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

// FindInstallation returns the installation that covers an owner (organization or
// user) or a repository (owner/name, or its URL), or that an ID or the address of
// an installation's settings page names. It asks GitHub each time. A suspended
// installation is returned with SuspendedAt set.
//
// The Kinds of its errors: [ErrNotInstalled] (for a repository that may also mean
// that it is not selected or does not exist: GitHub does not tell), [ErrInvalid],
// [ErrWrongHost], and those of [App.Info].
func (a *App) FindInstallation(ctx context.Context, of string) (*InstallationInfo, error) {
	t, err := parseTarget(of, a.host)
	if err != nil {
		return nil, err
	}
	found, err := withKey(ctx, a, func(a *App) (*api.Installation, error) {
		return asApp(a, "find the installation of "+t.String(), func(auth api.Authorization) (*api.Installation, error) {
			switch {
			case t.id != 0:
				return a.api.Installation(ctx, auth, t.id)
			case t.name != "":
				found, _, err := a.api.RepositoryInstallation(ctx, auth, t.owner, t.name)
				return found, err
			}
			return a.api.AccountInstallation(ctx, auth, t.owner)
		})
	})
	if err != nil {
		return nil, notInstalled(err)
	}
	return newInstallation(found), nil
}

// String names the target in messages.
func (t target) String() string {
	switch {
	case t.id != 0:
		return "installation " + strconv.FormatInt(t.id, 10)
	case t.name != "":
		return t.owner + "/" + t.name
	}
	return t.owner
}

// notInstalled gives a 404 of an installation's endpoint its meaning.
func notInstalled(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == ErrRefused && e.Status == http.StatusNotFound {
		e.Kind = ErrNotInstalled
	}
	return err
}

// place is where a token is minted: what is remembered of a lookup.
type place struct {
	Installation int64 `json:"installation"`
	// Repository is the ID of the one repository asked for where it has been
	// renamed or transferred: GitHub mints by its ID then, not by its old name.
	Repository int64     `json:"repository,omitempty"`
	FoundAt    time.Time `json:"found_at"`

	err        error // of a lookup that found nothing
	remembered bool  // rather than asked for just now
}

const (
	// placeLife is how long a found installation is believed. A mint that fails
	// with it drops it sooner.
	placeLife = 24 * time.Hour
	// missLife is how long a miss is believed: long enough for a burst of callers,
	// short enough for a person who has just pressed Install.
	missLife = 10 * time.Second
)

func (p place) valid() bool {
	age := time.Since(p.FoundAt)
	return p.err == nil && p.Installation != 0 && age >= 0 && age < placeLife ||
		p.err != nil && age >= 0 && age < missLife
}

// placeKey is the cache key of a lookup.
func (a *App) placeKey(t target) string {
	return cacheKey("installation", a.host.API, a.issuer, strings.ToLower(t.owner), strings.ToLower(t.name))
}

// locate finds the installation of a target: by itself where it is an ID, in
// memory, in the store, or at GitHub, where concurrent lookups are merged.
func (a *App) locate(ctx context.Context, t target) (place, error) {
	if t.id != 0 {
		return place{Installation: t.id}, nil
	}
	key := a.placeKey(t)
	if p, ok := a.recall(ctx, key); ok {
		return p, p.err
	}
	return merge(ctx, &a.flight, key, func(ctx context.Context) (place, error) {
		// The flight before this one may have landed since the caller looked.
		if p, ok := a.recall(ctx, key); ok {
			return p, p.err
		}
		p, err := a.lookUp(ctx, t)
		if err != nil {
			if errors.Is(err, ErrNotInstalled) {
				a.keep(key, place{FoundAt: time.Now(), err: err})
			}
			return place{}, err
		}
		p.FoundAt = time.Now()
		a.remember(ctx, key, p)
		return p, nil
	})
}

// lookUp asks GitHub: for the owner's installation, which serves all its
// repositories with one answer; for a repository that has moved, by its name.
func (a *App) lookUp(ctx context.Context, t target) (place, error) {
	var repository int64
	found, err := asKnown(ctx, a, "find the installation of "+t.String(), func(auth api.Authorization) (found *api.Installation, err error) {
		if t.name == "" {
			return a.api.AccountInstallation(ctx, auth, t.owner)
		}
		found, repository, err = a.api.RepositoryInstallation(ctx, auth, t.owner, t.name)
		return found, err
	})
	if err != nil {
		return place{}, notInstalled(err)
	}
	if err := usable(newInstallation(found), t.String()); err != nil {
		return place{}, err
	}
	return place{Installation: found.ID, Repository: repository}, nil
}

// usable refuses an installation that cannot give a token for repositories.
func usable(i *InstallationInfo, of string) error {
	op := "use the installation of " + of
	switch {
	case i.AccountType == "Enterprise":
		return &Error{Kind: ErrEnterprise, Op: op,
			Err: errors.New("it is on an enterprise, and such an installation reaches no repositories; install the App on the organization as well")}
	case !i.SuspendedAt.IsZero():
		return &Error{Kind: ErrSuspended, Op: op,
			Err: errors.New("the installation has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly))}
	}
	return nil
}

// recall returns a remembered lookup, from memory or the store.
func (a *App) recall(ctx context.Context, key string) (place, bool) {
	if held, ok := a.places.Load(key); ok {
		p := held.(place)
		p.remembered = true
		return p, p.valid()
	}
	if a.found == nil {
		return place{}, false
	}
	text, err := a.found.Get(ctx, key)
	if err != nil || text == nil {
		return place{}, false
	}
	var p place
	if json.Unmarshal(text, &p) != nil || !p.valid() {
		return place{}, false
	}
	a.keep(key, p)
	p.remembered = true
	return p, true
}

// keep holds a lookup in memory, and drops those that are believed no more, so that
// a process which is asked about many owners does not grow.
func (a *App) keep(key string, p place) {
	a.places.Range(func(key, held any) bool {
		if !held.(place).valid() {
			a.places.Delete(key)
		}
		return true
	})
	a.places.Store(key, p)
}

func (a *App) remember(ctx context.Context, key string, p place) {
	a.keep(key, p)
	if a.found == nil {
		return
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = a.found.Update(ctx, key, func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		a.log.Warn("the installation is not remembered", "error", err)
	}
}

// forget drops a lookup that turned out to be wrong: the App was installed anew,
// or the repository moved.
func (a *App) forget(ctx context.Context, key string) {
	a.places.Delete(key)
	if a.found == nil {
		return
	}
	if err := a.found.Update(ctx, key, func(context.Context, []byte) ([]byte, error) { return nil, nil }); err != nil {
		a.log.Warn("a stale installation stays in the cache", "error", err)
	}
}
