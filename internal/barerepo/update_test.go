package barerepo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestAMirrorIsWhatGitMakes(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		for _, way := range []string{"wire", "git"} {
			t.Run(format+" "+way, func(t *testing.T) {
				if format != "sha1" || way != "wire" { // what GitHub has, and how it is fetched there
					testkit.Long(t)
				}
				w := newWorld(t, "--object-format="+format)
				if way == "git" {
					w.remote.refused = gitwire.ErrUnsupported
				} else {
					w.serve()
				}
				follow(t, w, way == "git")
			})
		}
	}
}

// follow follows a history with all that there is in histories.
func follow(t *testing.T, w *world, byGit bool) {
	head := "main"
	step := func(what string, change func()) barerepo.Result {
		t.Helper()
		change()
		o := barerepo.Options{}
		if byGit {
			o.Head = head
		}
		result, err := w.tryUpdate(o)
		testkit.OK(t, err, what)
		w.equal()
		if t.Failed() {
			t.Fatal(what)
		}
		again, err := w.tryUpdate(o)
		testkit.OK(t, err, what)
		testkit.Equal(t, again.Changed, false, "%s, again", what)
		return result
	}
	r := step("empty", func() {})
	testkit.Equal(t, r.Processes <= 1, true, "processes")
	base := w.chain(5, "base")
	step("first commits", func() { w.set("refs/heads/main", base) })
	side := w.chain(3, "side", base)
	other := w.chain(2, "other", base)
	orphan := w.chain(2, "orphan")
	step("merges", func() {
		merge := w.commit("merge", side, base)
		octopus := w.commit("octopus", side, other, orphan, merge)
		w.set("refs/heads/main", octopus)
		w.set("refs/heads/side", side)
		w.set("refs/heads/orphan", orphan)
	})
	step("tags", func() {
		w.git(w.origin, "tag", "light", side)
		w.git(w.origin, "tag", "-a", "-m", "one", "v1", other)
		w.git(w.origin, "tag", "-a", "-m", "of a tag", "nested", "v1")
		w.git(w.origin, "tag", "-a", "-m", "of a tag of a tag", "nested2", "nested")
		w.git(w.origin, "tag", "tree", other+"^{tree}")
		w.git(w.origin, "tag", "blob", w.blob("a blob of a tag"))
		w.git(w.origin, "notes", "--ref=commits", "add", "-m", "a note", other)
	})
	before := w.refs(w.origin)
	r = step("force push", func() { w.set("refs/heads/side", w.chain(2, "rewritten", base)) })
	testkit.Equal(t, r.Forced, 1)
	testkit.Equal(t, w.kept()["heads/side"], before["refs/heads/side"])
	r = step("tag moved, branch deleted", func() {
		w.git(w.origin, "tag", "-f", "light", base)
		w.set("refs/heads/orphan", "")
	})
	testkit.Equal(t, fmt.Sprint(r.Forced, r.Deleted, r.Moved), "1 1 1")
	testkit.Equal(t, w.kept()["heads/orphan"], orphan)
	testkit.Equal(t, w.kept()["tags/light"], side)
	step("renamed default branch", func() {
		w.git(w.origin, "symbolic-ref", "HEAD", "refs/heads/trunk")
		w.set("refs/heads/trunk", w.refs(w.origin)["refs/heads/main"])
		w.set("refs/heads/main", "")
		head = "trunk"
	})
	step("a branch that becomes a directory", func() {
		w.set("refs/heads/a", base)
		w.set("refs/heads/d/e/f", base)
	})
	step("and the other way round", func() {
		w.set("refs/heads/a", "")
		w.set("refs/heads/d/e/f", "")
		w.set("refs/heads/a/b", w.chain(1, "a/b", base))
		w.set("refs/heads/d", side)
	})
	testkit.Equal(t, w.kept()["heads/a"], base)
	step("replaced and in other name spaces", func() {
		w.git(w.origin, "replace", base, other)
		w.git(w.origin, "replace", "--graft", side, orphan)
		w.set("refs/other/thing", base)
		w.set("refs/heads/main", w.chain(1, "on", base))
	})
	step("many refs", func() {
		var b strings.Builder
		for i := range 300 {
			fmt.Fprintf(&b, "create refs/heads/many/%d %s\n", i, base)
		}
		_, err := w.tryGit(w.origin, strings.NewReader(b.String()), "update-ref", "--stdin")
		testkit.OK(t, err)
	})
	r = step("nothing is left", func() {
		var b strings.Builder
		for name := range w.refs(w.origin) {
			if name != "HEAD" && !strings.HasPrefix(name, "refs/replace/") {
				fmt.Fprintf(&b, "delete %s\n", name)
			}
		}
		_, err := w.tryGit(w.origin, strings.NewReader(b.String()), "update-ref", "--stdin")
		testkit.OK(t, err)
	})
	testkit.Equal(t, r.Deleted, len(w.kept())-3)
}

