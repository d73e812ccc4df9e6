package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// mirrorOfFilms is a machine on which git-lfs is installed, and acme/site of its world, alone with
// the App.
func mirrorOfFilms(t *testing.T) (*machine, *githubtest.Repository) {
	t.Helper()
	w := newWorldFor(t)
	w.app.Install("acme", mayMuch("acme/site", "acme/web"))
	m := w.machine(t)
	m.installLFS()
	return m, w.github.Repository("acme/site")
}

// shoot commits large files, by their contents, each as the file "CONTENT.film".
func shoot(t *testing.T, r *githubtest.Repository, o githubtest.CommitOptions, contents ...string) {
	t.Helper()
	o.Entries = append(o.Entries, githubtest.Entry{Path: ".gitattributes", Content: films})
	for _, content := range contents {
		name := strings.ReplaceAll(content, " ", "-") + ".film"
		o.Entries = append(o.Entries, githubtest.Entry{Path: name, Content: r.AddObject(content)})
	}
	testkit.Must(r.CommitEntries("main", o))(t)
}

// storedFilms are those of some contents that a mirror has as git-lfs keeps them, right to the byte.
func (m *machine) storedFilms(mirror string, contents ...string) (list []string) {
	m.t.Helper()
	for _, content := range contents {
		sum := sha256.Sum256([]byte(content))
		id := hex.EncodeToString(sum[:])
		text, err := os.ReadFile(filepath.Join(m.work, "m", mirror, "lfs", "objects", id[:2], id[2:4], id))
		if err != nil {
			continue
		}
		testkit.Equal(m.t, string(text), content)
		list = append(list, content)
	}
	return list
}

// wanted fails unless a mirror has exactly these of all files that are spoken of, and nothing
// half made.
func (m *machine) wanted(mirror string, all []string, want ...string) {
	m.t.Helper()
	testkit.Diff(m.t, strings.Join(m.storedFilms(mirror, all...), ","), strings.Join(want, ","))
	if _, err := os.Lstat(filepath.Join(m.work, "m", mirror, "lfs", "incoming-ghapp")); err == nil {
		m.t.Error("something half made is left")
	}
}

// askedForFilms are the requests about large files since they were last forgotten.
func (m *machine) askedForFilms() (batches, files int) {
	for _, r := range m.requests() {
		switch {
		case strings.HasSuffix(r.Path, "/info/lfs/objects/batch"):
			batches++
		case strings.Contains(r.Path, "/info/lfs/objects/"):
			files++
		}
	}
	m.github.ResetRequests()
	return batches, files
}

// A clone from a mirror has its large files from there, of every branch, and nobody else is
// asked for them; what is there is not asked for again.
func TestMirrorHasTheLargeFilesOfAllRefs(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	all := []string{"film 1", "film 2", "of a branch", "of a tag", "new"}
	shoot(t, site, githubtest.CommitOptions{}, "film 1")
	shoot(t, site, githubtest.CommitOptions{Replace: true}, "film 2")
	shoot(t, site, githubtest.CommitOptions{Ref: "refs/heads/side", Orphan: true}, "of a branch", "film 1")
	shoot(t, site, githubtest.CommitOptions{Ref: "refs/tags/v1", Orphan: true}, "of a tag")
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", all, "film 1", "film 2", "of a branch", "of a tag")
	if batches, files := m.askedForFilms(); batches != 1 || files != 4 {
		t.Errorf("%d batches and %d files were asked for", batches, files)
	}

	m.client(".", "git", "clone", "-q", "m/acme/site.git", "site")
	testkit.Equal(t, m.read("site/film-2.film"), "film 2")
	m.client("site", "git", "lfs", "fetch", "--all")
	m.client("site", "git", "checkout", "-q", "side")
	testkit.Equal(t, m.read("site/of-a-branch.film"), "of a branch")
	m.client("site", "git", "lfs", "fsck")
	if batches, files := m.askedForFilms(); batches+files > 0 {
		t.Errorf("the clone has asked for %d batches and %d files", batches, files)
	}

	m.must("mirror", "--to", "m", "--lfs", "--full")
	if batches, files := m.askedForFilms(); batches+files > 0 {
		t.Errorf("nothing was new, and %d batches and %d files were asked for", batches, files)
	}
	shoot(t, site, githubtest.CommitOptions{}, "new")
	m.must("mirror", "--to", "m", "--lfs")
	if batches, files := m.askedForFilms(); batches != 1 || files != 1 {
		t.Errorf("one was new, and %d batches and %d files were asked for", batches, files)
	}
	m.wanted("acme/site.git", all, all...)
	m.noSecretOnDisk()
}

