package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// newFilmWorld is a world in which the App may write, and a machine in it whose user
// commits and pushes to acme/site with git-lfs.
func newFilmWorld(t *testing.T) (*machine, *githubtest.Repository) {
	t.Helper()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/site", "acme/web"))
	m := w.machine(t)
	m.setUpGit("  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme], repositories: " +
		"{acme/site: {contents: write}}}\n")
	m.gitConfig("user.name", "A U Thor")
	m.gitConfig("user.email", "author@example.test")
	m.gitConfig("push.default", "current")
	m.client(".", "git", "lfs", "install", "--skip-repo")
	return m, w.github.Repository("acme/site")
}

// films is what git keeps with git-lfs.
const films = "*.film filter=lfs diff=lfs merge=lfs -text\n"

func filmName(i int) string { return fmt.Sprintf("%d.film", i) }

// film is the content of the i-th large file.
func film(i int) string { return fmt.Sprintf("film %d", i) }

// commitFilms commits so many large files in a clone.
func (m *machine) commitFilms(dir string, many int) {
	m.t.Helper()
	m.client(dir, "git", "lfs", "install", "--local")
	m.write(filepath.Join(m.work, dir, ".gitattributes"), films)
	for i := range many {
		m.write(filepath.Join(m.work, dir, filmName(i)), film(i))
	}
	m.client(dir, "git", "add", ".")
	m.client(dir, "git", "commit", "-q", "-m", "Films")
}

// filmsCame fails unless so many large files are in a clone.
func (m *machine) filmsCame(dir string, many int) {
	m.t.Helper()
	for i := range many {
		testkit.Equal(m.t, m.read(filepath.Join(dir, filmName(i))), film(i), "%s", filmName(i))
	}
}

// filmsStored fails unless so many large files are in a repository.
func (m *machine) filmsStored(r *githubtest.Repository, many int) {
	m.t.Helper()
	for i := range many {
		sum := sha256.Sum256([]byte(film(i)))
		if text, ok := r.Object(hex.EncodeToString(sum[:])); !ok || text != film(i) {
			m.t.Errorf("stored for %s is %q", filmName(i), text)
		}
	}
}

// pushed fails unless the repository has the commit of a clone.
func (m *machine) pushed(dir string, r *githubtest.Repository) {
	m.t.Helper()
	head := testkit.Must(r.Head("main"))(m.t)
	testkit.Equal(m.t, strings.TrimSpace(m.client(dir, "git", "rev-parse", "HEAD").stdout), head, "the repository is")
}

// askedOfLFS counts what git-lfs was given, by method and the first word of the path.
func (m *machine) askedOfLFS() map[string]int {
	asked := map[string]int{}
	for _, r := range m.requests() {
		if _, rest, ok := strings.Cut(r.Path, "/info/lfs/"); ok && r.Status == http.StatusOK {
			what, _, _ := strings.Cut(rest, "/")
			asked[r.Method+" "+what]++
		}
	}
	return asked
}

func TestLFSPushesAndPullsAsTheApp(t *testing.T) {
	t.Parallel()
	for name, agent := range map[string]bool{"without an agent": false, "with an agent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const many = 3
			m, site := newFilmWorld(t)
			if agent {
				m.agentRuns()
			}
			for _, dir := range []string{"one", "two"} {
				m.client(".", "git", "clone", "-q", m.server.URL+"/acme/site", dir)
			}
			m.commitFilms("one", many)
			m.client("one", "git", "push", "-q")
			m.pushed("one", site)
			m.filmsStored(site, many)
			m.client("two", "git", "pull", "-q")
			m.filmsCame("two", many)
			if agent {
				m.agentAnswered()
			}
			m.used(map[string]string{"acme/site": "contents:write metadata:read"}, 1, "acme/site")
			want := map[string]int{"POST locks": 1, "POST objects": 2, "PUT objects": many,
				"POST verify": many, "GET objects": many}
			if got := m.askedOfLFS(); !maps.Equal(got, want) {
				t.Errorf("git-lfs asked for %v, want %v", got, want)
			}
		})
	}
}
