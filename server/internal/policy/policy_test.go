package policy_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

const (
	door    = "https://ghapp.example.com"
	actions = "https://token.actions.githubusercontent.com"
)

// parse reads a policy that has to be right.
func parse(t testing.TB, source string) *policy.Policy {
	t.Helper()
	return testkit.Must(policy.Parse("policy.yaml", []byte(source), door))(t)
}

// rule is a policy of one rule for the site of acme: its conditions, indented by two.
func rule(conditions string) string {
	return "rules:\n- name: site\n  issuer: " + actions + "\n" + conditions +
		"\n  grants: {repositories: [acme/site], permissions: {contents: read}}\n"
}

// run is a run of GitHub Actions in acme/site, of ID 42, on main, with changes.
func run(changes map[string]any) caller.Caller {
	claims := map[string]any{
		"iss": actions, "aud": door, "sub": "repo:acme/site:ref:refs/heads/main", "repository": "acme/site",
		"repository_id": "42", "repository_owner": "acme", "repository_owner_id": "7", "ref": "refs/heads/main",
		"event_name": "push", "job_workflow_ref": "acme/site/.github/workflows/ci.yml@refs/heads/main",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return caller.Caller{Issuer: claims["iss"].(string), Subject: claims["sub"].(string), Claims: claims, ID: "jti-1"}
}

func subject(sub string) caller.Caller { return run(map[string]any{"sub": sub}) }

// site asks for what most tests ask for.
func site() policy.Ask { return policy.Ask{Owner: "acme", Repositories: []string{"acme/site"}} }

func allowed(t testing.TB, p *policy.Policy, c caller.Caller, a policy.Ask) policy.Grant {
	t.Helper()
	return testkit.Must(p.Decide(c, a))(t)
}

func refused(t testing.TB, p *policy.Policy, c caller.Caller, a policy.Ask, because ...string) {
	t.Helper()
	grant, err := p.Decide(c, a)
	if err == nil {
		t.Errorf("it was allowed: %+v", grant)
		return
	}
	testkit.ErrorContains(t, err, because...)
}

func TestAPatternIsAnchoredAtBothEndsOfEachBranch(t *testing.T) {
	t.Parallel()
	p := parse(t, rule(`  subject: {pattern: "repo:acme/site:ref:refs/heads/main|repo:acme/site:ref:refs/heads/next"}`))
	allowed(t, p, subject("repo:acme/site:ref:refs/heads/main"), site())
	allowed(t, p, subject("repo:acme/site:ref:refs/heads/next"), site())
	for _, sub := range []string{
		"repo:acme/site:ref:refs/heads/main-evil", "evil-repo:acme/site:ref:refs/heads/next",
		"repo:acme/site:ref:refs/heads/main\n", "repo:acme/site:ref:refs/heads/main\nrepo:acme/site:ref:refs/heads/next",
	} {
		refused(t, p, subject(sub), site(), "the subject")
	}
}

func TestBranchesOfAPatternThatShareNothingAreAnchored(t *testing.T) {
	t.Parallel()
	p := parse(t, rule(`  subject: {pattern: "alpha|beta|gamma"}`))
	for _, sub := range []string{"alpha", "beta", "gamma"} {
		allowed(t, p, subject(sub), site())
	}
	for _, sub := range []string{"alpha-evil", "evil-gamma", "a-beta-b", "beta\n", "\nbeta", "alpha|beta"} {
		refused(t, p, subject(sub), site(), "the subject")
	}
}

func TestAPatternThatLoosensItsAnchorsIsRefused(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		`a)|(`:                    "no regular expression",
		`(?m)^a$`:                 "(?m)",
		`a(?m:$)`:                 "(?m)",
		`.*`:                      "nothing at all",
		`a|`:                      "nothing at all",
		`(a`:                      "no regular expression",
		`(?:a{1000}){1000}`:       "no regular expression",
		strings.Repeat("a", 1001): "1000",
	} {
		source := rule(fmt.Sprintf("  subject: {pattern: '%s'}", pattern))
		testkit.ErrorContains(t, testkit.ErrorOf(policy.Parse("policy.yaml", []byte(source), door)),
			"policy.yaml:4", want)
	}
}

