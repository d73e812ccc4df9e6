package mirror

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What is found while a run is at work on an older finding is for the next run.
func TestAMarkThatIsSetMeanwhileStays(t *testing.T) {
	dir := t.TempDir()
	for suffix, set := range map[string]func() error{
		"":          func() error { return markDamaged(dir, "7", errors.New("damaged")) },
		differMark:  func() error { return markDiffering(dir, "7", []string{"refs/heads/main"}) },
		largeMark:   func() error { return markLarge(dir, "7", []string{"x"}) },
		historyMark: func() error { return markHistory(dir, "7", errors.New("lost")) },
	} {
		testkit.OK(t, endMark(dir, "7", suffix, seenMark(dir, "7", suffix)), "there is none")
		testkit.OK(t, set())
		seen := seenMark(dir, "7", suffix)
		testkit.OK(t, set())
		testkit.OK(t, endMark(dir, "7", suffix, seen))
		now := seenMark(dir, "7", suffix)
		testkit.Equal(t, now != "", true, "%q: the newer mark is gone", suffix)
		testkit.OK(t, endMark(dir, "7", suffix, ""))
		testkit.Equal(t, seenMark(dir, "7", suffix), now)
		testkit.OK(t, endMark(dir, "7", suffix, now))
		testkit.Equal(t, seenMark(dir, "7", suffix), "")
	}
	code, _ := damaged(dir)
	testkit.Equal(t, len(code.git)+len(code.large), 0)
}

// Of what verify has found the worst is told, and no pass compares again and again what it cannot mend.
func TestTheWorstFindingIsTold(t *testing.T) {
	dir := t.TempDir()
	is := func(want Finding) {
		t.Helper()
		testkit.Equal(t, FindingOf(dir, 7, false), want)
		testkit.Equal(t, FindingOf(dir, 7, true), "")
	}
	is("")
	testkit.OK(t, markDiffering(dir, "7", []string{"refs/heads/main"}))
	is(Differs)
	testkit.OK(t, markLarge(dir, "7", []string{"x"}))
	is(Lacking)
	testkit.OK(t, markHistory(dir, "7", errors.New("lost")))
	is(HistoryLost)
	testkit.OK(t, markDamaged(dir, "7", errors.New("damaged")))
	is(Damaged)
	testkit.OK(t, markHistory(dir, "8/wiki", errors.New("lost")))
	testkit.Equal(t, FindingOf(dir, 8, true), HistoryLost)
	code, wikis := damaged(dir)
	testkit.Equal(t, code.git[7], true)
	testkit.Equal(t, len(wikis.git)+len(wikis.large), 0)
}

// A ref that a run has moved since it was read is not held against the mirror.
func TestWhatARunHasMovedMeanwhileDoesNotDiffer(t *testing.T) {
	dir := t.TempDir()
	place(t, dir, "acme/site.git", "7")
	mirror := filepath.Join(dir, "acme/site.git")
	testkit.OK(t, os.MkdirAll(filepath.Join(mirror, "refs/heads"), 0o700))
	testkit.OK(t, os.WriteFile(filepath.Join(mirror, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
	point := func(branch, id string) {
		testkit.OK(t, os.WriteFile(filepath.Join(mirror, "refs/heads", branch), []byte(id+"\n"), 0o600))
	}
	point("main", oid("1"))
	point("dev", oid("1"))
	v := &Verify{Dir: dir, Opener: apps.New(apps.Options{NoCache: true}), Log: slog.New(slog.DiscardHandler)}
	one := &Verified{ID: 7, Dir: mirror, Differ: []string{"refs/heads/main"}}
	one.shot = testkit.Must((&barerepo.Repository{Dir: mirror}).Snapshot(t.Context()))(t)
	point("main", oid("2"))
	v.differs(t.Context(), one)
	testkit.Equal(t, len(one.Differ), 0)
	testkit.Equal(t, seenMark(dir, "7", differMark), "")
	one.Differ = []string{"refs/heads/dev"}
	v.differs(t.Context(), one)
	testkit.Equal(t, len(one.Differ), 1)
	testkit.Contains(t, seenMark(dir, "7", differMark), "refs/heads/dev")
}
