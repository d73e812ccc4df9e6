package cli_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// newStoreWorld is a world in which acme/site keeps its large files with acme/web, as its
// .lfsconfig says, and a machine in it whose user has git-lfs.
func newStoreWorld(t *testing.T, selected ...string) *machine {
	t.Helper()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch(selected...))
	m := w.machine(t)
	site, store := w.github.Repository("acme/site"), w.github.Repository("acme/web")
	_, err := site.CommitEntries("main", githubtest.CommitOptions{Replace: true, Entries: []githubtest.Entry{
		{Path: ".gitattributes", Content: films},
		{Path: ".lfsconfig", Content: "[lfs]\n\turl = " + m.server.URL + "/acme/web.git/info/lfs\n"},
		{Path: "1.film", Content: store.AddObject("film 1")},
		{Path: ".assets/2.film", Content: store.AddObject("film 2")}, {Path: "a", Content: "1"},
	}})
	testkit.OK(t, err)
	m.installLFS()
	return m
}

// films fails unless the large files are in a directory.
func (m *machine) films(dir string) {
	m.t.Helper()
	for name, want := range map[string]string{"1.film": "film 1", ".assets/2.film": "film 2"} {
		testkit.Equal(m.t, m.read(filepath.Join(dir, name)), want, "%s", name)
	}
}

// narrowForStore fails if a token was for other repositories than the one, or the one and its store.
func (m *machine) narrowForStore() {
	m.t.Helper()
	both := 0
	for _, token := range m.github.Tokens() {
		reaches := slices.Sorted(slices.Values(token.Repositories))
		switch strings.Join(reaches, " ") {
		case "acme/site":
		case "acme/site acme/web":
			both++
		default:
			m.t.Errorf("a token reaches %q", reaches)
		}
		testkit.Equal(m.t, token.Permissions["contents"], "read", "a token may %v", token.Permissions)
	}
	if both == 0 {
		m.t.Error("no token is for both")
	}
}

// git-lfs asks for a credential under the repository's address, and uses it for the store
// that .lfsconfig names: the token has to be for both, and for no more.
func TestLargeFilesStoredWithAnotherRepositoryCome(t *testing.T) {
	t.Parallel()
	const apps = "  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme]}\n"
	for name, run := range map[string]func(m *machine){
		"clone": func(m *machine) { m.must("clone", "acme/site", "site") },
		"sync": func(m *machine) {
			m.must("sync", "acme/site", "--branch", "main", "--to", "site", "--lfs")
		},
		"plain git": func(m *machine) {
			m.setUpGit(apps)
			m.client(".", "git", "clone", "-q", m.server.URL+"/acme/site", "site")
		},
		"plain git later": func(m *machine) {
			m.setUpGit(apps)
			skipping := append(m.ofUser(), "GIT_LFS_SKIP_SMUDGE=1")
			m.as(skipping, ".", "git", "clone", "-q", m.server.URL+"/acme/site", "site")
			m.client("site/.assets", "git", "lfs", "pull")
		},
		"exec": func(m *machine) {
			m.must("exec", "acme/site", "--", "git", "clone", "-q", m.server.URL+"/acme/site", "site")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newStoreWorld(t, "acme/site", "acme/web")
			run(m)
			m.films("site")
			m.narrowForStore()
			m.noSecretOnDisk()
		})
	}
}

// A store that the App does not reach keeps nobody from the repository itself, and it is
// said what to do.
func TestStoreOfLargeFilesThatTheAppDoesNotReachIsNamed(t *testing.T) {
	t.Parallel()
	m := newStoreWorld(t, "acme/site")
	if r := m.ghapp("clone", "acme/site", "site"); r.code == 0 || !strings.Contains(r.stderr, "store=acme/web") ||
		!strings.Contains(r.stderr, "add that on the App's installation page") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	m.ghapp("sync", "acme/site", "--branch", "main", "--to", "plain").ends(t, 0)
}

// Whose .lfsconfig names a repository of another owner, another host, or the repository
// itself, gets no token for more.
func TestLFSConfigGetsNoTokenForAnotherOwnersRepository(t *testing.T) {
	t.Parallel()
	m := newStoreWorld(t, "acme/site", "acme/web")
	m.setUpGit("  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme]}\n")
	m.client(".", "git", "init", "-q", "work")
	for _, address := range []string{
		m.server.URL + "/umbra/tool.git/info/lfs", "https://evil.invalid/acme/web", m.server.URL + "/acme/site.git/info/lfs",
		m.server.URL + "/acme/../acme/web", "git@" + m.host + ":acme/web.git", "/acme/web",
	} {
		m.write(filepath.Join(m.work, "work", ".lfsconfig"), "[lfs]\n\turl = "+address+"\n[include]\n\tpath = ../other\n")
		m.write(filepath.Join(m.work, "other"), "[lfs]\n\turl = "+m.server.URL+"/acme/web\n")
		m.client("work", "git", "ls-remote", "-q", m.server.URL+"/acme/site")
		for _, token := range m.github.Tokens() {
			testkit.Equal(t, strings.Join(token.Repositories, " "), "acme/site", "%s: a token reaches", address)
		}
	}
}