// What a mirror had before --lfs was given, and what was taken away here, comes.
func TestMirrorGetsLargeFilesThatAreMissing(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	shoot(t, site, githubtest.CommitOptions{}, "film 1", "film 2")
	m.must("mirror", "--to", "m")
	m.wanted("acme/site.git", []string{"film 1", "film 2"})
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", []string{"film 1", "film 2"}, "film 1", "film 2")
	m.askedForFilms()
	found := testkit.Must(filepath.Glob(filepath.Join(m.work, "m/acme/site.git/lfs/objects/*/*/*")))(t)
	testkit.OK(t, os.Truncate(found[0], 3))
	testkit.OK(t, os.WriteFile(filepath.Join(m.work, "m/acme/site.git/ghapp-lfs"), []byte("tip x\nend"), 0o600))
	m.must("mirror", "--to", "m", "--lfs", "--full")
	m.wanted("acme/site.git", []string{"film 1", "film 2"}, "film 1", "film 2")
	if batches, files := m.askedForFilms(); batches != 1 || files != 1 {
		t.Errorf("one was cut off, and %d batches and %d files were asked for", batches, files)
	}
}

// A file whose bytes have become others, and as many, is found by verify alone. The next run fetches it
// anew and what is not there, and takes nothing away that is whole; until then, and where GitHub does
// not have it any more, the bad bytes are where git-lfs puts those that it finds.
func TestMirrorFetchesDamagedLargeFilesAnew(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	all := []string{"film 1", "film 2", "film 3"}
	shoot(t, site, githubtest.CommitOptions{}, all...)
	m.must("mirror", "--to", "m", "--lfs")
	spoil := func(content string) {
		t.Helper()
		testkit.OK(t, os.Chmod(m.kept(content), 0o600))
		m.write(m.kept(content), strings.ToUpper(content))
	}
	has := func(path, text, why string) {
		t.Helper()
		testkit.Equal(t, string(testkit.Must(os.ReadFile(path))(t)), text, why)
	}
	bad := filepath.Join(m.work, "m/acme/site.git/lfs/bad")
	lacks := func(r result) {
		t.Helper()
		r.ends(t, 1, "hint: the next run of `ghapp mirror --lfs` fetches them")
		testkit.Contains(t, r.stdout, "lacking")
	}
	spoil("film 1")
	testkit.OK(t, os.Remove(m.kept("film 2")))
	lacks(m.ghapp("mirror", "verify", "./m", "--offline"))
	has(m.kept("film 1"), "FILM 1", "verify has changed it")
	m.must("mirror", "--to", "m")
	has(m.kept("film 1"), "FILM 1", "a run without --lfs has changed it")
	m.askedForFilms()

	testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "GET /acme/site.git/info/lfs/objects/*", Status: 404}))
	m.ghapp("mirror", "--to", "m", "--lfs").ends(t, 1, "2 of 3 large files could not be had")
	m.wanted("acme/site.git", all, "film 3")
	list := testkit.Must(os.ReadDir(bad))(t)
	testkit.Equal(t, len(list), 1)
	has(filepath.Join(bad, list[0].Name()), "FILM 1", "put aside")
	lacks(m.ghapp("mirror", "verify", "./m", "--offline"))
	m.github.ClearFaults()
	m.askedForFilms()

	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", all, all...)
	testkit.Equal(t, len(testkit.Must(os.ReadDir(bad))(t)), 0, "bad ones that are left")
	if batches, files := m.askedForFilms(); batches != 1 || files != 2 {
		t.Errorf("two were damaged, and %d batches and %d files were asked for", batches, files)
	}
	m.must("mirror", "verify", "./m", "--offline")
	m.must("mirror", "--to", "m", "--lfs")
	if batches, files := m.askedForFilms(); batches+files > 0 {
		t.Errorf("nothing was damaged any more, and %d batches and %d files were asked for", batches, files)
	}

	// Nor is a mirror whole that has lost all of them.
	testkit.OK(t, os.RemoveAll(filepath.Join(m.work, "m/acme/site.git/lfs")))
	lacks(m.ghapp("mirror", "verify", "./m", "--offline"))
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", all, all...)
}

