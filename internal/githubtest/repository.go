package githubtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// RepositoryOptions describes a repository. The zero value is a private one with the default branch "main".
type RepositoryOptions struct {
	Public        bool   // anyone may read it with git
	Internal      bool   // of visibility "internal": to an App as private as a private one
	DefaultBranch string // default "main"
	Description   string
	Archived      bool
	Fork          bool
	NoWiki        bool // the wiki is turned off
	Topics        []string
	SizeKB        int64     // what is told of its size; default that of what was committed
	PushedAt      time.Time // default when something was pushed last
	SHA256        bool      // its objects have SHA-256 names; of no effect once the repository is on the disk

	// Disabled is what GitHub's staff does: the repository is told of, and git is refused with 403.
	Disabled bool

	// Blocked is what follows a notice under the DMCA: the repository is listed, the REST API answers for it with 451,
	// GraphQL with an error, git with 403.
	Blocked bool
}

// visibility is what the REST API calls it.
func (o RepositoryOptions) visibility() string {
	switch {
	case o.Public:
		return "public"
	case o.Internal:
		return "internal"
	}
	return "private"
}

// Repository is a repository. It is empty until the first [Repository.Commit] or push.
type Repository struct {
	ID int64

	gh      *GitHub
	owner   *Account
	name    string
	options RepositoryOptions // of which PushedAt is pushed
	created time.Time
	pushed  time.Time
	size    int64 // bytes committed with Commit

	wiki   *Repository // nil: it has none
	wikiOf *Repository // nil: it is no wiki

	files   sync.Mutex // guards the repository on disk and what follows; taken without the GitHub's own lock held
	ready   bool
	head    string // the branch HEAD points to
	commits int

	objects map[string][]byte // LFS, guarded by the GitHub's lock; nil without any
}

// AddRepository makes a repository named "owner/name", and its owner as an Organization if that is not there. A
// repository of this name that is there already gets the options. It panics if the name is not of that form or the
// owner is an Enterprise.
func (gh *GitHub) AddRepository(name string, o RepositoryOptions) *Repository {
	var r *Repository
	gh.telling(func() []event {
		there := gh.names[fold(name)] != nil
		r = gh.repository(name)
		from := r.options
		if o.DefaultBranch == "" {
			o.DefaultBranch = from.DefaultBranch
		}
		if r.set(o); !there {
			return r.repositoryEvents("created", nil)
		}
		return r.changed(from)
	})
	return r
}

// Edit changes what a repository is: it is archived, made public, given another default branch. The options are those
// of now, with PushedAt and DefaultBranch filled in.
func (r *Repository) Edit(change func(o *RepositoryOptions)) {
	r.gh.telling(func() []event {
		from := r.options
		o := from
		o.PushedAt, o.Topics = r.pushed, slices.Clone(o.Topics)
		change(&o)
		r.set(o)
		return r.changed(from)
	})
}

func (r *Repository) set(o RepositoryOptions) {
	o.Topics = slices.Clone(o.Topics)
	if !o.PushedAt.IsZero() {
		r.pushed = o.PushedAt
	}
	if o.DefaultBranch == "" {
		o.DefaultBranch = "main"
	}
	r.options = o
}

// Repository finds a repository by its present name "owner/name", which is not case sensitive. It returns nil if there
// is none.
func (gh *GitHub) Repository(name string) *Repository {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	return gh.names[fold(name)]
}

// FullName is the present "owner/name".
func (r *Repository) FullName() string {
	r.gh.mu.Lock()
	defer r.gh.mu.Unlock()
	return r.fullName()
}

// Rename gives a repository a new name under the same owner. The old name goes on working by redirects until another
// repository takes it.
func (gh *GitHub) Rename(repository, name string) error {
	return gh.moving(repository, func(r *Repository) ([]event, error) {
		from := r.name
		if err := gh.move(r, r.owner, name); err != nil {
			return nil, err
		}
		return r.repositoryEvents("renamed", map[string]any{"changes": map[string]any{
			"repository": map[string]any{"name": map[string]any{"from": from}}}}), nil
	})
}

// Transfer gives a repository another owner, made as an Organization if it is not there. The old name goes on working
// by redirects until another repository takes it. Installations on the former owner no longer reach it.
func (gh *GitHub) Transfer(repository, owner string) error {
	return gh.moving(repository, func(r *Repository) ([]event, error) {
		from, to := r.owner, gh.account(owner, Organization)
		events, err := gh.losing(r, func() error { return gh.move(r, to, r.name) })
		if err != nil {
			return nil, err
		}
		for _, s := range r.subscribers("repository", "metadata") {
			c := s.app.calls()
			former := map[string]any{"user": c.userBody(from)}
			if from.Kind == Organization {
				former = map[string]any{"organization": c.organizationBody(from)}
			}
			payload := c.about(r, to, s.inst)
			payload["action"] = "transferred"
			payload["changes"] = map[string]any{"owner": map[string]any{"from": former}}
			events = append(events, event{s.app, "repository", payload})
		}
		return events, nil
	})
}

