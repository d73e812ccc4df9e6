package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Finding is something in a policy that is allowed to be there, and may be more than was meant.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Rule string `json:"rule,omitempty"`
	Kind string `json:"kind"` // a stable word, such as recycled-name
	Text string `json:"text"`
}

// Lint looks for what may be more than was meant. home is the repository, owner/name, that the
// policy is kept in; empty: it is in none.
func (p *Policy) Lint(home string) []Finding {
	l := &linter{policy: p, home: home}
	if p.owners == nil {
		l.find(1, "", "no-ceiling", "no owner has a ceiling: add owners: with the most that anybody has of each")
	}
	for i := range p.rules {
		r := &p.rules[i]
		l.patterns(r)
		l.identity(r)
		l.names(r)
		l.power(r)
	}
	return l.findings
}

type linter struct {
	policy   *Policy
	home     string
	findings []Finding
}

func (l *linter) find(line int, rule, kind, format string, args ...any) {
	l.findings = append(l.findings, Finding{l.policy.name, line, rule, kind, fmt.Sprintf(format, args...)})
}

// tests are all that a rule compares, by where it stands.
func (r *rule) tests() []claimTest {
	list := []claimTest{{"the subject", r.who.subject, r.line}}
	if r.who.actions != nil {
		list = append(list, claimTest{"the subject's context", r.who.actions.contexts, r.line})
	}
	return append(list, r.who.claims...)
}

// patterns reports wildcards: what begins with anything, leaves the owner open, or runs over
// a slash.
func (l *linter) patterns(r *rule) {
	for _, test := range r.tests() {
		for _, v := range test.values {
			if v.pattern == nil {
				continue
			}
			shown := text.Shorten(v.pattern.text, 80)
			prefix := v.pattern.prefix()
			if v.pattern.crossesSlash() {
				l.find(test.line, r.name, "slash", "%s: %q may match a slash, and so another owner's or repository's name",
					test.name, shown)
			}
			owned := test.name == "repository" || test.name == "job_workflow_ref" || strings.HasPrefix(prefix, "repo:")
			switch {
			case prefix == "" && test.name != "the subject's context":
				l.find(test.line, r.name, "wildcard", "%s: %q begins with anything", test.name, shown)
			case owned && !strings.Contains(prefix, "/"):
				l.find(test.line, r.name, "wildcard", "%s: %q does not spell the owner out: other owners' names may match",
					test.name, shown)
			}
		}
	}
	if r.who.when != nil && r.who.when.unanchored() {
		l.find(r.line, r.name, "unanchored", "when: matches() looks for a part of the text: put ^ and $ around its pattern")
	}
}

// permanent are claims that no other gets when a name is free again.
func permanent() []string {
	return []string{
		"repository_id", "repository_owner_id", "enterprise_id", "project_id", "namespace_id", "user_id",
		"organization_id", "pipeline_id", "oidc.circleci.com/project-id", "oidc.circleci.com/org-id", "oid",
	}
}

// identity reports callers who are known by a name only, and IDs that are never equal.
func (l *linter) identity(r *rule) {
	byID := r.who.actions != nil || strings.HasPrefix(r.who.issuer, "spiffe://")
	for _, v := range r.who.subject {
		said, _ := v.exact.(string)
		if s, ok := ParseSubject(said); ok && s.RepositoryID != 0 {
			byID = true
		}
	}
	narrow := r.who.actions != nil || r.who.subject != nil
	for _, test := range r.who.claims {
		id := slices.Contains(permanent(), test.name)
		byID = byID || id
		narrow = narrow || !slices.Contains([]string{"repository_owner", "repository_owner_id", "enterprise_id"}, test.name)
		for _, v := range test.values {
			if _, number := v.exact.(float64); number && id {
				l.find(test.line, r.name, "number", "%s: issuers write IDs as texts: put it in quotes", test.name)
			}
		}
	}
	if !byID {
		l.find(r.line, r.name, "recycled-name", "callers are known by a name, which another may have one day: "+
			"compare an ID, such as repository_id")
	}
	if !narrow && (r.grants.all || len(r.grants.repositories) > 0) {
		l.find(r.line, r.name, "any-repository", "every repository of the owner may have this, with every branch and pull "+
			"request: compare ref, environment or job_workflow_ref")
	}
}

// names reports repositories that are known by a name only.
func (l *linter) names(r *rule) {
	var named []string
	for _, repository := range r.grants.repositories {
		if repository.ID == 0 {
			named = append(named, repository.Name)
		}
	}
	if len(named) > 0 {
		l.find(r.grants.line, r.name, "recycled-name", "known by a name, which another may have one day: %s: "+
			"write {name: …, id: …}", text.Shorten(strings.Join(named, ", "), 200))
	}
}

// power reports what lets its holder have more than the rule gives.
func (l *linter) power(r *rule) {
	writes := func(name string) bool {
		level := r.grants.permissions[name]
		return level == "write" || level == "admin"
	}
	if writes("contents") && l.home != "" {
		for _, repository := range r.grants.repositories {
			if strings.EqualFold(repository.Name, l.home) {
				l.find(r.grants.line, r.name, "self-edit", "its holder can rewrite this policy, which is kept in %s", l.home)
			}
		}
		if r.grants.all && strings.EqualFold(r.grants.owner, ownerOf(l.home)) {
			l.find(r.grants.line, r.name, "self-edit", "its holder can rewrite this policy: %s is among all of %s", l.home,
				r.grants.owner)
		}
		if r.grants.own && !l.elsewhere(r) {
			l.find(r.grants.line, r.name, "self-edit", "runs of %s can rewrite this policy, which is kept there", l.home)
		}
	}
	for _, name := range []string{"workflows", "administration", "secrets", "environments", "members"} {
		if writes(name) {
			l.find(r.grants.line, r.name, "escalation", "%s: %s lets its holder change who may do what", name,
				r.grants.permissions[name])
		}
	}
	if writes("contents") && r.grants.repositoryFile {
		l.find(r.grants.line, r.name, "self-edit", "its holder can rewrite the repository's own file, which is to limit it")
	}
	for name := range r.grants.permissions {
		if !slices.Contains(permission.Names(), name) {
			l.find(r.grants.line, r.name, "unknown-permission", "%s is no permission known here %s", name,
				spelling.DidYouMean(spelling.Nearest(name, permission.Names())))
		}
	}
}

// elsewhere reports whether a rule is for the runs of other repositories than the policy's.
func (l *linter) elsewhere(r *rule) bool {
	for _, test := range r.who.claims {
		if test.name == "repository" && refusedBy(test.values, l.home) != "" {
			return true
		}
		if test.name == "repository_owner" && refusedBy(test.values, ownerOf(l.home)) != "" {
			return true
		}
	}
	if a := r.who.actions; a != nil {
		return a.repository != "" && !strings.EqualFold(a.repository, l.home)
	}
	for _, v := range r.who.subject {
		said, _ := v.exact.(string)
		s, ok := ParseSubject(said)
		if !ok || strings.EqualFold(s.Owner+"/"+s.Name, l.home) {
			return false
		}
	}
	return r.who.subject != nil
}