func TestWhatStandsForAnyCharacterIsNoSlashUnlessSaidSo(t *testing.T) {
	t.Parallel()
	for _, some := range []string{`.+`, `[^:]+`, `\S+`, `(?s:.)+`, `[^a]{1,50}`, `(?:\D|\d)+`, `\PL+`} {
		closed := parse(t, rule(`  subject: {pattern: 'repo:acme`+some+`:ref:refs/heads/main'}`))
		refused(t, closed, subject("repo:acme/site:ref:refs/heads/main"), site(), "the subject")
		open := parse(t, rule(`  subject: {pattern: 'repo:acme`+some+`:ref:refs/heads/main', slashes: true}`))
		if some != `\PL+` {
			allowed(t, open, subject("repo:acme/site:ref:refs/heads/main"), site())
		}
	}
	p := parse(t, rule(`  subject: {pattern: 'repo:acme/.+:ref:refs/heads/[a-z/]+'}`))
	allowed(t, p, subject("repo:acme/site:ref:refs/heads/release/one"), site())
}

func TestAPolicyWithoutSubjectOrAudienceIsRefused(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		rule(""):                                     "policy.yaml:2: rules[0]: the rule does not say who",
		rule("  claims: {ref: refs/heads/main}"):     "does not say who",
		rule("  when: claims.repository_id == '42'"): "does not say who",
		"audience: " + door + "\n":                   "there are no rules",
		"rules: []":                                  "nothing in here",
		"audience: https://other.example.com\n" + rule("  subject: a"): "the audience of this door is " + door,
		"rules:\n- name: a\n  subject: b\n  grants: {repositories: [a/b], permissions: {contents:" +
			" read}}": "names no issuer",
		"rules:\n- name: a\n  issuer: https://i.example.com\n  subject:" +
			" b\n": "gives nothing",
		"rules:\n- issuer: https://i.example.com\n  subject: b\n  grants: {repositories: [a/b], permissions: {contents:" +
			" read}}": "no name",
	} {
		testkit.ErrorContains(t, testkit.ErrorOf(policy.Parse("policy.yaml", []byte(source), door)), want)
	}
	testkit.ErrorContains(t, testkit.ErrorOf(policy.Parse("policy.yaml", []byte(rule("  subject: a")), "")),
		"no audience is named")
	own := "audience: " + door + "\n" + rule("  subject: repo:acme/site:ref:refs/heads/main")
	allowed(t, testkit.Must(policy.Parse("policy.yaml", []byte(own), ""))(t), run(nil), site())
}

func TestATokenForAnotherAudienceIsRefused(t *testing.T) {
	t.Parallel()
	p := parse(t, rule("  subject: repo:acme/site:ref:refs/heads/main"))
	allowed(t, p, run(map[string]any{"aud": []any{door}}), site())
	for _, aud := range []any{
		"https://other.example.com", []any{door, "https://other.example.com"}, nil, "", []any{}, door + "/",
		"https://GHAPP.example.com", true,
	} {
		refused(t, p, run(map[string]any{"aud": aud}), site(), "another audience")
	}
	refused(t, p, caller.Caller{Issuer: actions, Subject: "repo:acme/site:ref:refs/heads/main"}, site(), "no claims")
}

