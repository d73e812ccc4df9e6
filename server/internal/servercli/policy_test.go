package servercli_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/servercli"
)

// run runs a command and returns what it prints.
func run(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = servercli.Run(t.Context(), servercli.Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}, args)
	return code, out.String(), errs.String()
}

// files writes files, and returns the path of the first.
func files(t testing.TB, namesAndTexts ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(namesAndTexts); i += 2 {
		testkit.OK(t, os.WriteFile(filepath.Join(dir, namesAndTexts[i]), []byte(namesAndTexts[i+1]), 0o600))
	}
	return filepath.Join(dir, namesAndTexts[0])
}

const careful = `
audience: https://ghapp.example.com
owners: {acme: {permissions: {contents: read}, all: true}}
rules:
- name: site
  issuer: https://token.actions.githubusercontent.com
  subject: {repository-id: 42, owner-id: 7, context: "ref:refs/heads/main"}
  grants: {repositories: ["{{repository}}"], permissions: {contents: read}}
- name: mirror
  issuer: spiffe://example.org
  subject: spiffe://example.org/mirror
  grants: {all: true, owner: acme, permissions: {contents: read}}
`

const table = `
tests:
- name: main may read
  issuer: https://token.actions.githubusercontent.com
  subject: repo:acme@7/site@42:ref:refs/heads/main
  claims: {repository: acme/site, repository_id: "42", repository_owner_id: "7"}
  ask: {repositories: [acme/site]}
  rule: site
- name: a pull request may not
  issuer: https://token.actions.githubusercontent.com
  subject: repo:acme@7/site@42:pull_request
  claims: {repository: acme/site}
  ask: {repositories: [acme/site]}
  denied: true
`

func TestLintIsSilentOnACarefulPolicy(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "", "policy", "lint", files(t, "policy.yaml", careful), "--kept-in", "acme/policies")
	testkit.Equal(t, out+errs, "", "said")
	testkit.Equal(t, code, fault.Done, "exit code")
}

func TestLintReportsWhatMayBeMoreThanWasMeant(t *testing.T) {
	t.Parallel()
	path := files(t, "policy.yaml", `
audience: https://ghapp.example.com
rules:
- name: wild
  issuer: https://token.actions.githubusercontent.com
  subject: {pattern: "repo:acme.+/.+:ref:refs/heads/main"}
  grants: {repositories: [acme/site], permissions: {contents: write, workflows: write, contentss: read}}
- name: crossing
  issuer: https://token.actions.githubusercontent.com
  claims: {repository: {pattern: ".+/site", slashes: true}, repository_id: 42}
  when: subject.matches("main")
  grants: {repositories: ["{{repository}}"], permissions: {contents: write}, repository-file: true}
- name: anybody
  issuer: https://token.actions.githubusercontent.com
  claims: {repository_owner_id: "7"}
  grants: {all: true, owner: acme, permissions: {contents: write}}
`)
	code, out, _ := run(t, "", "policy", "lint", path, "--kept-in", "acme/site")
	testkit.Equal(t, code, fault.Failed, "exit code")
	for _, want := range []string{
		"policy.yaml:1: no-ceiling:",
		"policy.yaml:4: wildcard: wild:", "policy.yaml:4: recycled-name: wild: callers",
		"policy.yaml:7: recycled-name: wild: known",
		"policy.yaml:7: self-edit: wild:", "policy.yaml:7: escalation: wild: workflows",
		"policy.yaml:7: unknown-permission: wild: contentss",
		"policy.yaml:10: slash: crossing:", "policy.yaml:10: wildcard: crossing:", "policy.yaml:10: number: crossing:",
		"policy.yaml:8: unanchored: crossing:", "policy.yaml:12: self-edit: crossing: runs of acme/site",
		"policy.yaml:12: self-edit: crossing: its holder can rewrite the repository's own file",
		"policy.yaml:13: any-repository: anybody:", "policy.yaml:16: self-edit: anybody:",
	} {
		testkit.Contains(t, out, want)
	}
	testkit.Equal(t, strings.Count(out, "\n"), 15, "findings")
	_, asJSON, _ := run(t, "", "policy", "lint", path, "--json")
	testkit.Contains(t, asJSON, `"kind": "slash"`, `"line": 10`)
}

