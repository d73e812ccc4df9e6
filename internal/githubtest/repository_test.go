package githubtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// facts are what a listing of repositories tells of the only one.
func facts(t *testing.T, w *gitWorld, secret string) map[string]any {
	t.Helper()
	list := ask(t, w.gh, "GET", "/installation/repositories", "token "+secret, "").field("repositories").([]any)
	testkit.Equal(t, len(list), 1, "repositories")
	all, told := list[0].(map[string]any), map[string]any{}
	for _, name := range []string{"archived", "default_branch", "disabled", "fork", "has_wiki", "private", "pushed_at",
		"size", "topics", "visibility"} {
		told[name] = all[name]
	}
	return told
}

func TestWhatARepositoryIsIsTold(t *testing.T) {
	w := newGitWorld(t)
	secret := w.mint(t, `{"repositories":["site"]}`)
	w.repo.Edit(func(o *githubtest.RepositoryOptions) {
		if o.DefaultBranch != "main" || o.PushedAt.IsZero() {
			t.Errorf("the options of now: %+v", *o)
		}
		*o = githubtest.RepositoryOptions{Internal: true, Archived: true, Disabled: true, Fork: true, NoWiki: true,
			Topics: []string{"go"}, SizeKB: 7, DefaultBranch: "trunk", PushedAt: time.Unix(1e9, 0)}
	})
	want := map[string]any{"archived": true, "default_branch": "trunk", "disabled": true, "fork": true, "has_wiki": false,
		"private": true, "pushed_at": "2001-09-09T01:46:40Z", "size": 7.0, "topics": []any{"go"}, "visibility": "internal"}
	if diff := cmp.Diff(want, facts(t, w, secret)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Whatever ref is pushed, the signal moves by which a client knows that something changed.
func TestEveryPushIsSeenInPushedAt(t *testing.T) {
	w := newGitWorld(t)
	secret := w.mint(t, `{"permissions":{"contents":"write"}}`)
	dir := filepath.Join(t.TempDir(), "site")
	head := commit(t, w.repo, "main", map[string]string{"a": "1"})
	mustGit(t, ".", "clone", "-q", remote(w.server, secret, "/acme/site.git"), dir)
	for name, push := range map[string]func() error{
		"a note": func() error {
			_, err := w.repo.CommitEntries("", githubtest.CommitOptions{Ref: "refs/notes/commits", Orphan: true})
			return err
		},
		"a pull request": func() error { return w.repo.SetRef("refs/pull/1/head", head) },
		"a tag":          func() error { return w.repo.Tag("v1", head) },
		"a tag of a tag": func() error {
			tag, err := w.repo.AnnotateTag("v2", head, "two")
			if err == nil {
				_, err = w.repo.AnnotateTag("v3", tag, "three")
			}
			return err
		},
		"a merge": func() error {
			_, err := w.repo.CommitEntries("main", githubtest.CommitOptions{Merge: []string{head}})
			return err
		},
		"over HTTP": func() error {
			mustGit(t, dir, "push", "-q", "origin", "HEAD:refs/custom/x")
			return nil
		},
		"a deletion over HTTP": func() error {
			testkit.OK(t, w.repo.Tag("gone", head))
			w.repo.Edit(func(o *githubtest.RepositoryOptions) { o.PushedAt = time.Unix(1e9, 0) })
			mustGit(t, dir, "push", "-q", "origin", ":refs/tags/gone")
			return nil
		},
	} {
		w.repo.Edit(func(o *githubtest.RepositoryOptions) { o.PushedAt = time.Unix(1e9, 0) })
		testkit.OK(t, push(), "%s", name)
		w.repo.Edit(func(o *githubtest.RepositoryOptions) {
			if o.PushedAt.Unix() == 1e9 {
				t.Errorf("%s: pushed_at stands", name)
			}
		})
	}
	refs := testkit.Must(w.repo.Refs())(t)
	for _, ref := range []string{"refs/heads/main", "refs/notes/commits", "refs/pull/1/head", "refs/tags/v1",
		"refs/tags/v2", "refs/tags/v3", "refs/custom/x"} {
		if refs[ref] == "" {
			t.Errorf("no %s in %v", ref, refs)
		}
	}
	if out, err := git(t, dir, "push", "-q", "origin", "HEAD:refs/pull/2/head"); err == nil ||
		!strings.Contains(out, "deny updating a hidden ref") {
		t.Errorf("a pull request was pushed: %s", out)
	}
}

func TestManyRefsAreOnePush(t *testing.T) {
	w := newHookWorld(t)
	head := commit(t, w.repo, "main", nil)
	refs := map[string]string{"refs/heads/main": ""}
	for i := range 3000 {
		refs[fmt.Sprintf("refs/heads/b%d", i)] = head
	}
	w.app.SetWebhook(githubtest.Webhook{}) // which would be told of each
	testkit.OK(t, w.repo.SetRefs(refs))
	testkit.Equal(t, len(testkit.Must(w.repo.Refs())(t)), 3000, "refs")
	testkit.Equal(t, testkit.Must(w.repo.Head("main"))(t), "", "main, which was deleted")
}

func TestSHA256(t *testing.T) {
	w := newGitWorld(t)
	repo := w.gh.AddRepository("acme/new", githubtest.RepositoryOptions{SHA256: true})
	head := commit(t, repo, "main", map[string]string{"a": "1"})
	testkit.Equal(t, len(head), 64, "digits of a name")
	dir := filepath.Join(t.TempDir(), "new")
	mustGit(t, ".", "clone", "-q", remote(w.server, w.mint(t, ""), "/acme/new.git"), dir)
	testkit.Equal(t, mustGit(t, dir, "rev-parse", "HEAD"), head, "head")
}

func TestRepositoryThatGitHubHasShut(t *testing.T) {
	w := newGitWorld(t)
	commit(t, w.repo, "main", nil)
	secret := w.mint(t, "")
	says := func(change func(o *githubtest.RepositoryOptions)) string {
		w.repo.Edit(func(o *githubtest.RepositoryOptions) { *o = githubtest.RepositoryOptions{}; change(o) })
		out, _ := git(t, ".", "ls-remote", remote(w.server, secret, "/acme/site.git"))
		testkit.Contains(t, out, "error: 403")
		return out
	}
	testkit.Contains(t, says(func(o *githubtest.RepositoryOptions) { o.Disabled = true }), "disabled by GitHub staff")
	testkit.Contains(t, says(func(o *githubtest.RepositoryOptions) { o.Blocked = true }), "DMCA takedown")
	r := ask(t, w.gh, "GET", "/repos/acme/site", "token "+secret, "")
	testkit.Equal(t, r.status, 451, "status")
	testkit.Equal(t, r.message(), "Repository access blocked", "message")
	testkit.Equal(t, facts(t, w, w.mint(t, `{"repositories":["site"]}`))["visibility"], any("private"), "it is listed")
}

// An installation of a hundred thousand repositories that nobody clones costs neither disk nor minutes.
func TestRepositoriesAreCheapUntilGitTouchesThem(t *testing.T) {
	dir := t.TempDir()
	gh := testkit.Must(githubtest.New(githubtest.Options{Dir: dir}))(t)
	t.Cleanup(func() { gh.Close() })
	app := newApp(t, gh, githubtest.AppOptions{})
	names := make([]string, 5_000)
	for i := range names {
		names[i] = fmt.Sprintf("acme/r%d", i)
		gh.AddRepository(names[i], githubtest.RepositoryOptions{})
	}
	gh.SetRateLimit(-1)
	for _, o := range []githubtest.InstallOptions{{All: true}, {Repositories: names}} {
		secret := "token " + mint(t, gh, app, app.Install("acme", o), "")
		seen := 0
		for page := 1; page <= 50; page++ {
			r := ask(t, gh, "GET", fmt.Sprintf("/installation/repositories?per_page=100&page=%d", page), secret, "")
			seen += len(r.field("repositories").([]any))
		}
		testkit.Equal(t, seen, len(names), "repositories")
	}
	testkit.Equal(t, len(testkit.Must(os.ReadDir(dir))(t)), 0, "repositories on the disk")
}

// A listing tells of each repository what the repository's own endpoint does.
func TestListingTellsWhatTheRepositoryItselfDoes(t *testing.T) {
	w := newGitWorld(t)
	for i, o := range []githubtest.RepositoryOptions{{}, {Description: `"a" <b>`}, {Description: "@name@"},
		{Public: true, Topics: []string{"x y", "z"}}, {Topics: []string{"x", "y z"}, Public: true},
		{SizeKB: 9, PushedAt: time.Unix(1e9, 0)}, {Archived: true}} {
		w.gh.AddRepository(fmt.Sprintf("acme/r%d", i), o)
	}
	w.gh.AddRepository(`acme/odd"name`, githubtest.RepositoryOptions{})
	for _, body := range []string{`{"permissions":{"contents":"read"}}`, `{"repositories":["site","r1"]}`, ""} {
		secret := "token " + w.mint(t, body)
		list := ask(t, w.gh, "GET", "/installation/repositories", secret, "").field("repositories").([]any)
		for _, repository := range list {
			listed := repository.(map[string]any)
			own := ask(t, w.gh, "GET", fmt.Sprintf("/repositories/%.0f", listed["id"]), secret, "").json.(map[string]any)
			for _, name := range []string{"subscribers_count", "network_count", "organization"} {
				delete(own, name)
			}
			if diff := cmp.Diff(own, listed); diff != "" {
				t.Errorf("%s: -own +listed\n%s", listed["name"], diff)
			}
		}
	}
}