func TestAFileThatCanBeReadInTwoWaysIsRefusedWithItsLine(t *testing.T) {
	t.Parallel()
	good := rule("  subject: repo:acme/site:ref:refs/heads/main")
	for source, want := range map[string]string{
		strings.Replace(good, "subject", "subjects", 1): `policy.yaml:4: unknown key "subjects" in rules[0] ` +
			`(did you mean "subject"?)`,
		good + "rules: [a]\n": `policy.yaml:6: the key "rules" is there twice, ` +
			`first in line 1`,
		strings.Replace(good, "name: site", "name: &a site", 1): "policy.yaml:2: anchors and aliases",
		"audience: &a " + door + "\n" + strings.Replace(good, "repo:acme/site:ref:refs/heads/main", "*a",
			1): "policy.yaml:1: anchors",
		good + "---\nrules: [a]\n":                                               "policy.yaml:6: a second YAML document",
		strings.Replace(good, "  subject", "\tsubject", 1):                       "policy.yaml:4: there is a tab",
		strings.Replace(good, "name: site", "name: !!str site", 1):               "policy.yaml:2: tags",
		strings.Replace(good, "{contents: read}", "{}", 1):                       "policy.yaml:5: there is nothing in here",
		strings.Replace(good, "{contents: read}", "~", 1):                        "policy.yaml:5: there is no value here",
		strings.Replace(good, "[acme/site]", "[]", 1):                            "policy.yaml:5: there is nothing in here",
		strings.Replace(good, "{contents: read}", "{contents: all}", 1):          "want read, write or admin",
		strings.Replace(good, "{contents: read}", "{contents: yes}", 1):          "want read, write or admin",
		strings.Replace(good, "{contents: read}", "{Contents: read}", 1):         "small letters",
		strings.Replace(good, "[acme/site]", "[acme/*]", 1):                      "no repository",
		strings.Replace(good, "[acme/site]", "['{{ repository }}']", 1):          "no repository",
		strings.Replace(good, "[acme/site]", "[acme/site, Acme/SITE]", 1):        "twice",
		strings.Replace(good, "repositories: [acme/site]", "all: true", 1):       "go together",
		strings.Replace(good, "repositories: [acme/site], ", "", 1):              "not clear which repositories",
		strings.Replace(good, "{repositories", "{max-life: 2h, repositories", 1): "from 1m to 1h",
		strings.Replace(good, "{repositories", "{revoke: true, repositories", 1): "max-life",
		strings.Replace(good, "{repositories", "{once: yes, repositories", 1):    "true or false",
		"a: [" + strings.Repeat("*x, ", 3) + "]":                                 "no anchor",
		"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n":                            "anchors",
		"<<: {a: b}":  "merging",
		"{":           "not YAML",
		"":            "empty",
		"# nothing\n": "empty",
		strings.Repeat("# a comment of some length\n", 40_000): "1048576 bytes",
	} {
		err := testkit.ErrorOf(policy.Parse("policy.yaml", []byte(source), door))
		if err == nil {
			t.Errorf("it was read:\n%.300s", source)
			continue
		}
		testkit.ErrorAs[*config.Error](t, err)
		testkit.ErrorContains(t, err, want)
	}
}

func TestAFileThatIsNotThereIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	testkit.ErrorContains(t, testkit.ErrorOf(policy.Read(path, door)), path, "cannot read")
	testkit.OK(t, os.WriteFile(path, nil, 0o600))
	testkit.ErrorContains(t, testkit.ErrorOf(policy.Read(path, door)), path, "empty")
}

func TestOddCharactersInNamesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a/b", "..", "a%2e", "a\\0b", "a b", "ä", "A", "-a", "a\\u202e", strings.Repeat("a",
		40)} {
		source := strings.Replace(rule("  subject: a"), "name: site", `name: "`+name+`"`, 1)
		testkit.ErrorContains(t, testkit.ErrorOf(policy.Parse("policy.yaml", []byte(source), door)), "policy.yaml:2")
	}
	p := parse(t, rule("  subject: repo:acme/site:ref:refs/heads/main"))
	for _, name := range []string{
		"acme/..", "acme/.", "acme/site/x", "acme/si te", "acme/%2e", "acme/site\x00", "acme/sité", "acme", "/site", "acme/",
		"../site", "https://github.com/acme/site", "acme/site\n",
	} {
		refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{name}}, "repositor")
	}
	for _, owner := range []string{"", "..", "ac/me", "acme\n"} {
		refused(t, p, run(nil), policy.Ask{Owner: owner, Repositories: []string{"acme/site"}})
	}
}

