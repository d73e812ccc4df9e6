package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	r.ends(t, 1, "all is restored but 2 large files", "0 tags, 1 large file.")
	copied := testkit.Must(filepath.Glob(filepath.Join(m.work, "site/.git/lfs/objects/*/*/*")))(t)
	testkit.Equal(t, len(copied), 1, "copied")
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

// What a restore leaves that is killed goes at the next one to the same place. What one is at work on stays.
func TestRestoreClearsWhatOneThatWasKilledHasLeft(t *testing.T) {
	t.Parallel()
	m := newWorldFor(t).machine(t)
	m.must("mirror", "acme", "--to", "m")
	started, enough := filepath.Join(m.work, "started"), filepath.Join(m.work, "enough")
	m.write(filepath.Join(m.home, "attributes"), "* filter=slow\n")
	m.gitConfig("core.attributesFile", filepath.Join(m.home, "attributes"))
	// One that misses the moment ends with the directory.
	m.gitConfig("filter.slow.smudge", "touch "+started+"; while [ -d "+m.work+" ] && [ ! -e "+enough+" ]; do "+
		"sleep 0.05; done; cat")
	begin := func() *exec.Cmd {
		cmd, _ := m.command("mirror", "restore", "acme/site", "--from", "m", "--to", "./x/site")
		testkit.OK(t, cmd.Start())
		m.comes(func() bool { _, err := os.Stat(started); return err == nil }, "files are checked out")
		return cmd
	}
	left := func() []string {
		return testkit.Must(filepath.Glob(filepath.Join(m.work, "x/.ghapp-restore-*")))(t)
	}
	killed := begin()
	testkit.OK(t, killed.Process.Kill())
	m.write(enough, "")
	_ = killed.Wait()
	m.comes(func() bool {
		locks := testkit.Must(filepath.Glob(filepath.Join(m.work, "x/.ghapp-restore-*/made/.git/index.lock")))(t)
		return len(locks) == 0
	}, "its git has ended")
	testkit.OK(t, errors.Join(os.Remove(enough), os.Remove(started)))
	testkit.Equal(t, len(left()), 1, "left by the one that was killed")

	under := begin()
	testkit.Equal(t, len(left()), 1, "what the killed one left is gone, and one is at work")
	m.gitConfig("filter.slow.smudge", "cat")
	r := m.ghapp("mirror", "restore", "acme/site", "--from", "m", "--to", "./x/site", "--bare")
	testkit.Equal(t, r.code, 0, r.stderr)
	testkit.Equal(t, len(left()), 1, "what one is at work on")
	m.write(enough, "")
	testkit.Fails(t, under.Wait(), "two have made one directory")
	testkit.Equal(t, len(left()), 0)
}

// A process that is killed while a damaged mirror and its new one change places leaves nothing in the
// place: the next run finds the mirror, and mends it with all that it has kept.
func TestMirrorOutlivesAKilledMending(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/site", "acme/web"))
	m := w.machine(t)
	site := w.github.Repository("acme/site")
	wiki := site.Wiki()
	shoot := func(r *githubtest.Repository, branch, text string) {
		testkit.Must(r.CommitEntries(branch, githubtest.CommitOptions{Orphan: true, Replace: true,
			Entries: []githubtest.Entry{{Path: "Home.md", Content: text}}}))(t)
	}
	for _, text := range []string{"before", "after"} {
		shoot(site, "main", text)
		shoot(wiki, "master", text)
		m.must("mirror", "--to", "m", "--wikis", "--full")
	}
	for _, name := range []string{"site.git", "site.wiki.git"} {
		place := filepath.Join(m.work, "m/acme", name)
		id := strings.TrimSpace(string(testkit.Must(gitIn(place, "config", "ghapp.repository"))(t)))
		kept := string(testkit.Must(gitIn(place, "for-each-ref", "refs/ghapp/kept"))(t))
		testkit.Contains(t, kept, "refs/ghapp/kept/")
		id = strings.ReplaceAll(id, "/", "-")
		m.write(filepath.Join(m.work, "m/.ghapp/damaged", id), "damaged\n")
		testkit.OK(t, os.MkdirAll(filepath.Join(m.work, "m/.ghapp/moving"), 0o700))
		aside := filepath.Join(m.work, "m/.ghapp/moving", id+".damaged.git")
		testkit.OK(t, os.Rename(place, aside))
		m.must("mirror", "--to", "m", "--wikis")
		testkit.Equal(t, string(testkit.Must(gitIn(place, "for-each-ref", "refs/ghapp/kept"))(t)), kept, name)
		_, err := os.Lstat(aside)
		testkit.Equal(t, os.IsNotExist(err), true, "%s is left aside", name)
		testkit.Must(gitIn(place, "fsck", "--full"))(t)
	}
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
