package mirror

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// mirrorAt makes what is known for a mirror by its configuration.
func mirrorAt(t *testing.T, dir, path, identity string) *barerepo.Repository {
	t.Helper()
	r := &barerepo.Repository{Dir: filepath.Join(dir, filepath.FromSlash(path))}
	testkit.OK(t, os.MkdirAll(r.Dir, 0o700))
	for name, text := range map[string]string{
		"HEAD": "ref: refs/heads/main\n", "config": "[ghapp]\n\trepository = " + identity + "\n",
	} {
		testkit.OK(t, os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o600))
	}
	return r
}

// Of copies of a mirror the one counts that is where its repository's name wants it, and the others are told of.
func TestOfCopiesTheOneInItsPlaceCounts(t *testing.T) {
	for _, test := range []struct {
		places     []string
		want, left string
	}{
		{[]string{"acme/a-copy.git", "acme/site.git", "acme/z.git"}, "acme/site.git", "acme/z.git acme/a-copy.git"},
		{[]string{"acme/a-copy.git", "acme/z.git"}, "acme/a-copy.git", "acme/z.git"},
		{[]string{"acme/site.git"}, "acme/site.git", ""},
	} {
		dir := t.TempDir()
		for _, path := range test.places {
			mirrorAt(t, dir, path, "7")
		}
		var left []string
		r := &Record{ID: 7, Name: "acme/site"}
		p := &places{
			dir: dir, records: map[int64]*Record{7: r}, moved: func(*Record, string) {},
			copied: func(path, other string) {
				testkit.Equal(t, path, test.want)
				left = append(left, other)
			},
		}
		testkit.OK(t, p.find())
		testkit.Equal(t, r.Path, test.want)
		testkit.Equal(t, len(left), len(strings.Fields(test.left)))
		for _, other := range strings.Fields(test.left) {
			testkit.Contains(t, strings.Join(left, " "), other)
		}
	}
}

// A mirror whose configuration was lost is mended, where what is there is what was there before. What
// another has put in its place is his.
func TestAMirrorIsKnownWithoutItsConfiguration(t *testing.T) {
	dir := t.TempDir()
	ours := mirrorAt(t, dir, "acme/site.git", "7")
	before := ours.Stat()
	testkit.OK(t, checkIdentity(ours, "7", nil))
	testkit.Fails(t, checkIdentity(ours, "8", before))
	for _, text := range []string{"\x00\x00\x00", "[core\n", ""} {
		testkit.OK(t, os.WriteFile(filepath.Join(ours.Dir, "config"), []byte(text), 0o600))
		testkit.OK(t, checkIdentity(ours, "7", before))
		testkit.Fails(t, checkIdentity(ours, "7", nil))
	}
	testkit.OK(t, os.Remove(filepath.Join(ours.Dir, "config")))
	testkit.OK(t, checkIdentity(ours, "7", before))
	testkit.Equal(t, ours.Stat().Lacks(before), "config")
	testkit.OK(t, os.RemoveAll(ours.Dir))
	theirs := mirrorAt(t, dir, "acme/site.git", "")
	testkit.OK(t, os.WriteFile(filepath.Join(theirs.Dir, "HEAD"), []byte("ref: refs/heads/master\n"), 0o600))
	testkit.Fails(t, checkIdentity(theirs, "7", before))
	testkit.Equal(t, theirs.Stat().Equal(before), false)
}

// What somebody else has done to a mirror is seen without asking anybody, and what is as it was costs nothing.
func TestAChangedMirrorIsCompared(t *testing.T) {
	run := &Run{dir: t.TempDir()}
	p := run.newPass(Request{})
	for _, wiki := range []bool{false, true} {
		path, r := "acme/site.git", &Record{ID: 7, Path: "acme/site.git"}
		of := &r.Code
		if wiki {
			path, of = "acme/site.wiki.git", &r.Wiki
		}
		m := mirrorAt(t, run.dir, path, "7")
		testkit.Equal(t, p.touched(r, wiki), false, "nothing is known of before")
		of.Stat = run.stat(path)
		testkit.Equal(t, p.touched(r, wiki), false)
		testkit.OK(t, os.WriteFile(filepath.Join(m.Dir, "packed-refs"), nil, 0o600))
		testkit.Equal(t, p.touched(r, wiki), true)
		of.Stat = run.stat(path)
		testkit.OK(t, os.Remove(filepath.Join(m.Dir, "packed-refs")))
		testkit.Equal(t, p.touched(r, wiki), true)
		testkit.Equal(t, p.touched(&Record{Code: *of, Wiki: *of}, wiki), false, "there is none")
	}
}

// What may be a mirror is not to be moved away, with all that it keeps of the past: the cause is another, and so is
// the cure.
func TestAMirrorThatCannotBeReadIsNotToBeMovedAway(t *testing.T) {
	dir := t.TempDir()
	m := mirrorAt(t, dir, "acme/site.git", "7")
	config := filepath.Join(m.Dir, "config")
	says := func(err error, cause, cure string) {
		t.Helper()
		exit, _ := errors.AsType[*fault.ExitError](err)
		testkit.Equal(t, exit != nil, true, "%v", err)
		testkit.Contains(t, exit.Error(), cause)
		testkit.Contains(t, exit.Hint, cure)
	}
	denied := &fs.PathError{Op: "open", Path: m.Dir, Err: fs.ErrPermission}
	says(foreign(m.Dir, "7", denied), "permission denied", "chown -R")
	says(checkIdentity(m, "8", nil), "something else is in the place", "move it away")
	testkit.OK(t, os.Remove(config))
	says(checkIdentity(m, "7", nil), "something else is in the place", "move it away")
	testkit.OK(t, os.WriteFile(filepath.Join(m.Dir, "ghapp-journal"), nil, 0o600))
	says(checkIdentity(m, "7", nil), "has lost its configuration", "config ghapp.repository 7")
	places := &places{dir: dir, at: map[string]*Record{}}
	_, err := places.free(&Record{ID: 7, Name: "acme/site"})
	says(err, "has lost its configuration", "git init --bare ")
	if os.Geteuid() == 0 {
		return // who may read everything
	}
	testkit.OK(t, os.Chmod(m.Dir, 0))
	defer func() { testkit.OK(t, os.Chmod(m.Dir, 0o700)) }()
	says(checkIdentity(m, "7", nil), "permission denied", "chmod -R u+rwX")
	_, err = places.free(&Record{ID: 7, Name: "acme/site"})
	says(err, "permission denied", "chmod -R u+rwX")
}

// That mirrors cannot be made is not that the options leave them out.
func TestOptionsAreNotBlamedForWhatFails(t *testing.T) {
	p := (&Run{state: &State{Repositories: map[int64]*Record{7: {ID: 7, Name: "acme/site"}}}}).newPass(Request{})
	p.seen[7] = true
	p.checkFit(map[int64]*site{1: {complete: true}})
	testkit.OK(t, p.report.None)
	p.state.Repositories[7].Left = true
	p.checkFit(map[int64]*site{1: {complete: true}})
	testkit.ErrorContains(t, p.report.None, "the options leave out all 1 repositories")
}
