package policy

import (
	"slices"
	"strconv"

	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

// matcher says whom a rule is for.
type matcher struct {
	issuer  string
	subject []value         // any of them; nil: see actions
	actions *actionsSubject // nil: see subject
	claims  []claimTest     // all of them
	when    *expression     // nil: there is none
}

// claimTest is a claim and its values, of which it has to have one.
type claimTest struct {
	name   string
	values []value
	line   int
}

// value is one that a claim may have.
type value struct {
	exact   any // string, float64 or bool; nil: see pattern
	pattern *pattern
}

func (v value) match(claim any) bool {
	if v.pattern != nil {
		said, ok := claim.(string)
		return ok && v.pattern.match(said)
	}
	switch claim.(type) { // a list, or what is in braces, is equal to no single value
	case string, float64, bool:
		return claim == v.exact
	}
	return false
}

// refusedBy says why a claim has none of the values, or nothing. It is for the audit: what it
// repeats is the caller's.
func refusedBy(values []value, claim any) string {
	if slices.ContainsFunc(values, func(v value) bool { return v.match(claim) }) {
		return ""
	}
	switch said := claim.(type) {
	case nil:
		return "is missing"
	case string:
		return "is " + text.Shorten(strconv.Quote(said), 200)
	}
	return "has another value"
}

// refuses says why a caller is not the one that is meant, or nothing.
func (m *matcher) refuses(c caller.Caller) string {
	if c.Issuer != m.issuer {
		return "it is for callers of another issuer"
	}
	if m.actions != nil {
		if why := m.actions.refuses(c); why != "" {
			return why
		}
	}
	if m.subject != nil {
		if why := refusedBy(m.subject, c.Subject); why != "" {
			return "the subject " + why
		}
	}
	for _, test := range m.claims {
		if why := refusedBy(test.values, c.Claims[test.name]); why != "" {
			return "the claim " + test.name + " " + why
		}
	}
	if why := m.surprises(c); why != "" {
		return why
	}
	if m.when != nil {
		return m.when.refuses(c)
	}
	return ""
}