// losing takes a repository from the installations on its owner, and tells them.
func (gh *GitHub) losing(r *Repository, move func() error) (events []event, err error) {
	var former []*Installation
	for _, id := range slices.Sorted(maps.Keys(gh.installs)) {
		if i := gh.installs[id]; i.covers(r) {
			former = append(former, i)
		}
	}
	if err := move(); err != nil {
		return nil, err
	}
	for _, i := range former {
		delete(i.selected, r.ID)
		events = append(events, i.selectionEvents(nil, []*Repository{r})...)
	}
	return events, nil
}

// moving does something to a repository that must be there.
func (gh *GitHub) moving(name string, change func(r *Repository) ([]event, error)) error {
	return gh.tellingUnless(func() ([]event, error) {
		r := gh.names[fold(name)]
		if r == nil {
			return nil, fmt.Errorf("githubtest: no repository %s", name)
		}
		return change(r)
	})
}

// DeleteRepository deletes a repository, and the redirects to it.
func (gh *GitHub) DeleteRepository(name string) error {
	return gh.moving(name, func(r *Repository) ([]event, error) {
		gh.changes++
		delete(gh.names, fold(name))
		delete(gh.repos, r.ID)
		maps.DeleteFunc(gh.moved, func(_ string, to *Repository) bool { return to == r })
		return r.repositoryEvents("deleted", nil), nil
	})
}

func (gh *GitHub) move(r *Repository, owner *Account, name string) error {
	from, to := fold(r.fullName()), fold(owner.Login+"/"+name)
	if _, _, err := gh.nameable(to); err != nil {
		return err
	}
	if other := gh.names[to]; other != nil && other != r {
		return fmt.Errorf("githubtest: repository %s is there already", to)
	}
	gh.changes++
	delete(gh.names, from)
	gh.moved[from] = r
	delete(gh.moved, to)
	r.owner, r.name = owner, name
	gh.names[to] = r
	return nil
}

// repository finds a repository by its present name, or makes it.
func (gh *GitHub) repository(fullName string) *Repository {
	if r := gh.names[fold(fullName)]; r != nil {
		return r
	}
	owner, name, err := gh.nameable(fullName)
	if err != nil {
		panic(err.Error())
	}
	account := gh.account(owner, Organization)
	now := gh.now()
	r := &Repository{ID: gh.id("repository"), gh: gh, owner: account, name: name,
		options: RepositoryOptions{DefaultBranch: "main"}, created: now, pushed: now}
	gh.changes++
	gh.repos[r.ID] = r
	gh.names[fold(fullName)] = r
	delete(gh.moved, fold(fullName))
	return r
}

// nameable takes the full name of a repository to be apart.
func (gh *GitHub) nameable(fullName string) (owner, name string, err error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("githubtest: %q is not of the form owner/name", fullName)
	}
	if a := gh.accounts[fold(owner)]; a != nil && a.Kind == Enterprise {
		return "", "", fmt.Errorf("githubtest: enterprise %s cannot own repositories", owner)
	}
	return owner, name, nil
}

// find finds a repository by a present or former name. It returns nil if there is none.
func (gh *GitHub) find(owner, name string) (r *Repository, moved bool) {
	key := fold(owner + "/" + name)
	if r := gh.names[key]; r != nil {
		return r, false
	}
	r = gh.moved[key]
	return r, r != nil
}

// sorted are all repositories for which keep holds, oldest first.
func (gh *GitHub) sorted(keep func(*Repository) bool) []*Repository {
	var list []*Repository
	for _, id := range slices.Sorted(maps.Keys(gh.repos)) {
		if r := gh.repos[id]; keep(r) {
			list = append(list, r)
		}
	}
	return list
}

// reached are the repositories that a token reaches, the oldest first. Those of a whole installation are found once for
// all pages of a listing.
func (gh *GitHub) reached(t *token) []*Repository {
	if t.repos != nil {
		return slices.DeleteFunc(gh.numbered(t.repos), func(r *Repository) bool { return !t.covers(r) })
	}
	if t.inst.reachedAt != gh.changes {
		t.inst.reached, t.inst.reachedAt = gh.sorted(t.inst.covers), gh.changes
	}
	return t.inst.reached
}

// numbered are the repositories with these IDs that are there, the oldest first.
func (gh *GitHub) numbered(ids map[int64]bool) []*Repository {
	var list []*Repository
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if r := gh.repos[id]; r != nil {
			list = append(list, r)
		}
	}
	return list
}

func (r *Repository) fullName() string {
	if r.wikiOf != nil {
		return r.wikiOf.fullName() + wikiSuffix
	}
	return r.owner.Login + "/" + r.name
}

// sizeKB is what is told of its size.
func (r *Repository) sizeKB() int64 {
	if r.options.SizeKB != 0 {
		return r.options.SizeKB
	}
	return (r.size + 1023) / 1024
}

// fold makes names that GitHub holds to be the same the same.
func fold(name string) string { return strings.ToLower(name) }