// What a forced push left behind keeps its large files, for as long as it is kept, and no longer;
// what another ref needs stays.
func TestMirrorKeepsLargeFilesWithTheHistoryThatNeedsThem(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	all := []string{"both", "old", "new"}
	shoot(t, site, githubtest.CommitOptions{}, "both", "old")
	m.must("mirror", "--to", "m", "--lfs")
	shoot(t, site, githubtest.CommitOptions{Orphan: true, Replace: true}, "both", "new")
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", all, all...)
	time.Sleep(2100 * time.Millisecond)
	shoot(t, site, githubtest.CommitOptions{}, "both")
	m.must("mirror", "--to", "m", "--lfs", "--full", "--keep-history", "1s")
	m.wanted("acme/site.git", all, "both", "new")
}

// A file that cannot be had is a failure that says so. What git has is up to date, the other files
// are there, and it is asked for again.
func TestMirrorTellsOfALargeFileThatCannotBeHad(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	sum := sha256.Sum256([]byte("lost"))
	shoot(t, site, githubtest.CommitOptions{Entries: []githubtest.Entry{{Path: "lost.film", Content: fmt.Sprintf(
		"version https://git-lfs.github.com/spec/v1\noid sha256:%x\nsize 4\n", sum)}}}, "film")
	m.ghapp("mirror", "--to", "m", "--lfs").ends(t, 1, "acme/site: 1 of 2 large files could not be had",
		fmt.Sprintf("%x (4 bytes): the server says 404", sum), "what git has of the mirror is up to date")
	m.wanted("acme/site.git", []string{"film", "lost"}, "film")
	pointer := testkit.Must(gitIn(filepath.Join(m.work, "m/acme/site.git"), "show", "main:lost.film"))(t)
	testkit.Equal(t, string(pointer[:7]), "version")
	status := m.ghapp("mirror", "status", "m", "--json")
	testkit.Contains(t, status.stdout, "could not be had")
	shoot(t, site, githubtest.CommitOptions{Ref: "refs/heads/elsewhere"}, "lost")
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", []string{"film", "lost"}, "film", "lost")
}

// elsewhere is another host, which notes what it is sent.
func elsewhere(t *testing.T, h http.HandlerFunc) (url string, sent func() string) {
	var mu sync.Mutex
	var all strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fmt.Fprintf(&all, "%s %s %v\n", r.Method, r.URL, r.Header)
		mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// answerBatch has the batch API answer with links of its own, of the content "film".
func answerBatch(t *testing.T, m *machine, link map[string]any) {
	sum := sha256.Sum256([]byte("film"))
	body := testkit.Must(json.Marshal(map[string]any{"objects": []any{map[string]any{
		"oid": hex.EncodeToString(sum[:]), "size": 4, "actions": map[string]any{"download": link},
	}}}))(t)
	testkit.OK(t, m.github.Fault(githubtest.Fault{
		Match: "POST /acme/site.git/info/lfs/objects/batch", Body: string(body), Status: 200,
		Header: http.Header{"Content-Type": {"application/vnd.git-lfs+json"}},
	}))
}

// Whatever a server of large files sends, nothing of it stands under the name of a file that it is
// not, no token goes to another host, and the rest of the mirror is as it should be.
func TestMirrorBelievesNoServerOfLargeFiles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		why   string // "": it is the file
	}{
		"right":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "film") }, ""},
		"wrong":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "filn") }, "what came has another SHA-256"},
		"short":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fil") }, "3 of its 4 bytes came"},
		"a page":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "answers with 404"},
		"no range": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, "answers with 206"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "more came than its 4 bytes"},
		"in a circle": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again", http.StatusFound)
		}, "leads from one place to the next"},
		"to a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, site := mirrorOfFilms(t)
			shoot(t, site, githubtest.CommitOptions{}, "film")
			url, sent := elsewhere(t, test.serve)
			answerBatch(t, m, map[string]any{"href": url + "/x?signature=c4n4ry", "header": map[string]string{"X-Theirs": "1"}})
			r := m.ghapp("mirror", "--to", "m", "--lfs")
			if test.why == "" {
				r.ends(t, 0)
				m.wanted("acme/site.git", []string{"film"}, "film")
			} else {
				r.ends(t, 1, "1 of 1 large files could not be had", test.why)
				m.wanted("acme/site.git", []string{"film"})
			}
			if strings.Contains(r.stderr, "c4n4ry") || strings.Contains(r.stderr, "/etc/passwd") {
				t.Errorf("a link was shown: %s", r.stderr)
			}
			got := sent()
			testkit.Contains(t, got, "X-Theirs:[1]")
			if strings.Contains(got, "Authorization") {
				t.Errorf("another host was sent a credential: %s", got)
			}
			m.noSecretIn("the other host", got)
			m.noSecretOnDisk()
			testkit.Must(gitIn(filepath.Join(m.work, "m/acme/site.git"), "rev-parse", "main"))(t)
		})
	}
}

