//go:build unix

package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// shareds are the files of kept releases that have an inode in common with another.
func (w *world) shareds() []string {
	w.t.Helper()
	list := testkit.Must(w.target.list())(w.t)
	first, shared := map[uint64]string{}, []string(nil)
	for _, r := range list {
		root := w.target.location(r)
		testkit.OK(w.t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			number := info.Sys().(*syscall.Stat_t).Ino
			if other, there := first[number]; there && other != r.ID {
				shared = append(shared, filepath.Base(name))
			}
			first[number] = r.ID
			return nil
		}))
	}
	slices.Sort(shared)
	return shared
}

// A check that writes into a file in place, as compilers do, writes into no other release.
func TestNoReleaseSharesAFileThatCanBeWritten(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		for _, how := range []Share{"", NoShare} {
			w := newWorld(t, func(g *Target) { g.Mode, g.Share = mode, how })
			w.publish(w.commit(map[string]string{"a": "1", "dist/app.js": "whole", "run": "x"}))
			w.target.Check = Command{Line: "echo half > dist/app.js; exit 1"}
			w.refused(w.commit(map[string]string{"a": "2"}))
			w.target.Check = Command{Line: "echo built > dist/app.js"}
			w.publish(w.commit(map[string]string{"a": "3"}))
			testkit.Equal(t, w.file("dist/app.js"), "built\n", "%s %s: it shows", mode, how)
			w.target.Exec = Command{Line: "echo exec >> run"} // nor has the command after it
			w.publish(w.commit(map[string]string{"a": "4"}))
			if got := w.shareds(); len(got) > 0 {
				t.Errorf("%s %s: releases share %q", mode, how, got)
			}
			w.target.Exec = Command{}
			w.rollback("")
			testkit.Equal(t, w.shows(), "a: 3; dist/app.js: built; run: x", "%s %s", mode, how)
		}
	}
}

func TestHardLinksAreMadeOnDemandAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Share = HardLink })
	w.publish(w.commit(map[string]string{"a": "1", "dir/b": "1", "dir/c": "1"}))
	w.publish(w.commit(map[string]string{"a": "2"}))
	if got := w.shareds(); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("%q are shared", got)
	}
	w.target.Share = ""
	w.publish(w.commit(map[string]string{"a": "3"}))
	w.publish(w.commit(map[string]string{"a": "4"}))
	w.publish(w.commit(map[string]string{"a": "5"}))
	if got := w.shareds(); len(got) > 0 {
		t.Errorf("%q are shared", got)
	}
}

// A program that writes into a file, keeps its size and sets its time back is seen by
// what it has written.
func TestFileThatKeepsSizeAndTimeIsNotTakenOver(t *testing.T) {
	t.Parallel()
	for _, how := range Shares() {
		w := newWorld(t, func(g *Target) { g.Share = how })
		w.publish(w.commit(map[string]string{"a": "1", "code": "right", "link": "x"}))
		name := filepath.Join(w.target.Dir, "code")
		info := testkit.Must(os.Stat(name))(t)
		if err := errors.Join(os.WriteFile(name, []byte("wrong"), 0o644),
			os.Chtimes(name, info.ModTime(), info.ModTime())); err != nil {
			t.Fatal(err)
		}
		if status, err := w.target.Status(); err != nil || status.Damage == nil ||
			!strings.Contains(status.Damage.Error(), `"code" was changed`) {
			t.Errorf("%s: %+v %v", how, status, err)
		}
		w.publish(w.commit(map[string]string{"a": "2"}))
		testkit.Equal(t, w.file("code"), "right", "%s: the next release", how)
		testkit.ErrorIs(t, testkit.ErrorOf(w.target.Rollback(t.Context(), "", Refuse)), ErrDamaged, "%s", how)
	}
}