func TestBothFormsOfASubjectServeIfTheRuleNamesTheIDs(t *testing.T) {
	t.Parallel()
	byID := parse(t, rule("  subject: {repository-id: 42, owner-id: 7, context: 'ref:refs/heads/main'}"))
	const legacy, immutable = "repo:acme/site:ref:refs/heads/main", "repo:acme@7/site@42:ref:refs/heads/main"
	allowed(t, byID, subject(legacy), site())
	allowed(t, byID, subject(immutable), site())
	allowed(t, byID, run(map[string]any{"sub": immutable, "repository_id": nil, "repository_owner_id": nil}), site())
	// Somebody has made a repository with the name of one that is gone.
	for _, c := range []caller.Caller{
		run(map[string]any{"sub": legacy, "repository_id": "43"}),
		run(map[string]any{"sub": legacy, "repository_owner_id": "8"}),
		run(map[string]any{"sub": legacy, "repository_id": nil}),
		run(map[string]any{"sub": legacy, "repository_id": 42.0}),
		run(map[string]any{"sub": immutable, "repository_id": "43"}),
		subject("repo:acme@7/site@43:ref:refs/heads/main"),
		subject("repo:acme@8/site@42:ref:refs/heads/main"),
		subject("repo:acme@7/site:ref:refs/heads/main"),
		subject("repo:acme@7/site@42:ref:refs/heads/other"),
		subject("repo:acme@7/site@42:"),
	} {
		refused(t, byID, c, site())
	}
	byText := parse(t, rule("  subject: "+legacy))
	allowed(t, byText, subject(legacy), site())
	refused(t, byText, subject(immutable), site())
	named := parse(t, rule("  subject: {repository: Acme/Site, repository-id: 42, owner-id: 7, context:"+
		" 'ref:refs/heads/main'}"))
	allowed(t, named, subject(immutable), site())
	refused(t, named, subject("repo:acme@7/renamed@42:ref:refs/heads/main"), site(), "by its name")
}

func TestARuleForABranchIsForNoPullRequest(t *testing.T) {
	t.Parallel()
	const reusable = "evil/flows/.github/workflows/build.yml@refs/heads/main"
	for _, conditions := range []string{
		"  subject: repo:acme/site:ref:refs/heads/main",
		"  subject: {repository-id: 42, owner-id: 7, context: 'ref:refs/heads/main'}",
		"  claims: {repository_id: '42', ref: refs/heads/main}",
	} {
		p := parse(t, rule(conditions))
		allowed(t, p, run(nil), site())
		for _, changes := range []map[string]any{
			{"sub": "repo:acme/site:pull_request", "event_name": "pull_request", "ref": "refs/pull/1/merge"},
			{"event_name": "pull_request_target"},
			{"event_name": "pull_request"},
			{"job_workflow_ref": reusable},
		} {
			refused(t, p, run(changes), site())
		}
	}
	target := parse(t, rule("  claims: {repository_id: '42', event_name: [push, pull_request_target]}"))
	allowed(t, target, run(map[string]any{"event_name": "pull_request_target"}), site())
	refused(t, target, run(map[string]any{"event_name": "pull_request"}), site())
	pulls := parse(t, rule("  subject: repo:acme/site:pull_request"))
	allowed(t, pulls, run(map[string]any{"sub": "repo:acme/site:pull_request", "event_name": "pull_request"}), site())
	flows := parse(t, rule("  claims: {repository_id: '42', job_workflow_ref: "+reusable+"}"))
	allowed(t, flows, run(map[string]any{"job_workflow_ref": reusable}), site())
	byCEL := parse(t, rule("  subject: repo:acme/site:ref:refs/heads/main\n  when: claims.event_name =="+
		" 'pull_request_target'"))
	allowed(t, byCEL, run(map[string]any{"event_name": "pull_request_target"}), site())
	refused(t, byCEL, run(nil), site(), "when is not true")
}

func TestAClaimIsComparedWithItsKind(t *testing.T) {
	t.Parallel()
	with := func(test string) *policy.Policy {
		return parse(t, rule("  claims: {repository_id: '42', x: "+test+"}"))
	}
	for test, claim := range map[string]any{
		"a": "a", "1": 1.0, "1.5": 1.5, "true": true, "false": false, "[a, 1, true]": 1.0, "{pattern: a+}": "aa", "'1'": "1",
	} {
		allowed(t, with(test), run(map[string]any{"x": claim}), site())
	}
	for test, claims := range map[string][]any{
		"a":              {nil, "A", "a ", []any{"a"}, map[string]any{"a": "a"}, true, 1.0},
		"1":              {"1", true, 1.5},
		"'1'":            {1.0},
		"true":           {"true", 1.0, nil},
		"false":          {nil, "", 0.0},
		"{pattern: '1'}": {1.0},
		"[a, b]":         {[]any{"a", "b"}, "ab", nil},
	} {
		for _, claim := range claims {
			refused(t, with(test), run(map[string]any{"x": claim}), site(), "the claim x")
		}
	}
}