// Neither the batch API nor a link leads a token to another host, nor what was for one host to
// the next.
func TestMirrorTakesNoCredentialToAnotherHost(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	shoot(t, site, githubtest.CommitOptions{}, "film")
	url, sent := elsewhere(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "film") })
	testkit.OK(t, m.github.Fault(githubtest.Fault{
		Match: "POST /acme/site.git/info/lfs/objects/batch", RedirectTo: url, Times: 1,
	}))
	m.ghapp("mirror", "--to", "m", "--lfs").ends(t, 1, "acme/site: ")
	testkit.Equal(t, sent(), "", "the batch API's redirect was followed to another host")

	first, _ := elsewhere(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, url+"/there", http.StatusTemporaryRedirect)
	})
	answerBatch(t, m, map[string]any{"href": first, "header": map[string]string{"Authorization": "RemoteAuth c4n4ry"}})
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", []string{"film"}, "film")
	got := sent()
	testkit.Contains(t, got, "GET /there")
	if strings.Contains(got, "c4n4ry") {
		t.Errorf("what was for one host went to the next: %s", got)
	}
	m.noSecretIn("the other host", got)
}

// .lfsconfig, which anybody may push, leads no token anywhere; a repository of the same owner that
// it names has one that is for that repository.
func TestMirrorFollowsLFSConfigToRepositoriesOfTheOwnerAlone(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	web := m.github.Repository("acme/web")
	url, sent := elsewhere(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	shot := func(address string) {
		testkit.Must(site.CommitEntries("main", githubtest.CommitOptions{Entries: []githubtest.Entry{
			{Path: ".lfsconfig", Content: "[lfs]\n\turl = " + address + "\n\taccess = basic\n"},
			{Path: "a.film", Content: web.AddObject("stored elsewhere")},
		}}))(t)
	}
	shot(url + "/acme/web.git/info/lfs")
	m.ghapp("mirror", "--to", "m", "--lfs").ends(t, 1, ".lfsconfig says that they are at "+
		strings.TrimPrefix(url, "http://")+"/acme/web.git/info/lfs, which is not asked")
	testkit.Equal(t, sent(), "")
	shot(m.server.URL + "/umbra/tool.git/info/lfs")
	m.ghapp("mirror", "--to", "m", "--lfs").ends(t, 1, "which is not asked")
	shot(m.server.URL + "/acme/web.git/info/lfs")
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", []string{"stored elsewhere"}, "stored elsewhere")
	for _, token := range m.github.Tokens() {
		testkit.Equal(t, fmt.Sprint(token.Permissions["contents"] == "write"), "false")
	}
	m.noSecretOnDisk()
}

// Tokens and links that end while large files are fetched are replaced.
func TestMirrorOutlastsTokensAndLinks(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	shoot(t, site, githubtest.CommitOptions{}, "film 1", "film 2", "film 3")
	testkit.OK(t, m.github.Fault(githubtest.Fault{ // as an old link is answered
		Match: "GET /acme/site.git/info/lfs/objects/*", Status: 403, Times: 2,
	}))
	testkit.OK(t, m.github.Fault(githubtest.Fault{
		Match: "POST /acme/site.git/info/lfs/objects/batch", Status: 401, Times: 1, Skip: 1,
	}))
	m.must("mirror", "--to", "m", "--lfs")
	m.wanted("acme/site.git", []string{"film 1", "film 2", "film 3"}, "film 1", "film 2", "film 3")
	if batches, files := m.askedForFilms(); batches != 3 || files != 5 {
		t.Errorf("%d batches and %d files were asked for", batches, files)
	}
}

// A wiki is kept beside its repository, with its large files. One without a page, though GitHub says
// that there is one, is no failure, and one that was deleted stays.
func TestMirrorKeepsWikis(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	wiki := site.Wiki()
	testkit.Must(wiki.CommitEntries("master", githubtest.CommitOptions{Entries: []githubtest.Entry{
		{Path: "Home.md", Content: "home"}, {Path: ".gitattributes", Content: films},
		{Path: "a.film", Content: wiki.AddObject("of a wiki")},
	}}))(t)
	m.must("mirror", "--to", "m", "--lfs", "--wikis")
	m.wanted("acme/site.wiki.git", []string{"of a wiki"}, "of a wiki")
	at := filepath.Join(m.work, "m/acme/site.wiki.git")
	testkit.Equal(t, string(testkit.Must(gitIn(at, "show", "HEAD:Home.md"))(t)), "home")
	if _, err := os.Lstat(filepath.Join(m.work, "m/acme/web.wiki.git")); err == nil {
		t.Error("a wiki without a page has a mirror")
	}
	site.Edit(func(o *githubtest.RepositoryOptions) { o.NoWiki = true })
	m.must("mirror", "--to", "m", "--lfs", "--wikis", "--full")
	site.Edit(func(o *githubtest.RepositoryOptions) { o.NoWiki = false })
	testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "* /acme/site.wiki.git/**", Status: 404}))
	m.must("mirror", "--to", "m", "--lfs", "--wikis", "--full")
	testkit.Equal(t, string(testkit.Must(gitIn(at, "show", "HEAD:Home.md"))(t)), "home")
}