// What the check has made of a file of the commit is that release's alone.
func TestWhatACheckHasChangedIsNotTakenOver(t *testing.T) {
	t.Parallel()
	for _, how := range Shares() {
		w := newWorld(t, func(g *Target) { g.Share = how })
		w.target.Check = Command{Line: "touch -r lock stamp; echo B > lock; touch -r stamp lock"}
		w.publish(w.commit(map[string]string{"a": "1", "lock": "A\n"}))
		w.target.Check = Command{}
		w.publish(w.commit(map[string]string{"a": "2"}))
		testkit.Equal(t, w.shows(), "a: 2; lock: A", "%s", how)
	}
}

// Browsers and programs know a file by its time: an update changes it for what it changes.
func TestUnchangedFilesKeepTheirTime(t *testing.T) {
	t.Parallel()
	for _, how := range Shares() {
		w := newWorld(t, func(g *Target) { g.Share = how })
		w.publish(w.commit(map[string]string{"a": "1", "dir/b": "1"}))
		past := func(name string) int64 {
			info := testkit.Must(os.Stat(filepath.Join(w.target.Dir, name)))(t)
			return info.ModTime().UnixNano()
		}
		a, b := past("a"), past("dir/b")
		for _, text := range []string{"2", "3"} {
			w.publish(w.commit(map[string]string{"a": text}))
			if past("a") == a || past("dir/b") != b {
				t.Errorf("%s: a %d, then %d; b %d, then %d", how, a, past("a"), b, past("dir/b"))
			}
		}
	}
}

// A check builds something and changes a file of the commit, as `npm install` does.
func TestRollbackBringsBackWhatWasBuiltAndChecked(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		w := newWorld(t, func(g *Target) { g.Mode, g.Keep = mode, 5 })
		runs := filepath.Join(t.TempDir(), "runs")
		w.target.Check = Command{Line: "echo x >> " + runs +
			"; mkdir built && cat a > built/x && ln -s x built/y && echo more >> lock"}
		for _, text := range []string{"1", "2", "3"} {
			w.publish(w.commit(map[string]string{"a": text, "lock": "0\n"}))
		}
		w.rollback("")
		if got, want := w.shows(), "a: 2; built/x: 2; built/y -> x; lock: 0\nmore"; got != want {
			t.Errorf("%s: %s", mode, got)
		}
		if text, _ := os.ReadFile(runs); string(text) != "x\nx\nx\n" {
			t.Errorf("%s: the check has run %q", mode, text)
		}
		testkit.Equal(t, testkit.Must(w.target.Status())(t).Damage, nil, "%s", mode)
		// What it has built is lost: that is no release any more.
		list, _ := w.target.list()
		testkit.OK(t, os.Remove(filepath.Join(w.target.tree(list[0].ID), "built/x")))
		if _, err := w.target.Rollback(t.Context(), "", Refuse); !errors.Is(err, ErrDamaged) ||
			!strings.Contains(err.Error(), `"built/x" is missing`) || w.file("a") != "2" {
			t.Errorf("%s: %v", mode, err)
		}
		check := w.target.Check
		w.target.Check = Command{} // as who names the directory by its path knows it
		w.rollbackOr("", Rebuild)
		if got, want := w.shows(), "a: 1; built/x: 1; built/y -> x; lock: 0\nmore"; got != want {
			t.Errorf("%s: built again it has %s", mode, got)
		}
		w.target.Check = check
	}
}

func TestRebuildWithAFailingCheckPublishesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.target.Check = Command{Line: "echo x > built"}
	w.publish(w.commit(map[string]string{"a": "1"}))
	old := w.published()
	w.publish(w.commit(map[string]string{"a": "2"}))
	testkit.OK(t, os.Remove(filepath.Join(w.target.tree(old.ID), "built")))
	w.target.Check = Command{Line: "false"}
	if _, err := w.target.Rollback(t.Context(), "", Rebuild); !errors.Is(err, ErrDamaged) || w.file("a") != "2" {
		t.Error(err)
	}
	w.target.Sparse = []string{"a"}
	testkit.ErrorContains(t, testkit.ErrorOf(w.target.Rollback(t.Context(), "", Rebuild)), "other options")
	w.clean()
}