func TestATableOfTestsIsCompared(t *testing.T) {
	t.Parallel()
	path := files(t, "policy.yaml", careful, "policy_test.yaml", table)
	code, out, errs := run(t, "", "policy", "test", path)
	testkit.Equal(t, code, fault.Done, "exit code: %s", errs)
	testkit.Equal(t, out, "no test has the rule mirror allow anything\n2 tests, 0 failed\n")
	path = files(t, "policy.yaml", careful, "policy_test.yaml", strings.Replace(table, "rule: site", "denied: true", 1))
	code, out, _ = run(t, "", "policy", "test", path)
	testkit.Equal(t, code, fault.Failed, "exit code")
	testkit.Contains(t, out, "policy_test.yaml:3: main may read: it is allowed by the rule site", "2 tests, 1 failed")
	path = files(t, "policy.yaml", careful, "policy_test.yaml", strings.Replace(table, "rule: site", "rule: other", 1))
	_, out, _ = run(t, "", "policy", "test", path, "--json")
	testkit.Contains(t, out, `"text": "it is allowed by another rule, site"`)
	for change, want := range map[string]string{
		"rules: site": "unknown key", "denied: false": "denied: true", "rule: site\n  denied: true": "denied: true",
	} {
		path = files(t, "policy.yaml", careful, "policy_test.yaml", strings.Replace(table, "rule: site", change, 1))
		code, _, errs = run(t, "", "policy", "test", path)
		testkit.Equal(t, code, fault.Configuration, "exit code")
		testkit.Contains(t, errs, want)
	}
	code, _, errs = run(t, "", "policy", "test", files(t, "policy.yaml", careful))
	testkit.Equal(t, code, fault.Configuration, "exit code without a table")
	testkit.Contains(t, errs, "policy_test.yaml: cannot read")
}

func TestExplainSaysWhichRuleAndWhyNotTheOthers(t *testing.T) {
	t.Parallel()
	const claims = `{"iss": "https://token.actions.githubusercontent.com", "aud": "https://ghapp.example.com",
		"sub": "repo:acme@7/site@42:ref:refs/heads/main", "repository": "acme/site", "repository_id": "42"}`
	path := files(t, "policy.yaml", careful, "claims.json", claims)
	asking := []string{"--resource", "acme/site", "--scope", "contents:read"}
	with := append([]string{"policy", "explain", path, "--claims", filepath.Join(filepath.Dir(path), "claims.json")},
		asking...)
	code, out, errs := run(t, "", with...)
	testkit.Equal(t, code, fault.Done, "exit code: %s", errs)
	testkit.Equal(t, out, "site: allows it\nmirror: no: it is for callers of another issuer\n")
	const signature = "c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk"
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(claims, "42:ref", "43:ref", 1))) +
		"." + signature
	from := append([]string{"policy", "explain", path, "--token-stdin"}, asking...)
	code, out, errs = run(t, token, from...)
	testkit.Equal(t, code, fault.Failed, "exit code")
	testkit.Contains(t, out, "site: no: the subject is another repository's, by its IDs")
	testkit.Lacks(t, out+errs, signature, token)
	_, out, _ = run(t, token, append(from, "--json")...)
	testkit.Contains(t, out, `"allowed": false`, `"rule": "site"`)
	for _, wrong := range [][]string{
		{"policy", "explain", path, "--resource", "acme/site"},
		{"policy", "explain", path, "--token-stdin"},
		append(append([]string{}, from...), "--all-of", "acme"),
		append(append([]string{}, from...), "--scope", "contents"),
		{"policy", "explain"},
		{"policy", "explain", path, "--no-such"},
		{"no-such"},
	} {
		code, _, errs := run(t, token, wrong...)
		testkit.Equal(t, code, fault.Usage, "exit code of %v: %s", wrong, errs)
	}
	for _, nonsense := range []string{"", "a.b", "a.!.c", "a.e30x.c", "a." +
		base64.RawURLEncoding.EncodeToString([]byte("[]")) + ".c"} {
		code, _, errs := run(t, nonsense, from...)
		testkit.Equal(t, code, fault.Usage, "exit code of %q: %s", nonsense, errs)
	}
}
