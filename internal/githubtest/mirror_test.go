package githubtest_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What was mirrored can be given back: every ref but those that GitHub keeps for itself, to a repository that is new.
func TestMirrorCanBePushedToANewRepository(t *testing.T) {
	w := newGitWorld(t)
	tag := testkit.Must(w.repo.AnnotateTag("v1", w.heads[0], "one"))(t)
	testkit.OK(t, w.repo.SetRefs(map[string]string{
		"refs/pull/1/head": w.heads[0], "refs/notes/x": w.heads[1], "refs/heads/topic/a": w.heads[0]}))
	secret := w.mint(t, "")
	dir := filepath.Join(t.TempDir(), "site.git")
	mustGit(t, ".", "clone", "-q", "--mirror", remote(w.server, secret, "/acme/site.git"), dir)
	testkit.Contains(t, mustGit(t, dir, "for-each-ref"), "refs/pull/1/head")

	restored := w.gh.AddRepository("acme/restored", githubtest.RepositoryOptions{})
	mustGit(t, dir, "push", "-q", "--prune", remote(w.server, secret, "/acme/restored.git"),
		"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+refs/notes/*:refs/notes/*")
	want := map[string]string{"refs/heads/main": w.heads[1], "refs/heads/topic/a": w.heads[0], "refs/tags/v1": tag,
		"refs/notes/x": w.heads[1]}
	if diff := cmp.Diff(want, testkit.Must(restored.Refs())(t)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	reading := w.mint(t, `{"permissions":{"contents":"read"}}`)
	if out, err := git(t, dir, "push", "-q", remote(w.server, reading, "/acme/restored.git"), "main"); err == nil {
		t.Errorf("a token that may read pushed: %s", out)
	}
}

// The objects of all refs go out of one repository and into another, and those of a wiki as well.
func TestLFSObjectsOfEveryRef(t *testing.T) {
	w := newGitWorld(t)
	secret := w.mint(t, "")
	wiki := w.repo.Wiki()
	for path, from := range map[string]*githubtest.Repository{"/acme/site.git": w.repo, "/acme/site.wiki.git": wiki} {
		w.gh.AddRepository("acme/to", githubtest.RepositoryOptions{})
		var asked []string
		for i := range 100 {
			pointer := from.AddObject(fmt.Sprintf("%s %d", path, i))
			_, oid, _ := strings.Cut(pointer, "sha256:")
			asked = append(asked, fmt.Sprintf(`{"oid":"%.64s","size":%d}`, oid, len(path)+len(fmt.Sprint(i))+1))
		}
		links := batch(t, w, secret, path, "download", asked, "download")
		uploads := batch(t, w, secret, "/acme/to.git", "upload", asked, "upload")
		for i := range links {
			content := send(t, "GET", links[i], "")
			testkit.Equal(t, content, fmt.Sprintf("%s %d", path, i), "content")
			send(t, "PUT", uploads[i], content)
		}
		testkit.Equal(t, len(batch(t, w, secret, "/acme/to.git", "download", asked, "download")), 100, "in the new one")
	}
}

// batch asks for links to objects, and returns them.
func batch(t *testing.T, w *gitWorld, secret, path, operation string, objects []string, kind string) []string {
	t.Helper()
	body := `{"operation":"` + operation + `","objects":[` + strings.Join(objects, ",") + `]}`
	req := testkit.Must(http.NewRequest("POST", w.server.URL+path+"/info/lfs/objects/batch", strings.NewReader(body)))(t)
	req.SetBasicAuth("x-access-token", secret)
	answer := read(t, testkit.Must(http.DefaultClient.Do(req))(t))
	testkit.Equal(t, answer.status, 200, "%s", answer.text)
	var list []string
	for _, object := range answer.field("objects").([]any) {
		actions := object.(map[string]any)["actions"].(map[string]any)
		list = append(list, actions[kind].(map[string]any)["href"].(string))
	}
	return list
}

func send(t *testing.T, method, url, body string) string {
	t.Helper()
	req := testkit.Must(http.NewRequest(method, url, strings.NewReader(body)))(t)
	r := read(t, testkit.Must(http.DefaultClient.Do(req))(t))
	testkit.Equal(t, r.status, 200, "%s %s", url, r.text)
	return r.text
}
