package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
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