// The refs of pull requests are kept where that is asked for. What a forced push to one leaves behind
// stays; what GitHub would merge of it, and makes anew all the time, does not.
func TestMirrorKeepsPullRequests(t *testing.T) {
	t.Parallel()
	m, site := mirrorOfFilms(t)
	head := func(name, text string) string {
		return testkit.Must(site.CommitEntries("x", githubtest.CommitOptions{Ref: name, Orphan: true,
			Entries: []githubtest.Entry{{Path: "a", Content: text}}}))(t)
	}
	one, merge := head("refs/pull/1/head", "1"), head("refs/pull/1/merge", "1 merged")
	two := head("refs/pull/2/head", "2")
	refs := func() string {
		out := testkit.Must(gitIn(filepath.Join(m.work, "m/acme/site.git"), "for-each-ref",
			"--format=%(objectname) %(refname)"))(t)
		var list []string
		for line := range strings.Lines(string(out)) {
			id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			if _, rest, ok := strings.Cut(name, "refs/ghapp/kept/"); ok {
				_, name, _ = strings.Cut(rest, "/")
				name = "kept " + name
			}
			if strings.Contains(name, "pull/") {
				list = append(list, name+" "+id)
			}
		}
		return strings.Join(list, "\n")
	}
	m.must("mirror", "--to", "m")
	testkit.Equal(t, refs(), "")
	m.must("mirror", "--to", "m", "--pull-requests", "--full")
	testkit.Equal(t, refs(), "refs/pull/1/head "+one+"\nrefs/pull/1/merge "+merge+"\nrefs/pull/2/head "+two)
	next, merged := head("refs/pull/1/head", "1 again"), head("refs/pull/1/merge", "1 again merged")
	testkit.OK(t, site.SetRef("refs/pull/2/head", ""))
	m.must("mirror", "--to", "m", "--pull-requests", "--full")
	testkit.Equal(t, refs(), "kept pull/1/head "+one+"\nkept pull/2/head "+two+
		"\nrefs/pull/1/head "+next+"\nrefs/pull/1/merge "+merged)
	testkit.OK(t, site.SetRef("refs/pull/1/merge", ""))
	m.must("mirror", "--to", "m", "--pull-requests", "--full")
	testkit.Equal(t, strings.Contains(refs(), "/merge"), false)
}
