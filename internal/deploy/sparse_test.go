//go:build unix

package deploy

import (
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestSparsePathThatTheCommitHasNotPublishesNothing(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Sparse = []string{"site/public", "docs/"} })
	w.publish(w.commit(map[string]string{"site/public/a": "1", "site/src/b": "1", "docs/c": "1",
		"docs-old": "1", "README": "1"}))
	if got := w.shows(); got != "docs/c: 1; site/public/a: 1" {
		t.Fatal(got)
	}
	for wanted, says := range map[string]string{
		"site/pubic":      `the commit has no "site/pubic"; the nearest is "site/public"`,
		"site/elsewhere":  `the nearest is "site"`,
		"site/public/x/y": `the nearest is "site/public"`,
		"doc":             `the nearest is "docs"`,
		"Docs":            `the nearest is "docs"`,
		"elsewhere/a":     `it has ["README" "docs-old" "docs" "site"]`,
		"READ":            `the nearest is "README"`,
		"docs/c/d":        `the nearest is "docs/c"`,
	} {
		w.target.Sparse = []string{"docs", wanted}
		commit := w.commit(map[string]string{"docs/c": wanted})
		if err := w.refused(commit); !errors.Is(err, ErrSparse) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", wanted, err)
		}
		w.target.Sparse = []string{wanted} // alone it leaves nothing
		testkit.Fails(t, w.refused(commit), "%v", wanted)
	}
	// A path that goes with a commit is the same.
	w.target.Sparse = []string{"docs"}
	testkit.ErrorIs(t, w.refused(w.entries(githubtest.Entry{Path: "a", Content: "1"})), ErrSparse)
}

func TestSparsePathMayBeASubmodule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Submodules, g.Sparse = true, []string{"vendor/lib", "a"} })
	lib := w.lib("acme/lib", "1")
	commit := superproject(t, w.site, []gitlink{
		{path: "vendor/lib", url: "../lib", commit: lib}, {path: "other", url: "../lib", commit: lib},
	}, githubtest.Entry{Path: "a", Content: "1"}, githubtest.Entry{Path: "b", Content: "1"})
	w.publish(commit)
	testkit.Equal(t, w.files(), "a: 1; vendor/lib/f: 1")
	w.target.Sparse = []string{"vendor/lib/f"}
	if err := w.refused(commit); !errors.Is(err, ErrSparse) ||
		!strings.Contains(err.Error(), `in the submodule "vendor/lib"`) {
		t.Error(err)
	}
}
