package policy

import (
	"time"

	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/strictyaml"
)

// Test is a row of a table of tests: a caller, what it asks for, and which rule allows it.
type Test struct {
	Name   string
	Line   int
	Caller caller.Caller
	Ask    Ask
	Rule   string // which has to allow it; empty: nothing may
}

// Failure is a test that went otherwise.
type Failure struct {
	Test string `json:"test"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// ReadTests reads the tests of a policy. A caller's audience, where a test names none, is that
// of the policy. The error is a [*config.Error].
func (p *Policy) ReadTests(path string) ([]Test, error) {
	data, err := strictyaml.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var tests []Test
	err = strictyaml.Parse(path, data, func(root strictyaml.Value) {
		root.Keys(map[string]func(strictyaml.Value){
			"tests": func(v strictyaml.Value) {
				for _, item := range v.Items() {
					tests = append(tests, p.test(item))
				}
			},
		})
		if !root.IsMapping() || !root.Has("tests") {
			root.Problem("add tests:", "there are no tests")
		}
	})
	return tests, err
}

func (p *Policy) test(v strictyaml.Value) Test {
	t := Test{Line: v.Line()}
	t.Caller.ID, t.Caller.Expires = "test", time.Now().Add(time.Hour)
	before, denied := v.Count(), false
	v.Keys(map[string]func(strictyaml.Value){
		"name":    func(v strictyaml.Value) { t.Name = v.Text() },
		"issuer":  func(v strictyaml.Value) { t.Caller.Issuer = v.Text() },
		"subject": func(v strictyaml.Value) { t.Caller.Subject = v.Text() },
		"claims":  func(v strictyaml.Value) { t.Caller.Claims = v.Object() },
		"ask":     func(v strictyaml.Value) { t.Ask = ask(v) },
		"rule": func(v strictyaml.Value) {
			t.Rule = v.Text()
		},
		"denied": func(v strictyaml.Value) { denied = v.Bool() },
	})
	switch {
	case v.Count() > before:
		return t
	case t.Name == "" || t.Caller.Issuer == "" || t.Caller.Subject == "":
		v.Problem("", "want name, issuer and subject")
	case denied == (t.Rule != ""):
		v.Problem("", "want rule: with the name of the one that allows it, or denied: true")
	}
	t.Caller.Claims = p.completed(t.Caller)
	return t
}

// completed are the claims of a caller with those that say the same as issuer and subject.
func (p *Policy) completed(c caller.Caller) map[string]any {
	claims := c.Claims
	if claims == nil {
		claims = map[string]any{}
	}
	for name, value := range map[string]string{"iss": c.Issuer, "sub": c.Subject, "aud": p.audience} {
		if _, there := claims[name]; !there {
			claims[name] = value
		}
	}
	return claims
}

func ask(v strictyaml.Value) Ask {
	var a Ask
	v.Keys(map[string]func(strictyaml.Value){
		"repositories": func(v strictyaml.Value) { a.Repositories = v.Texts() },
		"owner":        func(v strictyaml.Value) { a.Owner = v.Text() },
		"all":          func(v strictyaml.Value) { a.All = v.Bool() },
		"permissions":  func(v strictyaml.Value) { a.Permissions = permissions(v) },
	})
	if a.Owner == "" && len(a.Repositories) > 0 {
		a.Owner = ownerOf(a.Repositories[0])
	}
	return a
}

// Run returns the tests that go otherwise, and the rules that no test has allow anything.
func (p *Policy) Run(tests []Test) (failures []Failure, untested []string) {
	tested := map[string]bool{}
	for _, t := range tests {
		grant, err := p.Decide(t.Caller, t.Ask)
		switch {
		case err == nil && t.Rule == "":
			failures = append(failures, Failure{t.Name, t.Line, "it is allowed by the rule " + grant.Rule})
		case err == nil && grant.Rule != t.Rule:
			failures = append(failures, Failure{t.Name, t.Line, "it is allowed by another rule, " + grant.Rule})
		case err != nil && t.Rule != "":
			failures = append(failures, Failure{t.Name, t.Line, err.Error()})
		}
		if err == nil {
			tested[grant.Rule] = true
		}
	}
	for _, name := range p.Rules() {
		if !tested[name] {
			untested = append(untested, name)
		}
	}
	return failures, untested
}
