// Package policy says which caller may have a token for what. A policy is read from a file,
// strictly, and does not change after that. Nothing is allowed that no rule allows, one rule
// has to allow all that is asked for, and who asks for more than that gets nothing.
package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

// Ask is what a caller asks for.
type Ask struct {
	// Owner of all the repositories.
	Owner string
	// Repositories are owner/name, 500 at most; none with All.
	Repositories []string
	// All asks for every repository of the owner.
	All bool
	// Permissions, where there are none, are to read contents.
	Permissions ghapp.Permissions
}

// Repository is one that a token may be for.
type Repository struct {
	ID   int64  // 0: it is known by its name only
	Name string // owner/name
}

// Grant is what a caller may have: what was asked for, and on which terms.
type Grant struct {
	Rule         string       // its name
	Owner        string       // of all repositories
	Repositories []Repository // none with All
	All          bool
	Permissions  ghapp.Permissions
	// MaxLife is how long the token may be used. 0: as long as GitHub lets it live.
	MaxLife time.Duration
	// Revoke has the token ended at GitHub after MaxLife.
	Revoke bool
	// Once says that a token of the caller's, by its ID, serves once.
	Once bool
	// RepositoryFile says that the file in each repository has to allow it, too.
	RepositoryFile bool
}

// Policy is the rules of a file. [Read] makes one; it does not change, and is safe for
// concurrent use.
type Policy struct {
	name       string
	audience   string
	generation string
	rules      []rule
	owners     map[string]ceiling // by name in lower case; nil: no owner has one
}

// rule is what somebody may have.
type rule struct {
	name   string
	line   int
	who    matcher
	grants grants
}

// grants is what a rule gives at most.
type grants struct {
	own            bool // the repository that the caller runs in
	repositories   []Repository
	all            bool
	owner          string // of all
	permissions    ghapp.Permissions
	maxLife        time.Duration
	revoke         bool
	once           bool
	repositoryFile bool
	line           int
}

// ceiling is what anybody may have of an owner's repositories at most.
type ceiling struct {
	permissions    ghapp.Permissions
	repositories   []Repository
	all            bool
	repositoryFile bool
}

// Outcome is what one rule says.
type Outcome struct {
	Rule   string `json:"rule"`
	Reason string `json:"reason"` // why it does not allow; empty: it does
}

// Denied is the error of [Policy.Decide]. What is in it is for the audit and for the owner of
// the policy, and never for the caller.
type Denied struct {
	Reason string
	Rules  []Outcome // of all the rules, if it came to them
}

func (d *Denied) Error() string { return "not allowed by the policy: " + d.Reason }

// Generation is the same for policies that say the same.
func (p *Policy) Generation() string { return p.generation }

// Audience is for whom the callers' tokens have to be.
func (p *Policy) Audience() string { return p.audience }

// Rules are the names of the rules, in their order.
func (p *Policy) Rules() []string {
	names := make([]string, len(p.rules))
	for i, r := range p.rules {
		names[i] = r.name
	}
	return names
}

// Decide says what a caller may have of what it asks for: all of it, by the first rule that
// allows it. The error is a [*Denied].
func (p *Policy) Decide(c caller.Caller, a Ask) (Grant, error) {
	a, why := a.checked()
	if why == "" {
		why = p.notForUs(c)
	}
	if why != "" {
		return Grant{}, &Denied{Reason: why}
	}
	denied := &Denied{Reason: "the policy has no rule for it"}
	for _, r := range p.rules {
		grant, why := p.by(r, c, a)
		if why == "" {
			return grant, nil
		}
		denied.Rules = append(denied.Rules, Outcome{r.name, why})
	}
	for _, o := range denied.Rules {
		if o.Reason != "it is for callers of another issuer" {
			denied.Reason = o.Rule + ": " + o.Reason
			break
		}
	}
	return Grant{}, denied
}

// Explain says of each rule why it does not allow, or that it does.
func (p *Policy) Explain(c caller.Caller, a Ask) []Outcome {
	a, shape := a.checked()
	if shape == "" {
		shape = p.notForUs(c)
	}
	outcomes := make([]Outcome, len(p.rules))
	for i, r := range p.rules {
		why := shape
		if why == "" {
			_, why = p.by(r, c, a)
		}
		outcomes[i] = Outcome{r.name, why}
	}
	return outcomes
}

// by is what one rule gives, or why it gives nothing.
func (p *Policy) by(r rule, c caller.Caller, a Ask) (Grant, string) {
	if why := r.who.refuses(c); why != "" {
		return Grant{}, why
	}
	if r.grants.once && c.ID == "" {
		return Grant{}, "a token of the caller's serves once, and it has no jti"
	}
	repositories, why := r.grants.cover(c, a)
	if why != "" {
		return Grant{}, why
	}
	limit, why := p.ceiling(a)
	if why == "" {
		why = limit.narrow(repositories)
	}
	if why != "" {
		return Grant{}, why
	}
	if limit.repositoryFile && a.All {
		return Grant{}, "each repository of " + a.Owner + " decides for itself, and all are asked for"
	}
	return Grant{
		Rule: r.name, Owner: a.Owner, Repositories: repositories, All: a.All, Permissions: a.Permissions,
		MaxLife: r.grants.maxLife, Revoke: r.grants.revoke, Once: r.grants.once,
		RepositoryFile: r.grants.repositoryFile || limit.repositoryFile,
	}, ""
}

var (
	ownerPattern      = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_-]{0,99}\z`)
	repositoryPattern = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}\z`)
	permissionPattern = regexp.MustCompile(`\A[a-z][a-z_]{0,99}\z`)
)

// maxRepositories is GitHub's own limit for a token.
const maxRepositories = 500

