package cli_test

import (
	"slices"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestCommandsOfTheGitHubCLIRunAsTheApp(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/site"))
	m := w.machine(t)
	p := m.onGitHub()
	m.configFile(oneApp)
	more := []string{"--permissions", "contents:read,issues:read,pull_requests:read"}
	gh := func(flags []string, argv ...string) string {
		t.Helper()
		return m.client(".", slices.Concat([]string{"ghapp", "exec", "acme/site"}, flags,
			[]string{"--", "gh"}, argv)...).stdout
	}
	gh(nil, "repo", "clone", "acme/site")
	testkit.Equal(t, m.read("site/main.txt"), "main\n", "cloned")
	testkit.Equal(t, gh(nil, "api", "repos/acme/site", "--jq", ".full_name"), "acme/site\n", "gh api")
	m.used(nil, 2, "acme/site")
	m.github.ResetRequests()
	for _, of := range []string{"release", "issue", "pr"} {
		testkit.Equal(t, gh(more, of, "list", "-R", "acme/site"), "", "gh %s list", of)
	}
	m.used(map[string]string{"acme/site": "contents:read issues:read metadata:read pull_requests:read"}, 5, "acme/site")
	m.revoked(5)
	p.onlyHosts(t, "github.com", "api.github.com")
}
