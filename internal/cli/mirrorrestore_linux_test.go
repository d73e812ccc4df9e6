package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// newKeptFilms is a machine with a mirror in which there are so many large files, each of which a
// commit names.
func newKeptFilms(t *testing.T, many int) *machine {
	t.Helper()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/site", "acme/web"))
	m := w.machine(t)
	m.setUpGit("  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme]}\n")
	m.client(".", "git", "lfs", "install", "--skip-repo")
	site := w.github.Repository("acme/site")
	files := map[string]string{".gitattributes": films}
	for i := range many {
		files[filmName(i)] = site.AddObject(film(i))
	}
	testkit.Must(site.Commit("main", "Films", files))(t)
	m.must("mirror", "--to", "m")
	for i := range many {
		m.write(m.kept(film(i)), film(i))
	}
	return m
}

// kept is where the mirror has a large file.
func (m *machine) kept(content string) string {
	sum := sha256.Sum256([]byte(content))
	id := hex.EncodeToString(sum[:])
	return filepath.Join(m.work, "m/acme/site.git/lfs/objects", id[:2], id[2:4], id)
}

func TestRestoreBringsLargeFiles(t *testing.T) {
	t.Parallel()
	m := newKeptFilms(t, 2)
	before := len(m.requests())
	m.must("mirror", "restore", "acme/site", "--from", "m", "--to", "./site")
	m.filmsCame("site", 2)
	testkit.Equal(t, len(m.requests()), before, "requests")
	testkit.Equal(t, m.client("site", "git", "status", "--porcelain").stdout, "", "changed")
	m.client("site", "git", "lfs", "fsck")
	m.client("m/acme/site.git", "git", "fsck")
}

// What a mirror has damaged or does not have is told, and never put in the place of what it was.
func TestRestoreTellsOfLargeFilesThatAreNotWhole(t *testing.T) {
	t.Parallel()
	m := newKeptFilms(t, 3)
	testkit.OK(t, os.Chmod(m.kept(film(0)), 0o644))
	m.write(m.kept(film(0)), "another")
	testkit.OK(t, os.Remove(m.kept(film(1))))
	r := m.ghapp("mirror", "restore", "acme/site", "--from", "m", "--to", "./site")
	r.ends(t, 1, "2 large files")
	testkit.Equal(t, m.read("site/"+filmName(2)), film(2), "the third")
	for i := range 2 {
		if text := m.read("site/" + filmName(i)); text == "another" || text == film(i) {
			t.Errorf("%q is in %s", text, filmName(i))
		}
	}
}

func TestRestoreUploadsLargeFilesFirst(t *testing.T) {
	t.Parallel()
	m := newKeptFilms(t, 2)
	testkit.Must(m.github.Repository("acme/site").Commit("main", "Work",
		map[string]string{".github/workflows/x.yml": "on: push\n"}))(t)
	m.must("mirror", "--to", "m")
	again := m.github.AddRepository("acme/again", githubtest.RepositoryOptions{})
	may := mayMuch("acme/site", "acme/web", "acme/again")
	may.Permissions = maps.Clone(may.Permissions)
	delete(may.Permissions, "workflows")
	m.app.Install("acme", may)
	m.ghapp("mirror", "restore", "acme/site", "--from", "m", "--to", "acme/again").ends(t, 4, "workflows:write")
	testkit.Equal(t, len(m.askedOfLFS()), 0, "asked of LFS")

	may.Permissions["workflows"] = "write"
	m.app.Install("acme", may)
	m.must("mirror", "restore", "acme/site", "--from", "m", "--to", "acme/again")
	m.filmsStored(again, 2)
	testkit.Equal(t, testkit.Must(again.Head("main"))(t), testkit.Must(m.github.Repository("acme/site").Head("main"))(t))
	m.noSecretOnDisk()
}

// A tar of large files is one of the files that a manifest proves.
func TestBundlesBringLargeFiles(t *testing.T) {
	t.Parallel()
	m := newKeptFilms(t, 2)
	m.must("mirror", "bundle", "acme/site", "./m", "--to", "cold")
	m.must("mirror", "restore", "acme/site", "--from", "cold", "--to", "./site")
	m.filmsCame("site", 2)
	list := testkit.Must(filepath.Glob(filepath.Join(m.work, "cold", "*", "*.lfs.tar")))(t)
	testkit.Equal(t, len(list), 1, "archives")
	text := testkit.Must(os.ReadFile(list[0]))(t)
	text[520] ^= 1
	testkit.OK(t, os.WriteFile(list[0], text, 0o600))
	m.ghapp("mirror", "restore", "acme/site", "--from", "cold", "--to", "./never").ends(t, 1, "damaged")
}