func TestAConditionThatFailsOrCostsTooMuchIsNotTrue(t *testing.T) {
	t.Parallel()
	with := func(when string) string {
		return rule("  subject: repo:acme/site:ref:refs/heads/main\n  when: " + when)
	}
	allowed(t, parse(t, with(`claims.repository_owner_id in ["7", "8"] && subject.startsWith("repo:acme/")`)), run(nil),
		site())
	refused(t, parse(t, with(`claims.missing == "x"`)), run(nil), site(), "when fails")
	many := make([]any, 2000)
	for i := range many {
		many[i] = float64(i)
	}
	dear := with("claims.many.all(a, claims.many.all(b, a != b || true))")
	refused(t, parse(t, dear), run(map[string]any{"many": many}), site(), "when fails", "cost")
	for when, want := range map[string]string{
		`claims.a`:      "", // may be true or false
		`subject`:       "not true or false",
		`subject == 1`:  "no matching overload",
		`nobody == "x"`: "undeclared",
		`"` + strings.Repeat("a", 5000) + `" == ""`:                  "size exceeds",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100): "recursion",
	} {
		err := testkit.ErrorOf(policy.Parse("policy.yaml", []byte(with("'"+when+"'")), door))
		if want == "" {
			want = "not true or false"
		}
		testkit.ErrorContains(t, err, "policy.yaml:5", want)
	}
}

func TestNothingAskedForNeverMeansAll(t *testing.T) {
	t.Parallel()
	all := parse(t, strings.Replace(rule("  subject: repo:acme/site:ref:refs/heads/main"),
		"repositories: [acme/site]", "all: true, owner: acme", 1))
	refused(t, all, run(nil), policy.Ask{Owner: "acme"}, "no repository is named")
	refused(t, all, run(nil), policy.Ask{Owner: "acme", Repositories: []string{}}, "no repository is named")
	refused(t, all, run(nil), policy.Ask{Owner: "acme", Repositories: []string{""}}, "no name")
	refused(t, all, run(nil), policy.Ask{Owner: "acme", All: true, Repositories: []string{"acme/site"}},
		"all are asked for")
	refused(t, all, run(nil), policy.Ask{Owner: "other", All: true}, "does not give all")
	grant := allowed(t, all, run(nil), policy.Ask{Owner: "Acme", All: true})
	testkit.Equal(t, grant.All && grant.Repositories == nil && grant.Owner == "acme", true, "all")
	some := allowed(t, all, run(nil), site())
	testkit.Equal(t, some.All, false, "one of all")
	testkit.Diff(t, some.Repositories, []policy.Repository{{Name: "acme/site"}})
	one := parse(t, rule("  subject: repo:acme/site:ref:refs/heads/main"))
	refused(t, one, run(nil), policy.Ask{Owner: "acme", All: true}, "does not give all")
	for _, permissions := range []ghapp.Permissions{nil, {}} {
		a := site()
		a.Permissions = permissions
		testkit.Equal(t, allowed(t, one, run(nil), a).Permissions.String(), "contents:read", "permissions")
	}
	for _, permissions := range []ghapp.Permissions{{"": "read"}, {"contents": ""}, {"contents": "all"},
		{"contents": "owner"}} {
		a := site()
		a.Permissions = permissions
		refused(t, one, run(nil), a, "no permission")
	}
}

func TestWhoAsksForMoreGetsNothing(t *testing.T) {
	t.Parallel()
	p := parse(t, strings.Replace(rule("  subject: repo:acme/site:ref:refs/heads/main"),
		"{contents: read}", "{contents: write, issues: read}", 1))
	for _, permissions := range []ghapp.Permissions{
		{"contents": "admin"}, {"contents": "write", "issues": "write"}, {"contents": "read", "actions": "read"},
		{"metadata": "write"},
	} {
		a := site()
		a.Permissions = permissions
		refused(t, p, run(nil), a, "is asked for")
	}
	a := site()
	a.Repositories = append(a.Repositories, "acme/other")
	refused(t, p, run(nil), a, "does not give acme/other")
	a = site()
	a.Permissions = ghapp.Permissions{"contents": "read", "metadata": "read"}
	testkit.Equal(t, allowed(t, p, run(nil), a).Permissions.String(), "contents:read,metadata:read", "less")
	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprintf("acme/r%d", i)
	}
	refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: many}, "500")
}

