package githubtest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestWikiIsARepositoryToGitAndAPartOfItsRepositoryToATOken(t *testing.T) {
	w := newGitWorld(t)
	secret := w.mint(t, `{"repositories":["site"],"permissions":{"contents":"read"}}`)
	if out, err := git(t, ".", "ls-remote", remote(w.server, secret, "/acme/site.wiki.git")); err == nil ||
		!strings.Contains(out, "not found") {
		t.Errorf("a wiki without a page: %s", out)
	}
	head := commit(t, w.repo.Wiki(), "master", map[string]string{"Home.md": "hello\n"})
	for _, path := range []string{"/acme/site.wiki.git", "/acme/site.wiki", "/ACME/Site.Wiki.git"} {
		dir := filepath.Join(t.TempDir(), "wiki")
		mustGit(t, ".", "clone", "-q", remote(w.server, secret, path), dir)
		testkit.Equal(t, mustGit(t, dir, "rev-parse", "master"), head, "%s: master", path)
	}
	w.gh.AddRepository("acme/other", githubtest.RepositoryOptions{}).Wiki()
	if out, err := git(t, ".", "ls-remote", remote(w.server, secret, "/acme/other.wiki.git")); err == nil {
		t.Errorf("the wiki of another repository: %s", out)
	}
	// It is moved with its repository, and the REST API knows nothing of it.
	testkit.OK(t, w.gh.Rename("acme/site", "home"))
	testkit.Contains(t, mustGit(t, ".", "ls-remote", remote(w.server, secret, "/acme/site.wiki.git"), "HEAD"), head)
	testkit.Equal(t, w.gh.Repository("acme/home.wiki"), nil, "the wiki is listed as a repository")
}
