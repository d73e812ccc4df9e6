package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// twoApps are one for acme, and OTHER for the owners of what it needs.
const twoApps = oneApp + "  others: {app: OTHER, key: KEY, ca_file: CA, owners: [octo, umbra]}\n"

// newSuperWorld has acme/super, with submodules of three owners under two Apps, one of
// them with an ssh address.
func newSuperWorld(t *testing.T) (w *world, other *githubtest.App) {
	t.Helper()
	w = newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/super", "acme/web"))
	other = w.github.AddApp(githubtest.AppOptions{Owner: "octo"})
	key := testkit.Key(t)
	other.AddKey(&key.PublicKey)
	other.Install("octo", mayMuch("octo/lib"))
	other.Install("umbra", mayMuch("umbra/tool"))
	w.changeSuper(t, "first")
	return w, other
}

// changeSuper changes everything in acme/super.
func (w *world) changeSuper(t *testing.T, text string) {
	t.Helper()
	entries := []githubtest.Entry{
		{Path: "name.txt", Content: text},
		{Path: ".gitmodules", Content: `
[submodule "web"]
	path = web
	url = ../web.git
[submodule "lib"]
	path = lib
	url = https://github.com/octo/lib
[submodule "tool"]
	path = tool
	url = git@github.com:umbra/tool.git
`},
	}
	for path, name := range map[string]string{"web": "acme/web", "lib": "octo/lib", "tool": "umbra/tool"} {
		head, err := w.github.AddRepository(name, githubtest.RepositoryOptions{}).Commit("main", text,
			map[string]string{"name.txt": text})
		testkit.OK(t, err)
		entries = append(entries, githubtest.Entry{Path: path, Mode: githubtest.Submodule, Content: head})
	}
	super := w.github.AddRepository("acme/super", githubtest.RepositoryOptions{})
	testkit.Must(super.CommitEntries("main", githubtest.CommitOptions{Message: text, Entries: entries}))(t)
}

func TestPlainGitUsesTheAppOfEachSubmodulesOwner(t *testing.T) {
	t.Parallel()
	for name, agent := range map[string]bool{"without an agent": false, "with an agent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, other := newSuperWorld(t)
			m := w.machine(t)
			p := m.onGitHub()
			m.setUpGit(strings.Replace(twoApps, "OTHER", other.ClientID, 1), "--ssh")
			if agent {
				m.agentRuns()
			}
			whole := func(want string) {
				t.Helper()
				for _, dir := range []string{".", "web", "lib", "tool"} {
					testkit.Equal(t, m.read(filepath.Join("super", dir, "name.txt")), want, "in %s there", dir)
				}
			}
			m.client(".", "git", "clone", "-q", "--recurse-submodules", "https://github.com/acme/super")
			whole("first")
			w.changeSuper(t, "second")
			m.client("super", "git", "pull", "-q", "--recurse-submodules")
			whole("second")
			if agent {
				m.agentAnswered()
			}
			m.used(nil, 4, "acme/super", "acme/web", "octo/lib", "umbra/tool")
			p.onlyHosts(t, "github.com", "api.github.com")
			for _, token := range w.github.Tokens() {
				if ours := token.AppID == w.app.ID; ours != strings.HasPrefix(token.Repositories[0], "acme/") {
					t.Errorf("a token for %q is of App %d", token.Repositories, token.AppID)
				}
			}
		})
	}
}

// sparse is what is in the environment of a job that has little.
func (m *machine) sparse(names ...string) []string {
	var environ []string
	for _, name := range append(names, "PATH") {
		environ = append(environ, name+"="+m.environ[name])
	}
	return environ
}

func TestJobOfCronUsesTheApp(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/site", "acme/web"))
	m := w.machine(t)
	m.setUpGit("  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme]}\n")
	m.cache = filepath.Join(m.home, ".cache")
	for _, argv := range [][]string{
		{"git", "clone", "-q", m.server.URL + "/acme/site"},
		{"git", "-C", "site", "pull", "-q"},
		{"git", "clone", "-q", "--mirror", m.server.URL + "/acme/site"},
		{"git", "-C", "site.git", "remote", "update"},
	} {
		if r := m.as(m.sparse("HOME"), ".", argv...); strings.Contains(r.stderr, "ghapp") {
			t.Errorf("%q says %s", argv, r.stderr)
		}
	}
	testkit.Equal(t, m.read("site/main.txt"), "main\n", "cloned")
	m.used(nil, 1, "acme/site")
}

// A job of CI may have no home, and has the key in a variable.
func TestJobOfCIUsesTheApp(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]struct{ flag, variable string }{
		"own configuration": {"--global", "GIT_CONFIG_GLOBAL"},
		"the system's":      {"--system", "GIT_CONFIG_SYSTEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.keyInVariable(string(m.keyPEM))
			m.environ[place.variable] = filepath.Join(m.root, "gitconfig")
			environ := m.sparse("GHAPP_APP", "GHAPP_HOST", "GHAPP_PRIVATE_KEY", place.variable)
			m.as(environ, ".", "ghapp", "git-setup", place.flag)
			m.as(environ, ".", "git", "clone", "-q", m.server.URL+"/acme/site")
			m.as(environ, "site", "git", "fetch", "-q", "--all")
			testkit.Equal(t, m.read("site/main.txt"), "main\n", "cloned")
			m.used(nil, 2, "acme/site") // which no cache keeps
		})
	}
}
