package gitcmd

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func asError(t *testing.T, err error) *Error {
	t.Helper()
	e := testkit.ErrorAs[*Error](t, err)
	return e
}

// tree lists what is under dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	testkit.OK(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		list = append(list, name)
		return err
	}))
	return list[1:]
}

func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	if left := tree(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestDestination(t *testing.T) {
	t.Parallel()
	const address = "https://github.com/acme/site"
	tests := map[string]struct {
		url, dir string
		extra    []string
		before   []string // a name with a slash at its end is a directory
		want     string
		reason   Reason
	}{
		"from the address":           {want: "site"},
		"from an address with .git":  {url: address + ".git", want: "site"},
		"from an address with slash": {url: address + ".git/", want: "site"},
		"bare":                       {extra: []string{"--bare"}, want: "site.git"},
		"mirror":                     {extra: []string{"--mirr"}, want: "site.git"},
		"given":                      {dir: "www", want: "www"},
		"given, parents missing":     {dir: "a/b/c", want: "a/b/c"},
		"here":                       {dir: ".", want: "."},
		"empty":                      {dir: "www", before: []string{"www/"}, want: "www"},
		"not empty":                  {dir: "www", before: []string{"www/x"}, reason: DestinationExists},
		"not empty, derived":         {before: []string{"site/x"}, reason: DestinationExists},
		"not empty, bare":            {extra: []string{"--bare"}, before: []string{"site.git/x"}, reason: DestinationExists},
		"here, not empty":            {dir: ".", before: []string{"x"}, reason: DestinationExists},
		"a file":                     {dir: "www", before: []string{"www"}, reason: DestinationExists},
		"a file above":               {dir: "www/site", before: []string{"www"}, reason: DestinationClosed},
		"the other git dir is taken": {dir: "www", extra: []string{"--separate-git-dir", "g"},
			before: []string{"g/x"}, reason: DestinationExists},
		"the other git dir is empty": {dir: "www", extra: []string{"--separate-git-dir=g"},
			before: []string{"g/"}, reason: DestinationExists},
		"the other git dir is free": {dir: "www", extra: []string{"--separate-git-dir=x/g"}, want: "www"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, path := range test.before {
				if path[len(path)-1] == '/' {
					testkit.OK(t, os.MkdirAll(filepath.Join(dir, path), 0o777))
					continue
				}
				write(t, filepath.Join(dir, path), "")
			}
			before := tree(t, dir)
			o := CloneOptions{Scope: Scope{Origin: "https://github.com", Helper: "x"}, URL: address,
				Dir: test.dir, Extra: test.extra}
			if test.url != "" {
				o.URL = test.url
			}
			got, err := (&Runner{Dir: dir}).Destination(o)
			if test.reason != "" {
				testkit.Equal(t, asError(t, err).Reason, test.reason, "reason, %v", err)
			} else if err != nil || got != filepath.Join(dir, test.want) {
				t.Errorf("%q, %v", got, err)
			}
			testkit.Diff(t, tree(t, dir), before)
		})
	}
}

func TestDestinationThatIsADanglingLinkIsTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.OK(t, os.Symlink("nowhere", filepath.Join(dir, "www")))
	o := CloneOptions{Scope: Scope{Origin: "https://github.com", Helper: "x"},
		URL: "https://github.com/acme/site", Dir: "www"}
	_, err := (&Runner{Dir: dir}).Destination(o)
	testkit.Equal(t, asError(t, err).Reason, DestinationExists, "reason")
}

// Whatever was not there before goes after a failure; what was there stays.
func TestFailedCloneLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		dir    string
		extra  []string
		before []string
	}{
		"derived":            {},
		"parents made":       {dir: "a/b/www"},
		"some parents made":  {dir: "a/b/www", before: []string{"a", "a/other"}},
		"an empty one stays": {dir: "www", before: []string{"www"}},
		"here":               {dir: "."},
		"bare":               {extra: []string{"--bare"}},
		"other git dir":      {extra: []string{"--separate-git-dir", "x/g"}},
	}
	broken := map[string]func(http.ResponseWriter, *http.Request) bool{
		// git removes what it made itself.
		"not found": func(w http.ResponseWriter, r *http.Request) bool {
			http.NotFound(w, r)
			return true
		},
		// git leaves the repository when the checkout fails.
		"checkout": nil,
	}
	for name, test := range tests {
		for kind, answer := range broken {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				o := newOrigin(t, func(o *origin) { o.answer = answer })
				m := newMachine(t)
				options := m.options(o, "acme/site")
				options.Dir, options.Extra = test.dir, test.extra
				if kind == "checkout" {
					write(t, filepath.Join(m.home, "attributes"), "* filter=broken\n")
					m.config(t, "core.attributesFile", filepath.Join(m.home, "attributes"))
					m.config(t, "filter.broken.smudge", "false")
					m.config(t, "filter.broken.required", "true")
					options.Branch = "deployment"
					if test.extra != nil && test.extra[0] == "--bare" {
						options.Branch = "nosuch" // a bare one has no checkout
					}
				}
				for _, path := range test.before {
					testkit.OK(t, os.MkdirAll(filepath.Join(m.dir, path), 0o777))
				}
				before := tree(t, m.dir)
				if err := m.runner().Clone(t.Context(), options); err == nil {
					t.Fatal("the clone did not fail")
				}
				testkit.Diff(t, tree(t, m.dir), before)
			})
		}
	}
}

// Somebody else fills the directory between the look and git's.
func TestFailedCloneLeavesWhatOthersPutThere(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	r := m.runner()
	r.Git = write(t, filepath.Join(t.TempDir(), "git"), `#!/bin/sh
test "$2" = clone && echo precious >site/theirs
exec git "$@"
`)
	err := r.Clone(t.Context(), m.options(o, "acme/site"))
	testkit.Equal(t, asError(t, err).Reason, DestinationExists, "reason, %v", err)
	testkit.Diff(t, tree(t, m.dir), []string{"site", "site/theirs"})
}

func TestCloneIntoAnExistingEmptyDirectory(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	options := m.options(o, "acme/site")
	options.Dir = "."
	testkit.OK(t, m.runner().Clone(t.Context(), options), "%s", m.stderr.String())
	testkit.Equal(t, read(t, filepath.Join(m.dir, "index.html")), "the real one\n", "cloned")
}
