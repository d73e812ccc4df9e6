package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/strictyaml"
)

// Read reads a policy. The audience is the one of the door; a policy that names its own is
// for that alone, and without either there is none. The error is a [*config.Error], with the
// line of everything that is wrong.
func Read(path, audience string) (*Policy, error) {
	data, err := strictyaml.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, audience)
}

// Parse is [Read] for a text; the name is that of its file.
func Parse(name string, data []byte, audience string) (*Policy, error) {
	p := &Policy{name: name}
	err := strictyaml.Parse(name, data, func(root strictyaml.Value) {
		r := reader{audience: audience}
		r.policy(root, p)
		canonical, err := root.Canonical()
		if err != nil {
			root.Problem("", "it cannot be read")
		}
		hash := sha256.New()
		hash.Write([]byte("policy\x00" + p.audience + "\x00"))
		hash.Write(canonical)
		p.generation = hex.EncodeToString(hash.Sum(nil))
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// reader is what is needed while a policy is read.
type reader struct {
	audience string
	env      *cel.Env // nil until the first expression
}

func (r *reader) policy(root strictyaml.Value, p *Policy) {
	ruled := false
	root.Keys(map[string]func(strictyaml.Value){
		"audience": func(v strictyaml.Value) {
			p.audience = v.Text()
			if r.audience != "" && p.audience != "" && p.audience != r.audience {
				v.Problem("leave it out, or put the policy where that audience is", "the audience of this door is %s",
					text.OneLine(r.audience))
			}
		},
		"owners": func(v strictyaml.Value) { p.owners = r.owners(v) },
		"rules":  func(v strictyaml.Value) { ruled, p.rules = true, r.rules(v) },
	})
	if p.audience == "" {
		p.audience = r.audience
	}
	if p.audience == "" {
		root.Problem("add audience: with the address of the door", "no audience is named")
	}
	if !ruled {
		root.Problem("add rules:", "there are no rules")
	}
}

func (r *reader) owners(v strictyaml.Value) map[string]ceiling {
	owners := map[string]ceiling{}
	v.Entries(func(name string, v strictyaml.Value) {
		folded := strings.ToLower(name)
		if !ownerPattern.MatchString(name) {
			v.Problem("", "this is no owner")
			return
		}
		if _, twice := owners[folded]; twice {
			v.Problem("", "this owner is there twice")
			return
		}
		owners[folded] = r.ceiling(v, name)
	})
	return owners
}

func (r *reader) ceiling(v strictyaml.Value, owner string) ceiling {
	var c ceiling
	before := v.Count()
	v.Keys(map[string]func(strictyaml.Value){
		"permissions":     func(v strictyaml.Value) { c.permissions = permissions(v) },
		"all":             func(v strictyaml.Value) { c.all = v.Bool() },
		"repository-file": func(v strictyaml.Value) { c.repositoryFile = v.Bool() },
		"repositories": func(v strictyaml.Value) {
			for _, item := range v.Items() {
				repository := repository(item)
				if repository.Name != "" && !strings.EqualFold(ownerOf(repository.Name), owner) {
					item.Problem("", "this is not a repository of %s", owner)
				}
				c.repositories = append(c.repositories, repository)
			}
		},
	})
	switch {
	case v.Count() > before:
	case c.permissions == nil:
		v.Problem("add permissions: with the most that anybody has", "no permissions are named")
	case c.all == (c.repositories != nil):
		v.Problem("name repositories, or say all: true", "it is not clear which repositories it is about")
	}
	return c
}

func (r *reader) rules(v strictyaml.Value) []rule {
	var rules []rule
	seen := map[string]int{}
	for _, item := range v.Items() {
		rule := r.rule(item)
		if first := seen[rule.name]; rule.name != "" && first != 0 {
			item.Problem("", "another rule has the name %s, in line %d", rule.name, first)
		}
		seen[rule.name] = item.Line()
		rules = append(rules, rule)
	}
	return rules
}

var rulePattern = regexp.MustCompile(`\A[a-z0-9][a-z0-9-]{0,38}\z`)

func (r *reader) rule(v strictyaml.Value) rule {
	made := rule{line: v.Line()}
	granted, before := false, v.Count()
	keys := r.matcher(&made.who)
	keys["name"] = func(v strictyaml.Value) {
		if made.name = v.Text(); made.name != "" && !rulePattern.MatchString(made.name) {
			v.Problem("use up to 39 small letters, digits and hyphens", "this cannot be the name of a rule")
			made.name = ""
		}
	}
	keys["grants"] = func(v strictyaml.Value) { granted, made.grants = true, readGrants(v) }
	v.Keys(keys)
	switch {
	case v.Count() > before:
	case made.name == "":
		v.Problem("add name:", "the rule has no name")
	case !granted:
		v.Problem("add grants:", "the rule gives nothing")
	default:
		checkMatcher(v, &made.who)
	}
	return made
}

// matcher are the keys that say whom a rule is for.
func (r *reader) matcher(m *matcher) map[string]func(strictyaml.Value) {
	return map[string]func(strictyaml.Value){
		"issuer": func(v strictyaml.Value) {
			m.issuer = v.Text()
			if m.issuer != "" && !isIssuer(m.issuer) {
				v.Problem("write it as the iss claim has it", "an issuer begins with https:// or spiffe://")
			}
		},
		"subject": func(v strictyaml.Value) {
			if v.IsMapping() && !v.Has("pattern") {
				m.actions = readActions(v)
				return
			}
			m.subject = values(v, subjectText)
		},
		"claims": func(v strictyaml.Value) {
			v.Entries(func(name string, v strictyaml.Value) {
				m.claims = append(m.claims, claimTest{name, values(v, strictyaml.Value.Scalar), v.Line()})
			})
		},
		"when": func(v strictyaml.Value) {
			source := v.Block()
			if source == "" {
				return
			}
			var err error
			if r.env == nil {
				r.env, err = language()
			}
			if err == nil {
				m.when, err = newExpression(r.env, source)
			}
			if err != nil {
				v.Problem("", "%s", err)
			}
		},
	}
}

// isIssuer reports whether an issuer has such a name. One by http is on this machine, for tests.
func isIssuer(name string) bool {
	for _, prefix := range []string{"https://", "spiffe://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// identities are claims that say who somebody is. Others say what he does: everybody may have
// the branch main.
func identities() []string {
	return []string{
		"sub", "repository", "repository_id", "repository_owner", "repository_owner_id", "enterprise_id", // GitHub
		"project_id", "project_path", "namespace_id", "namespace_path", "user_id", // GitLab
		"organization_id", "organization_slug", "pipeline_id", // Buildkite
		"oidc.circleci.com/project-id", "oidc.circleci.com/org-id",
		"email", "oid", "azp", // the clouds
	}
}

// checkMatcher refuses a rule that is for anybody.
func checkMatcher(v strictyaml.Value, m *matcher) {
	switch {
	case m.issuer == "":
		v.Problem("add issuer: with the address of who vouches for the caller", "the rule names no issuer")
	case m.subject == nil && m.actions == nil &&
		!slices.ContainsFunc(m.claims, func(c claimTest) bool { return slices.Contains(identities(), c.name) }):
		v.Problem("add subject:, or a claim such as repository_id", "the rule does not say who the caller has to be")
	}
}

// subjectText is a subject, which is always a text.
func subjectText(v strictyaml.Value) any {
	if text := v.Text(); text != "" {
		return text
	}
	return nil
}

// values are one value, a pattern, or a list of these.
func values(v strictyaml.Value, scalar func(strictyaml.Value) any) []value {
	items := []strictyaml.Value{v}
	if v.IsList() {
		items = v.Items()
	}
	list := make([]value, 0, len(items))
	for _, item := range items {
		if item.IsMapping() {
			list = append(list, readPattern(item))
			continue
		}
		list = append(list, value{exact: scalar(item)})
	}
	return list
}

func readPattern(v strictyaml.Value) value {
	var source string
	var slashes bool
	v.Keys(map[string]func(strictyaml.Value){
		"pattern": func(v strictyaml.Value) { source = v.Text() },
		"slashes": func(v strictyaml.Value) { slashes = v.Bool() },
	})
	if source == "" {
		if !v.Has("pattern") {
			v.Problem("", "want a value, a list, or {pattern: …}")
		}
		return value{}
	}
	compiled, err := newPattern(source, slashes)
	if err != nil {
		v.Problem("", "%s", err)
	}
	return value{pattern: compiled}
}

func readActions(v strictyaml.Value) *actionsSubject {
	a := &actionsSubject{}
	before := v.Count()
	v.Keys(map[string]func(strictyaml.Value){
		"repository":    func(v strictyaml.Value) { a.repository = repositoryName(v) },
		"repository-id": func(v strictyaml.Value) { a.repositoryID = v.Integer() },
		"owner-id":      func(v strictyaml.Value) { a.ownerID = v.Integer() },
		"context":       func(v strictyaml.Value) { a.contexts = values(v, subjectText) },
	})
	switch {
	case v.Count() > before:
	case a.repositoryID == 0 || a.ownerID == 0:
		v.Problem("gh api repos/OWNER/NAME has both", "a subject in both of its forms needs repository-id and owner-id")
	case a.contexts == nil:
		v.Problem("add context:, such as ref:refs/heads/main", "the subject has no context")
	}
	return a
}

func readGrants(v strictyaml.Value) grants {
	g := grants{line: v.Line()}
	before := v.Count()
	v.Keys(map[string]func(strictyaml.Value){
		"repositories": func(v strictyaml.Value) {
			for _, item := range v.Items() {
				if item.IsText() && item.Text() == "{{repository}}" {
					g.own = true
					continue
				}
				if repository := repository(item); repository.Name != "" {
					g.repositories = append(g.repositories, repository)
				}
			}
		},
		"permissions": func(v strictyaml.Value) { g.permissions = permissions(v) },
		"all":         func(v strictyaml.Value) { g.all = v.Bool() },
		"owner": func(v strictyaml.Value) {
			if g.owner = v.Text(); g.owner != "" && !ownerPattern.MatchString(g.owner) {
				v.Problem("", "this is no owner")
			}
		},
		"max-life": func(v strictyaml.Value) {
			if g.maxLife = v.Duration(); g.maxLife != 0 && (g.maxLife < time.Minute || g.maxLife > time.Hour) {
				v.Problem("", "want a time from 1m to 1h")
			}
		},
		"revoke":          func(v strictyaml.Value) { g.revoke = v.Bool() },
		"once":            func(v strictyaml.Value) { g.once = v.Bool() },
		"repository-file": func(v strictyaml.Value) { g.repositoryFile = v.Bool() },
	})
	if v.Count() == before {
		g.check(v)
	}
	return g
}

// check refuses grants that do not fit together.
func (g grants) check(v strictyaml.Value) {
	named := g.own || len(g.repositories) > 0
	names := map[string]bool{}
	for _, r := range g.repositories {
		if names[strings.ToLower(r.Name)] {
			v.Problem("", "%s is there twice", r.Name)
		}
		names[strings.ToLower(r.Name)] = true
	}
	switch {
	case g.permissions == nil:
		v.Problem("add permissions:, such as {contents: read}", "no permissions are named")
	case g.all == named:
		v.Problem("name repositories, or say all: true with owner:", "it is not clear which repositories it is about")
	case g.all == (g.owner == ""):
		v.Problem("", "all: true and owner: go together")
	case g.all && g.repositoryFile:
		v.Problem("", "repository-file asks each repository, and does not go with all: true")
	case g.revoke && g.maxLife == 0:
		v.Problem("add max-life:", "revoke ends the token after max-life, and there is none")
	}
}

// repository is owner/name, or that with its ID.
func repository(v strictyaml.Value) Repository {
	if !v.IsMapping() {
		return Repository{Name: repositoryName(v)}
	}
	var r Repository
	before := v.Count()
	v.Keys(map[string]func(strictyaml.Value){
		"name": func(v strictyaml.Value) { r.Name = repositoryName(v) },
		"id":   func(v strictyaml.Value) { r.ID = v.Integer() },
	})
	if v.Count() == before && (r.ID == 0 || r.Name == "") {
		v.Problem("", "want {name: OWNER/NAME, id: NUMBER}")
	}
	return r
}

func repositoryName(v strictyaml.Value) string {
	name := v.Text()
	if name != "" && !isRepository(name) {
		v.Problem("write OWNER/NAME", "this is no repository")
		return ""
	}
	return name
}

// permissions are GitHub's names of them with read, write or admin. Which names there are is
// not looked up: GitHub adds to them.
func permissions(v strictyaml.Value) ghapp.Permissions {
	list := ghapp.Permissions{}
	v.Entries(func(name string, v strictyaml.Value) {
		level := v.Text()
		switch {
		case !permissionPattern.MatchString(name):
			v.Problem("", "a permission of GitHub's has a name of small letters and _")
		case level != "" && !slices.Contains(permission.Levels(), level):
			v.Problem("", "want read, write or admin")
		}
		list[name] = level
	})
	return list
}