// states are the files of a tree with their modes and texts.
func states(t *testing.T, dir string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(dir)
	testkit.OK(t, err)
	var lines []string
	testkit.OK(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var text []byte
		var to string
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err = os.Readlink(name)
		case !d.IsDir():
			text, err = os.ReadFile(name)
		}
		rel, _ := filepath.Rel(root, name)
		lines = append(lines, fmt.Sprintf("%s %s %q%q", rel, info.Mode(), text, to))
		return err
	}))
	return strings.Join(lines, "\n")
}

// history makes up commits: files come, go, change, become programs, links or
// directories, and so do their attributes.
type history struct {
	*rand.Rand
	files map[string]githubtest.Entry
}

func (h *history) next() []githubtest.Entry {
	names := []string{"a", "b.txt", "dir/c", "dir/d.txt", "dir/deep/e", "dir/deep/f.txt", "g", "g/h", "g/i.txt", "z"}
	attributes := []string{"", "*.txt eol=crlf\n", "*.txt text eol=crlf ident\n", "* -text\n", "*.txt ident\nc eol=crlf\n",
		"*.txt working-tree-encoding=UTF-16LE text\n"}
	if h.IntN(2) == 0 {
		at := []string{".gitattributes", "dir/.gitattributes", "dir/deep/.gitattributes"}[h.IntN(3)]
		h.put(githubtest.Entry{Path: at, Content: attributes[h.IntN(len(attributes))]})
	}
	for range h.IntN(4) {
		e := githubtest.Entry{Path: names[h.IntN(len(names))], Content: fmt.Sprintf("$Id$ %d\nline\n", h.IntN(3))}
		switch h.IntN(8) {
		case 0:
			e.Mode = githubtest.Executable
		case 1:
			e.Mode, e.Content = githubtest.Symlink, "b.txt"
		case 2:
			delete(h.files, e.Path)
			continue
		}
		h.put(e)
	}
	h.put(githubtest.Entry{Path: "always.txt", Content: "$Id$\nnever changed\n"})
	var list []githubtest.Entry
	for _, e := range h.files {
		list = append(list, e)
	}
	return list
}

// put adds a file, and takes away what cannot be beside it.
func (h *history) put(e githubtest.Entry) {
	for name := range h.files {
		if strings.HasPrefix(name, e.Path+"/") || strings.HasPrefix(e.Path, name+"/") {
			delete(h.files, name)
		}
	}
	h.files[e.Path] = e
}

// What is published is a function of the commit and the options: whoever comes to it from
// another commit, in whatever way, has the same files as who has never had another.
func TestReleaseIsTheSameWhateverWasThereBefore(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := &history{rand.New(rand.NewPCG(seed, 1)), map[string]githubtest.Entry{}}
	dir, targets := t.TempDir(), []*Target{}
	for i, how := range []Share{HardLink, Reflink} {
		with := *w.target
		with.Dir, with.Share = filepath.Join(dir, fmt.Sprint("incremental", i), "site"), how
		targets = append(targets, &with)
	}
	for turn := range 25 {
		commit := w.entries(h.next()...)
		fresh := *w.target
		fresh.Dir = filepath.Join(dir, fmt.Sprint("fresh", turn), "site")
		testkit.Must(fresh.Publish(t.Context(), w.want(commit)))(t)
		want := states(t, fresh.Dir)
		for _, g := range targets {
			testkit.Must(g.Publish(t.Context(), w.want(commit)))(t)
			if got := states(t, g.Dir); got != want {
				t.Fatalf("commit %d, share %s:\n%s\nfrom nothing:\n%s", turn, g.share(), got, want)
			}
			// Somebody writes to what is published.
			if turn%3 == 0 {
				_ = os.WriteFile(filepath.Join(g.Dir, "always.txt"), []byte("scribbled"), 0o644)
			}
		}
	}
}