func isRepository(name string) bool {
	return repositoryPattern.MatchString(name) && !strings.HasSuffix(name, "/.") && !strings.HasSuffix(name, "/..")
}

func ownerOf(repository string) string {
	owner, _, _ := strings.Cut(repository, "/")
	return owner
}

// checked returns what is asked for with its defaults, each repository once, or why it is
// nothing that can be asked for. Nothing never stands for all.
func (a Ask) checked() (Ask, string) {
	switch {
	case a.All && len(a.Repositories) > 0:
		return a, "repositories are named, and all are asked for"
	case !a.All && len(a.Repositories) == 0:
		return a, "no repository is named"
	case len(a.Repositories) > maxRepositories:
		return a, "more than 500 repositories are named"
	case !ownerPattern.MatchString(a.Owner):
		return a, "the owner has no name that GitHub gives"
	}
	names := map[string]bool{}
	var repositories []string
	for _, name := range a.Repositories {
		switch {
		case !isRepository(name):
			return a, "a repository has no name that GitHub gives"
		case !strings.EqualFold(ownerOf(name), a.Owner):
			return a, "the repositories have several owners"
		}
		if folded := strings.ToLower(name); !names[folded] {
			names[folded] = true
			repositories = append(repositories, folded)
		}
	}
	slices.Sort(repositories)
	a.Owner, a.Repositories = strings.ToLower(a.Owner), repositories
	if len(a.Permissions) == 0 {
		a.Permissions = ghapp.Permissions{"contents": "read"}
	}
	for name, level := range a.Permissions {
		if !permissionPattern.MatchString(name) || level != "read" && level != "write" && level != "admin" {
			return a, "what is asked for is no permission"
		}
	}
	return a, ""
}

// notForUs says why the token of a caller is for another audience, which its verification has
// refused already.
func (p *Policy) notForUs(c caller.Caller) string {
	if c.Claims == nil {
		if strings.HasPrefix(c.Issuer, "spiffe://") {
			return "" // a certificate, which has none
		}
		return "the caller has no claims"
	}
	audience := c.Claims["aud"]
	if list, ok := audience.([]any); ok && len(list) == 1 {
		audience = list[0]
	}
	if audience != p.audience {
		return "the caller's token is for another audience"
	}
	return ""
}

// cover returns the repositories that are asked for as the rule knows them, or says what it
// does not give.
func (g grants) cover(c caller.Caller, a Ask) ([]Repository, string) {
	if !covers(g.permissions, a.Permissions) {
		return nil, fmt.Sprintf("it gives %s, and %s is asked for", g.permissions, a.Permissions)
	}
	owned := g.all && strings.EqualFold(g.owner, a.Owner)
	if a.All {
		if !owned {
			return nil, "it does not give all repositories of " + a.Owner
		}
		return nil, ""
	}
	known := map[string]int64{}
	for _, r := range g.repositories {
		known[strings.ToLower(r.Name)] = r.ID
	}
	if g.own {
		own, why := ownRepository(c)
		if why != "" {
			return nil, why
		}
		if id := known[own.Name]; id != 0 && own.ID != 0 && id != own.ID {
			return nil, "the caller's repository has the name of another one that the rule has by its ID"
		}
		if own.ID != 0 || known[own.Name] == 0 {
			known[own.Name] = own.ID
		}
	}
	repositories := make([]Repository, len(a.Repositories))
	for i, name := range a.Repositories {
		id, ok := known[name]
		if !ok && !owned {
			return nil, "it does not give " + name
		}
		repositories[i] = Repository{ID: id, Name: name}
	}
	return repositories, ""
}

// ownRepository is the one that a caller runs in, by its issuer's claims.
func ownRepository(c caller.Caller) (Repository, string) {
	name, _ := c.Claims["repository"].(string)
	if !isRepository(name) {
		return Repository{}, "the claim repository has no repository"
	}
	own := Repository{Name: strings.ToLower(name)}
	said, there := c.Claims["repository_id"]
	if !there {
		return own, ""
	}
	text, _ := said.(string)
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return Repository{}, "the claim repository_id has no ID"
	}
	own.ID = id
	return own, ""
}

// ceiling is that of the owner, or why it is too low.
func (p *Policy) ceiling(a Ask) (ceiling, string) {
	if p.owners == nil {
		return ceiling{}, ""
	}
	limit, ok := p.owners[a.Owner]
	switch {
	case !ok:
		return limit, "owners has no " + a.Owner
	case !covers(limit.permissions, a.Permissions):
		return limit, fmt.Sprintf("of %s anybody has %s at most, and %s is asked for", a.Owner, limit.permissions,
			a.Permissions)
	case limit.all:
		return limit, ""
	case a.All:
		return limit, "nobody has all repositories of " + a.Owner
	}
	return limit, ""
}

// narrow takes the IDs of the ceiling over, or says which repository it does not have.
func (l ceiling) narrow(repositories []Repository) string {
	if l.all || l.permissions == nil {
		return ""
	}
	for i, r := range repositories {
		at := slices.IndexFunc(l.repositories, func(k Repository) bool { return strings.EqualFold(k.Name, r.Name) })
		switch {
		case at < 0:
			return "nobody has " + r.Name
		case r.ID == 0:
			repositories[i].ID = l.repositories[at].ID
		case l.repositories[at].ID != 0 && l.repositories[at].ID != r.ID:
			return "of " + r.Name + " the owner's ceiling has another ID"
		}
	}
	return ""
}

// covers reports whether permissions give all that is asked for. To read metadata is part of
// every token.
func covers(given, asked ghapp.Permissions) bool {
	if asked["metadata"] == "read" {
		asked = maps.Clone(asked)
		delete(asked, "metadata")
	}
	return given.Covers(asked)
}