func TestOneRuleAllowsAllOrNothing(t *testing.T) {
	t.Parallel()
	p := parse(t, `
rules:
- {name: read, issuer: `+actions+`, subject: 'repo:acme/site:ref:refs/heads/main',
   grants: {repositories: [acme/site], permissions: {contents: read}}}
- {name: write, issuer: `+actions+`, subject: 'repo:acme/site:ref:refs/heads/main',
   grants: {repositories: [acme/other], permissions: {contents: write}, once: true}}
`)
	refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"acme/site", "acme/other"}}, "read:")
	refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"acme/site"},
		Permissions: ghapp.Permissions{"contents": "write"}})
	grant := allowed(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"acme/other"}})
	testkit.Equal(t, grant.Rule, "write", "rule")
	testkit.Equal(t, grant.Once, true, "once")
	anonymous := run(nil)
	anonymous.ID = ""
	refused(t, p, anonymous, policy.Ask{Owner: "acme", Repositories: []string{"acme/other"}}, "")
}

func TestMixedOwnersAreRefusedAndCaseDoesNotCount(t *testing.T) {
	t.Parallel()
	p := parse(t, strings.Replace(rule("  subject: repo:acme/site:ref:refs/heads/main"), "[acme/site]",
		"[Acme/Site, other/site]", 1))
	refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"acme/site", "other/site"}}, "several owners")
	refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"other/site"}}, "several owners")
	one := allowed(t, p, run(nil), policy.Ask{Owner: "ACME", Repositories: []string{"aCme/SITE", "acme/site"}})
	testkit.Diff(t, one.Repositories, []policy.Repository{{Name: "acme/site"}})
	testkit.Equal(t, one.Owner, "acme", "owner")
}

func TestTheCallersOwnRepositoryIsTheOneOfItsClaims(t *testing.T) {
	t.Parallel()
	p := parse(t, strings.Replace(rule("  claims: {repository_owner_id: '7'}"), "[acme/site]",
		"['{{repository}}', {name: acme/lib, id: 9}]", 1))
	testkit.Diff(t, allowed(t, p, run(nil), site()).Repositories, []policy.Repository{{ID: 42, Name: "acme/site"}})
	lib := policy.Ask{Owner: "acme", Repositories: []string{"acme/lib"}}
	testkit.Diff(t, allowed(t, p, run(nil), lib).Repositories, []policy.Repository{{ID: 9, Name: "acme/lib"}})
	refused(t, p, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"acme/other"}}, "does not give")
	refused(t, p, run(map[string]any{"repository": nil}), site(), "no repository")
	refused(t, p, run(map[string]any{"repository": "acme/../site", "job_workflow_ref": nil}), site(), "no repository")
	refused(t, p, run(map[string]any{"repository_id": 42.0}), site(), "no ID")
	refused(t, p, run(map[string]any{"repository": "acme/lib", "repository_id": "10",
		"job_workflow_ref": "acme/lib/.github/workflows/a.yml@refs/heads/main"}), lib, "another one")
}

func TestAnOwnersCeilingIsIntersectedWithEveryRule(t *testing.T) {
	t.Parallel()
	const writes = `
rules:
- {name: wide, issuer: ` + actions + `, subject: 'repo:acme/site:ref:refs/heads/main',
   grants: {all: true, owner: acme, permissions: {contents: write, issues: write}}}
- {name: other, issuer: ` + actions + `, subject: 'repo:acme/site:ref:refs/heads/main',
   grants: {repositories: [other/site], permissions: {contents: read}}}
`
	limited := parse(t, "owners: {Acme: {permissions: {contents: read}, repositories: [{name: acme/site, id: 42},"+
		" acme/lib]}}\n"+writes)
	grant := allowed(t, limited, run(nil), site())
	testkit.Diff(t, grant.Repositories, []policy.Repository{{ID: 42, Name: "acme/site"}})
	write := site()
	write.Permissions = ghapp.Permissions{"contents": "write"}
	refused(t, limited, run(nil), write, "at most")
	refused(t, limited, run(nil), policy.Ask{Owner: "acme", Repositories: []string{"acme/other"}}, "nobody has acme/other")
	refused(t, limited, run(nil), policy.Ask{Owner: "acme", All: true}, "nobody has all")
	refused(t, limited, run(nil), policy.Ask{Owner: "other", Repositories: []string{"other/site"}})
	free := parse(t, writes)
	allowed(t, free, run(nil), write)
	asking := parse(t, "owners: {acme: {permissions: {contents: write}, all: true, repository-file: true}}\n"+writes)
	testkit.Equal(t, allowed(t, asking, run(nil), site()).RepositoryFile, true, "the repository is asked")
	refused(t, asking, run(nil), policy.Ask{Owner: "acme", All: true}, "decides for itself")
	for ceiling, want := range map[string]string{
		"{acme: {permissions: {contents: read}}}": "not clear which",
		"{acme: {all: true}}":                     "no permissions",
		"{acme: {permissions: {contents: read}, all: true, repositories: [acme/a]}}": "not clear which",
		"{acme: {permissions: {contents: read}, repositories: [other/a]}}": "not a" +
			" repository of acme",
		"{acme: {permissions: {contents: read}, all: true}, ACME: {permissions: {a: read}, all: true}}": "twice",
	} {
		testkit.ErrorContains(t, testkit.ErrorOf(policy.Parse("p", []byte("owners: "+ceiling+writes), door)), want)
	}
}

