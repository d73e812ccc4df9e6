package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A pack that takes longer than a token lives is followed by more questions: of
// git-lfs, of submodules. Each is answered with a token that is good then.
func TestCloneOutlivesItsToken(t *testing.T) {
	t.Parallel()
	const life = 4 * time.Second
	w := newLargeWorld(t)
	w.github.SetTokenLife(life)
	m := w.large(t)
	stop := m.traffic.hold(largeSize/2, isUploadPack("acme/large"))
	cmd, out := m.command(cloneLarge()...)
	testkit.OK(t, cmd.Start())
	stop.wait(t)
	first := w.github.Tokens()[0]
	time.Sleep(time.Until(first.Expires) + 100*time.Millisecond)
	m.traffic.release()
	testkit.OK(t, cmd.Wait(), "%s", out.stderr.String())
	m.complete("deep/large")
	renewed := 0
	for _, token := range w.github.Tokens() {
		if strings.Join(token.Repositories, " ") == "acme/large" {
			renewed++
		}
	}
	testkit.Equal(t, renewed, 2, "tokens were minted for acme/large")
	for _, r := range m.requests() {
		if r.Credential.Kind == githubtest.BasicCredential && r.Status == http.StatusUnauthorized {
			t.Errorf("%s %s came with a token that is dead", r.Method, r.Path)
		}
	}
}

// briefly lets the next token live for seconds, has an agent answer, and no token of
// before be used.
func (m *machine) briefly() {
	m.t.Helper()
	testkit.OK(m.t, os.RemoveAll(filepath.Join(m.cache, "ghapp")))
	m.github.SetTokenLife(5 * time.Second)
	m.github.ResetRequests()
	m.agentRuns()
}

// expired runs a program, holds what matches until the token that it came with has
// ended, and returns how the program ended. Later tokens live for an hour.
func (m *machine) expired(after int, match func(*http.Request) bool, dir string, argv ...string) result {
	m.t.Helper()
	stop := m.traffic.hold(after, match)
	cmd, out := m.start(m.ofUser(), dir, argv...)
	stop.wait(m.t)
	tokens := m.github.Tokens()
	m.github.SetTokenLife(time.Hour)
	time.Sleep(time.Until(tokens[len(tokens)-1].Expires) + 50*time.Millisecond)
	m.traffic.release()
	_ = cmd.Wait() // its exit code is in the result
	r := out.result(cmd)
	m.noSecretIn(strings.Join(argv, " "), r.stdout+r.stderr)
	return r
}

// outlived fails unless the requests for a repository came with several tokens, one
// after another, and returns those that came with one that was dead.
func (m *machine) outlived(repository string) (dead []githubtest.Request) {
	m.t.Helper()
	var used []string
	for _, r := range m.requests() {
		if r.Credential.InstallationID == 0 || repositoryOf(r.Path) != repository {
			continue
		}
		if r.Status == http.StatusUnauthorized {
			dead = append(dead, r)
		} else if !slices.Contains(used, r.Credential.Token) {
			used = append(used, r.Credential.Token)
		}
	}
	if len(used) < 2 {
		m.t.Errorf("%d tokens were used for %s", len(used), repository)
	}
	m.agentAnswered()
	m.noSecretOnDisk()
	return dead
}

func TestPlainGitOutlivesItsToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		argv []string
		then func(*machine)
	}{
		"submodules and git-lfs": {[]string{"clone", "-q", "--recurse-submodules"}, func(m *machine) { m.complete("large") }},
		"a mirror that is updated": {[]string{"clone", "-q", "--mirror"}, func(m *machine) {
			oid, err := m.github.Repository("acme/large").Commit("main", "Go on", map[string]string{"more.txt": "more\n"})
			testkit.OK(m.t, err)
			m.client("large.git", "git", "fetch", "-q")
			if got := m.client("large.git", "git", "rev-parse", "main").stdout; got != oid+"\n" {
				m.t.Errorf("the mirror is at %q, want %s", got, oid)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newLargeWorld(t).large(t)
			m.setUpGit("  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme]}\n")
			m.briefly()
			argv := slices.Concat([]string{"git"}, test.argv, []string{m.server.URL + "/acme/large"})
			if r := m.expired(largeSize/2, isUploadPack("acme/large"), ".", argv...); r.code != 0 {
				t.Fatalf("%q: exit code %d\n%s", argv, r.code, r.stderr)
			}
			test.then(m)
			if dead := m.outlived("acme/large"); len(dead) > 0 {
				t.Errorf("dead tokens came with %v", dead)
			}
		})
	}
}

// manyFilms are more than git-lfs asks for at once, which is 100.
const manyFilms = 103

// isFilm tells the transfer of a large file.
func isFilm(method string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == method && strings.Contains(r.URL.Path, "/info/lfs/objects/") &&
			!strings.HasSuffix(r.URL.Path, "/batch")
	}
}

