package mirror

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What is remembered may have come with a directory that somebody else has made: it leads nowhere else.
func TestAStateThatLeadsElsewhereIsDamaged(t *testing.T) {
	for path, good := range map[string]bool{
		"": true, "acme/site.git": true, "acme/.github.git": true, "acme/a copy.git": true, "acme/site.gone-7.git": true,
		own + "/moving/7.git": true, own + "/moving/7.damaged.git": true,
		"../victim": false, "../victim.git": false, "/etc/x.git": false, "acme/../../x.git": false, "acme/..": false,
		"acme/.git": false, "site.git": false, "acme/a/b.git": false, "acme/site": false, ".git": false,
		own + "/moving/8.git": false, own + "/moving/7.x/../../../x.git": false, own + "/damaged.git": false,
	} {
		s := StoreOf(t.TempDir())
		r := &Record{ID: 7, Path: filepath.FromSlash(path)}
		testkit.OK(t, s.write("github.com", changes{repositories: map[int64]*Record{7: r}}))
		_, err := s.Read()
		if good {
			testkit.OK(t, err, path)
		} else {
			testkit.ErrorIs(t, err, ErrState, path)
		}
	}
	for name, r := range map[string]*Record{
		"the ID of another": {ID: 8, Path: "acme/site.git"}, "a name that leads out": {ID: 7, Name: "../victim"},
		"no owner": {ID: 7, Name: "site"},
	} {
		s := StoreOf(t.TempDir())
		testkit.OK(t, s.write("github.com", changes{repositories: map[int64]*Record{7: r}}))
		testkit.ErrorIs(t, testkit.ErrorOf(s.Read()), ErrState, name)
	}
}

// What is in the place of a mirror, and does not say that it is the one, is neither taken away nor moved.
func TestWhatIsNotTheMirrorOfARecordStays(t *testing.T) {
	run := &Run{dir: t.TempDir()}
	p := run.newPass(Request{})
	theirs, wiki := mirrorAt(t, run.dir, "acme/site.git", "8"), mirrorAt(t, run.dir, "acme/site.wiki.git", "8/wiki")
	r := &Record{ID: 7, Name: "acme/new", Path: "acme/site.git"}
	places := &places{dir: run.dir, records: map[int64]*Record{7: r}, at: map[string]*Record{},
		moved: func(*Record, string) {}}
	testkit.Fails(t, p.remove(r))
	testkit.Fails(t, places.move(r, r.wanted()))
	testkit.Equal(t, testkit.Must(theirs.Identity())(t), "8")

	mirrorAt(t, run.dir, "acme/site.git", "7")
	testkit.Fails(t, p.remove(r), "its wiki is another's")
	testkit.Equal(t, testkit.Must(wiki.Identity())(t), "8/wiki")
	mirrorAt(t, run.dir, "acme/site.git", "7")
	testkit.Fails(t, places.move(r, r.wanted()), "its wiki is another's")
	testkit.Equal(t, testkit.Must(wiki.Identity())(t), "8/wiki")
	testkit.Equal(t, r.Path, "acme/new.git")

	mirrorAt(t, run.dir, "acme/new.wiki.git", "7/wiki")
	testkit.OK(t, p.remove(r))
	for _, path := range []string{"acme/site.git", "acme/new.git", "acme/new.wiki.git"} {
		_, err := os.Lstat(filepath.Join(run.dir, path))
		testkit.ErrorIs(t, err, os.ErrNotExist)
	}
}

// A repository is not gone before it was last seen.
func TestARepositoryIsGoneOnlySinceItWasSeen(t *testing.T) {
	seen := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r := &Record{ID: 7, Gone: &Gone{Reason: NotFound}, Code: Copy{ComparedAt: seen}}
	testkit.Equal(t, r.goneSince(), seen)
	r.Gone.Since = seen.Add(time.Hour)
	testkit.Equal(t, r.goneSince(), seen.Add(time.Hour))
	r.NamedAt = seen.Add(2 * time.Hour)
	testkit.Equal(t, r.goneSince(), r.NamedAt)
}