// As many refs as a large repository has, by both ways: they come, move, and go.
func TestAMirrorOfManyRefsIsWhatGitMakes(t *testing.T) {
	testkit.Long(t)
	const many = 50_000
	if err := os.WriteFile("/dev/shm/ghapp-test", nil, 0o600); err == nil { // each is a file to git fetch
		testkit.OK(t, os.Remove("/dev/shm/ghapp-test"))
		t.Setenv("TMPDIR", "/dev/shm")
	}
	for _, way := range []string{"wire", "git"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			o := barerepo.Options{}
			if way == "git" {
				w.remote.refused, o.Head = gitwire.ErrUnsupported, "b/00000"
			} else {
				w.serve()
			}
			base := w.chain(1, "base")
			tips := []string{base, w.chain(1, "next", base), w.chain(1, "side", base)}
			w.git(w.origin, "symbolic-ref", "HEAD", "refs/heads/b/00000")
			follow := func(from, to int, tip func(n int) string) barerepo.Result {
				var b strings.Builder
				b.WriteString("# pack-refs with: sorted \n")
				for n := from; n < to; n++ {
					fmt.Fprintf(&b, "%s refs/heads/b/%05d\n", tip(n), n)
				}
				testkit.OK(t, os.WriteFile(filepath.Join(w.origin, "packed-refs"), []byte(b.String()), 0o600))
				r, err := w.tryUpdate(o)
				testkit.OK(t, err)
				w.equal()
				return r
			}
			r := follow(0, many, func(n int) string { return tips[n%2] })
			testkit.Equal(t, r.Created, many)
			r = follow(0, many-500, func(n int) string { // forward; elsewhere; as they were
				switch {
				case n%1000 == 0:
					return tips[1]
				case n%1000 == 1:
					return tips[2]
				}
				return tips[n%2]
			})
			testkit.Equal(t, fmt.Sprint(r.Moved, r.Forced, r.Deleted), "100 50 500")
			testkit.Equal(t, len(w.kept()), 550)
		})
	}
}

// A small first fetch is no process, and a later one three; nothing new is none.
func TestWhatAnUpdateCosts(t *testing.T) {
	w := newWorld(t)
	log := w.countGit()
	cost := func(what string, want int) barerepo.Result {
		t.Helper()
		testkit.OK(t, os.WriteFile(log, nil, 0o600))
		r := w.update()
		started := strings.Count(string(testkit.Must(os.ReadFile(log))(t)), "\n")
		testkit.Equal(t, started, want, "%s: processes", what)
		testkit.Equal(t, int(r.Processes), want, "%s: what it says of them", what)
		return r
	}
	cost("an empty repository", 0)
	testkit.OK(t, os.RemoveAll(w.repo.Dir))
	base := w.chain(20, "base")
	w.set("refs/heads/main", base)
	w.git(w.origin, "tag", "-a", "-m", "one", "v1", base)
	cost("a first fetch", 0)
	cost("nothing new", 0)
	next := w.chain(2, "next", base)
	w.set("refs/heads/main", next)
	cost("a push", 3)
	side := w.chain(2, "side", next)
	w.set("refs/heads/side", side)
	w.set("refs/heads/main", w.commit("merge", next, side))
	r := cost("a merge, and a branch", 3)
	testkit.Equal(t, r.Forced, 0)
	w.set("refs/heads/copy", side)
	cost("a branch where one is", 1)
	w.set("refs/heads/copy", "")
	cost("a branch goes", 1)
	w.set("refs/heads/side", w.chain(1, "rewritten", base))
	r = cost("a force push", 4)
	testkit.Equal(t, r.Forced, 1)
	w.set("refs/heads/side", w.refs(w.origin)["refs/heads/main"])
	r = cost("a ref that moves to what is there", 2)
	testkit.Equal(t, r.Forced, 1)
	w.set("refs/heads/stable", base)
	w.update()
	w.set("refs/heads/stable", w.refs(w.origin)["refs/heads/main"])
	r = cost("a ref that moves forward to what is there", 2)
	testkit.Equal(t, r.Forced, 0)
	w.git(w.origin, "symbolic-ref", "HEAD", "refs/heads/stable")
	cost("another default branch", 0)
	w.equal()
}

// countGit has a git run that writes down each of its starts, and returns where.
func (w *world) countGit() (log string) {
	dir := w.t.TempDir()
	log = filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$2\" >>'" + log + "'\nexec git \"$@\"\n"
	w.repo.Git.Git = filepath.Join(dir, "git")
	testkit.OK(w.t, os.WriteFile(w.repo.Git.Git, []byte(script), 0o700))
	return log
}

// A ref that moves between the list and the fetch is asked for anew.
func TestARefThatMovesMeanwhile(t *testing.T) {
	w := newWorld(t)
	base := w.chain(1, "base")
	w.set("refs/heads/main", base)
	times := 0
	w.remote.fetching = func() error {
		if times++; times == 1 {
			w.set("refs/heads/main", w.chain(1, "next", base))
			return fmt.Errorf("upload-pack: %w", gitwire.ErrNotOurRef)
		}
		return nil
	}
	r := w.update()
	testkit.Equal(t, r.Requests, 4)
	w.equal()
	w.remote.fetching = func() error { return gitwire.ErrNotOurRef }
	w.set("refs/heads/main", w.chain(2, "more", base))
	testkit.ErrorIs(t, testkit.ErrorOf(w.tryUpdate(barerepo.Options{})), gitwire.ErrNotOurRef)
	w.tidy()
}