// git-lfs keeps the token it has been given, and finds out by a refusal that it is
// dead. It says so, asks for another and goes on.
func TestLFSOutlivesItsToken(t *testing.T) {
	t.Parallel()
	onlyBatch := func(m *machine) {
		m.t.Helper()
		dead := m.outlived("acme/site")
		if len(dead) != 1 || !strings.HasPrefix(dead[0].UserAgent, "git-lfs/") ||
			!strings.HasSuffix(dead[0].Path, "/objects/batch") {
			m.t.Errorf("dead tokens came with %v", dead)
		}
	}
	t.Run("pull", func(t *testing.T) {
		t.Parallel()
		m, site := newFilmWorld(t)
		entries := []githubtest.Entry{{Path: ".gitattributes", Content: films}}
		for i := range manyFilms {
			entries = append(entries, githubtest.Entry{Path: filmName(i), Content: site.AddObject(film(i))})
		}
		testkit.Must(site.CommitEntries("main", githubtest.CommitOptions{Entries: entries}))(t)
		m.client(".", "env", "GIT_LFS_SKIP_SMUDGE=1", "git", "clone", "-q", m.server.URL+"/acme/site")
		m.briefly()
		if r := m.expired(0, isFilm("GET"), "site", "git", "lfs", "pull"); r.code != 0 {
			t.Fatalf("exit code %d\n%s", r.code, r.stderr)
		}
		m.filmsCame("site", manyFilms)
		onlyBatch(m)
	})
	t.Run("push", func(t *testing.T) {
		t.Parallel()
		m, site := newFilmWorld(t)
		m.client(".", "git", "clone", "-q", m.server.URL+"/acme/site")
		m.commitFilms("site", manyFilms)
		m.briefly()
		if r := m.expired(0, isFilm("PUT"), "site", "git", "lfs", "push", "origin", "main"); r.code != 0 {
			t.Fatalf("exit code %d\n%s", r.code, r.stderr)
		}
		m.filmsStored(site, manyFilms)
		onlyBatch(m)
		m.client("site", "git", "push", "-q")
		m.pushed("site", site)
	})
}

// A git process asks for a token once and keeps it; when it is refused later on, git
// asks for no other. That matters to a push, which asks before it runs the hook in
// which git-lfs uploads. What was uploaded is not uploaded again.
func TestPushThatIsOlderThanItsTokenIsRepeated(t *testing.T) {
	t.Parallel()
	m, site := newFilmWorld(t)
	m.client(".", "git", "clone", "-q", m.server.URL+"/acme/site")
	m.commitFilms("site", 2)
	m.briefly()
	if r := m.expired(0, isFilm("PUT"), "site", "git", "push", "-q"); r.code == 0 || !strings.Contains(r.stderr, "401") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	m.filmsStored(site, 2)
	m.client("site", "git", "push", "-q")
	m.pushed("site", site)
	if dead := m.outlived("acme/site"); len(dead) != 1 || !strings.HasSuffix(dead[0].Path, "/git-receive-pack") {
		t.Errorf("dead tokens came with %v", dead)
	}
	testkit.Equal(t, m.askedOfLFS()["PUT objects"], 2, "uploads")
}

// agedCache makes what is in the cache a minute older, so that a token there is no
// longer one that GitHub may not know yet.
func (m *machine) agedCache() {
	m.t.Helper()
	files := testkit.Must(filepath.Glob(filepath.Join(m.cache, "ghapp", "[0-9a-f]*")))(m.t)
	aged := 0
	for _, file := range files {
		var entry map[string]any
		if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &entry) != nil || entry["minted_at"] == nil {
			continue
		}
		minted := testkit.Must(time.Parse(time.RFC3339Nano, entry["minted_at"].(string)))(m.t)
		entry["minted_at"] = minted.Add(-time.Minute)
		text := testkit.Must(json.Marshal(entry))(m.t)
		m.write(file, string(text))
		aged++
	}
	if aged == 0 {
		m.t.Fatalf("there is no token in %q", files)
	}
}

func TestRevokedTokenOfTheCacheIsReplaced(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("token", "acme/site")
	m.agedCache()
	m.github.RevokeTokens()
	r := m.must("clone", "acme/site")
	testkit.Equal(t, m.github.Mints(), 2, "mints")
	testkit.Equal(t, m.read("site/main.txt"), "main\n", "cloned")
	testkit.Contains(t, r.stderr, "with a new one")
}

// A GitHub that refuses every token is not asked for ever.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("token", "acme/site")
	m.agedCache()
	var refused atomic.Int32
	m.traffic.lead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGit(r) && r.Header.Get("Authorization") != "" {
			refused.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "Invalid username or token.", http.StatusUnauthorized)
			return
		}
		m.github.ServeHTTP(w, r)
	}))
	r := m.ghapp("clone", "acme/site")
	r.ends(t, 4, "hint: run the command again for a new token; if that is refused as well")
	if mints := m.github.Mints(); mints != 2 || refused.Load() != 2 {
		t.Errorf("%d mints, %d refusals", mints, refused.Load())
	}
	m.nothingLeft()
}
