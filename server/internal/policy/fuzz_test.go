package policy_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

func FuzzRead(f *testing.F) {
	f.Add([]byte(rule("  subject: repo:acme/site:ref:refs/heads/main")))
	f.Add([]byte(rule("  subject: {repository-id: 42, owner-id: 7, context: ['a', {pattern: 'b.+'}]}\n  when: claims.a" +
		" == 1")))
	f.Add([]byte("owners: {acme: {permissions: {contents: read}, all: true}}\n" +
		rule("  claims: {repository_id: [1, true, x]}")))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		p, err := policy.Parse("policy.yaml", source, door)
		if err != nil {
			if !strings.Contains(err.Error(), "policy.yaml:") {
				t.Errorf("an error without a line: %v", err)
			}
			return
		}
		if _, err := p.Decide(run(map[string]any{"iss": "https://nobody.example.com"}), site()); err == nil {
			t.Errorf("a caller of an issuer that no rule can have is allowed by\n%s", source)
		}
		if _, err := p.Decide(run(map[string]any{"aud": "other"}), site()); err == nil {
			t.Errorf("a caller with a token for somebody else is allowed by\n%s", source)
		}
		again, err := policy.Parse("policy.yaml", source, door)
		if err != nil || again.Generation() != p.Generation() {
			t.Errorf("read again it is another: %v", err)
		}
	})
}

func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"a|b", "a-evil"}, {"[^x]+", "acme/site"}, {"(?s).+", "a\nb"}, {`\S{2,}`, "a/b"}, {"(?i)K", "\u212a"}, {"a/.+",
			"a/b/c"},
		{`\Qa|b\E`, "a|b"}, {"(?U)a+?", "aa"}, {"^a$", "a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, err := policy.CompilePattern(pattern)
		if err != nil || !p(text) {
			return
		}
		// Whatever matches is matched by what was written, as a whole, and is one line.
		written := regexp.MustCompile(`^(?:` + pattern + `)$`)
		if !written.MatchString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%q matches %q", pattern, text)
		}
		if !strings.ContainsAny(pattern, `/\[`) && strings.Contains(text, "/") {
			t.Errorf("%q matches %q, which has a slash", pattern, text)
		}
	})
}

func FuzzSubject(f *testing.F) {
	f.Add("repo:acme/site:ref:refs/heads/main")
	f.Add("repo:acme@7/site@42:environment:production")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := policy.ParseSubject(text)
		if !ok {
			return
		}
		if (s.OwnerID == 0) != (s.RepositoryID == 0) {
			t.Errorf("%q has one ID: %+v", text, s)
		}
		if !strings.HasPrefix(text, "repo:"+s.Owner) || !strings.HasSuffix(text, ":"+s.Context) ||
			strings.ContainsAny(s.Name, "@/:") {
			t.Errorf("%q is taken for %+v", text, s)
		}
	})
}