func TestACertificateIsACallerWithoutClaims(t *testing.T) {
	t.Parallel()
	p := parse(t, `
rules:
- {name: mirror, issuer: 'spiffe://example.org', subject: 'spiffe://example.org/ns/ci/sa/mirror',
   grants: {repositories: [acme/site], permissions: {contents: read}}}
`)
	c := caller.Caller{Issuer: "spiffe://example.org", Subject: "spiffe://example.org/ns/ci/sa/mirror"}
	allowed(t, p, c, site())
	c.Subject += "/x"
	refused(t, p, c, site())
	c = caller.Caller{Issuer: "spiffe://example.com", Subject: "spiffe://example.org/ns/ci/sa/mirror"}
	refused(t, p, c, site())
}

func TestAGenerationIsThatOfWhatIsSaid(t *testing.T) {
	t.Parallel()
	base := rule("  subject: repo:acme/site:ref:refs/heads/main")
	same := "# a comment\n" + strings.ReplaceAll(base, "{repositories: [acme/site], permissions: {contents: read}}",
		"\n    permissions: {contents: read}\n    repositories:\n    - acme/site")
	testkit.Equal(t, parse(t, same).Generation(), parse(t, base).Generation(), "the same in other words")
	for _, other := range []string{
		strings.Replace(base, "contents: read", "contents: write", 1),
		strings.Replace(base, "name: site", "name: sites", 1),
		strings.Replace(base, "heads/main", "heads/next", 1),
		"owners: {acme: {permissions: {contents: read}, all: true}}\n" + base,
	} {
		if parse(t, other).Generation() == parse(t, base).Generation() {
			t.Errorf("the same generation:\n%s", other)
		}
	}
	elsewhere := testkit.Must(policy.Parse("policy.yaml", []byte(base), "https://other.example.com"))(t)
	if elsewhere.Generation() == parse(t, base).Generation() {
		t.Error("the same generation for another audience")
	}
}

func TestExplainSaysWhyOfEachRule(t *testing.T) {
	t.Parallel()
	p := parse(t, `
rules:
- {name: one, issuer: https://gitlab.com, subject: a,
   grants: {repositories: [acme/site], permissions: {contents: read}}}
- {name: two, issuer: `+actions+`, subject: b, grants: {repositories: [acme/site], permissions: {contents: read}}}
- {name: three, issuer: `+actions+`, claims: {repository_id: '42'},
   grants: {repositories: [acme/site], permissions: {contents: read}}}
`)
	testkit.Diff(t, p.Explain(run(nil), site()), []policy.Outcome{
		{Rule: "one", Reason: "it is for callers of another issuer"},
		{Rule: "two", Reason: `the subject is "repo:acme/site:ref:refs/heads/main"`},
		{Rule: "three"},
	})
	testkit.Equal(t, p.Explain(run(nil), policy.Ask{Owner: "acme"})[2].Reason, "no repository is named", "shape")
	denied := testkit.ErrorAs[*policy.Denied](t, testkit.ErrorOf(p.Decide(run(map[string]any{"repository_id": "43"}),
		site())))
	testkit.Equal(t, len(denied.Rules), 3, "rules")
}
