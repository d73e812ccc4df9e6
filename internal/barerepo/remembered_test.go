package barerepo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// remember is what an update has left to be remembered, after what was.
func remember(was barerepo.Remembered, now time.Time, result barerepo.Result) barerepo.Remembered {
	if result.Kept > 0 && was.Kept == 0 {
		was.KeptSince = now
	}
	was.Kept += result.Kept
	if result.Last != nil {
		was.Last = result.Last
	}
	return was
}

// What is taken out of a repository that nobody else has is missed, by what was remembered of it.
func TestHistoryThatIsLostIsMissed(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	base := w.chain(2, "base")
	w.set("refs/heads/main", base)
	was := remember(barerepo.Remembered{}, w.now, w.update())
	testkit.Equal(t, was, barerepo.Remembered{})
	testkit.OK(t, w.repo.CheckHistory(ctx, was))

	// Moved forward: nothing is kept, and only what is remembered tells that there was a journal.
	w.set("refs/heads/main", w.chain(1, "next", base))
	was = remember(was, w.now, w.update())
	testkit.Equal(t, was.Kept, 0)
	testkit.OK(t, w.repo.CheckHistory(ctx, was))
	journal := filepath.Join(w.repo.Dir, "ghapp-journal")
	text := testkit.Must(os.ReadFile(journal))(t)
	lose := func() { testkit.OK(t, os.Remove(journal)) }
	lose()
	testkit.ErrorIs(t, w.repo.CheckHistory(ctx, was), barerepo.ErrHistoryLost)
	testkit.OK(t, w.repo.CheckHistory(ctx, barerepo.Remembered{}), "nothing is remembered")
	_, err := w.repo.At(ctx, was.Last.Time.Add(-time.Second), was)
	testkit.ErrorIs(t, err, barerepo.ErrNoHistory)
	testkit.Must(w.repo.At(ctx, was.Last.Time, was))(t)
	testkit.OK(t, os.WriteFile(journal, text, 0o600))
	testkit.OK(t, w.repo.CheckHistory(ctx, was))

	// Not forward, twice: two are kept.
	for _, name := range []string{"other", "another"} {
		w.set("refs/heads/main", w.chain(1, name, base))
		was = remember(was, w.now, w.update())
	}
	testkit.Equal(t, was.Kept, 2)
	testkit.OK(t, w.repo.CheckHistory(ctx, was))
	var names []string
	for _, k := range testkit.Must(w.repo.Kept(ctx))(t) {
		names = append(names, k.Name)
	}
	id := w.git(w.repo.Dir, "rev-parse", names[0])
	w.git(w.repo.Dir, "update-ref", "-d", names[0])
	err = w.repo.CheckHistory(ctx, was)
	testkit.ErrorIs(t, err, barerepo.ErrHistoryLost)
	testkit.ErrorContains(t, err, "1 of 2 refs")
	w.git(w.repo.Dir, "update-ref", names[0], id)
	testkit.OK(t, w.repo.CheckHistory(ctx, was))
	lose()
	testkit.ErrorContains(t, w.repo.CheckHistory(ctx, barerepo.Remembered{}), "the journal lacks")

	// What is lost is lost: from now on the rest is all that there is.
	now := was.Last.Time.Add(time.Hour)
	lost, err := w.repo.Forgo(ctx, was, now)
	testkit.OK(t, err)
	testkit.ErrorIs(t, lost, barerepo.ErrHistoryLost)
	lost, err = w.repo.Forgo(ctx, was, now)
	testkit.OK(t, errors.Join(lost, err))
	testkit.OK(t, w.repo.CheckHistory(ctx, barerepo.Remembered{Kept: 2, KeptSince: was.KeptSince}))
	testkit.ErrorContains(t, w.repo.CheckHistory(ctx, barerepo.Remembered{Lost: "a tag could not be read"}), "a tag could")
	_, err = w.repo.At(ctx, now.Add(-time.Second), barerepo.Remembered{})
	testkit.ErrorIs(t, err, barerepo.ErrNoHistory)
}

// What has ended by itself is not missed, even where nobody came to write that down.
func TestHistoryThatHasEndedIsNotMissed(t *testing.T) {
	w, _ := keptWorld(t)
	testkit.Equal(t, len(w.kept()), 1)
	was := barerepo.Remembered{Kept: 1, KeptSince: w.now}
	testkit.OK(t, w.repo.CheckHistory(context.Background(), was))
	testkit.Equal(t, testkit.Must(w.repo.Expire(context.Background(), w.now.Add(time.Hour)))(t), 1)
	testkit.OK(t, w.repo.CheckHistory(context.Background(), was))
}

// What an image of before has is missed in a repository that was made anew, that is an older copy, or in which
// somebody has given it up; and not where its time was over.
func TestHistoryThatAnImageHasIsMissed(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	copied := func(dir string) *barerepo.Repository {
		testkit.OK(t, os.CopyFS(dir, os.DirFS(w.repo.Dir)))
		return &barerepo.Repository{Dir: dir, Git: w.repo.Git}
	}
	lacks := func(r *barerepo.Repository, before *barerepo.Image, says ...string) {
		t.Helper()
		err := testkit.Must(r.Image(ctx))(t).CheckAgainst(before)
		testkit.ErrorIs(t, err, barerepo.ErrHistoryLost)
		for _, word := range says {
			testkit.ErrorContains(t, err, word)
		}
	}
	base := w.chain(2, "base")
	w.set("refs/heads/main", base)
	w.set("refs/heads/feat", w.chain(1, "feat", base))
	w.update()
	w.set("refs/heads/feat", "")
	w.update()
	older := copied(filepath.Join(t.TempDir(), "older.git"))
	w.set("refs/heads/main", w.chain(1, "other"))
	w.update()
	before := testkit.Must(w.repo.Image(ctx))(t)
	testkit.OK(t, before.CheckAgainst(before))
	lacks(older, before, "1 refs below", "the journal lacks 1 of 2 entries")

	anew := *w.repo
	anew.Dir = filepath.Join(t.TempDir(), "anew.git")
	testkit.Must(anew.Update(ctx, w.remote, barerepo.Options{Now: w.now.Add(time.Hour)}))(t)
	lacks(&anew, before, "2 refs below", "the journal lacks 2 of 2", "it is known since")
	quiet := *before // with nothing but the time since when it was known
	quiet.Refs, quiet.Journal = nil, nil
	lacks(&anew, &quiet, "it is known since")

	forgone := copied(filepath.Join(t.TempDir(), "forgone.git"))
	testkit.OK(t, os.Remove(filepath.Join(forgone.Dir, "ghapp-journal")))
	last := before.Journal[len(before.Journal)-1]
	testkit.Must(forgone.Forgo(ctx, barerepo.Remembered{Last: &last}, w.now.Add(time.Hour)))(t)
	lacks(forgone, before, "the journal lacks 2 of 2")

	testkit.Equal(t, testkit.Must(w.repo.Expire(ctx, w.now))(t), 1)
	ended := testkit.Must(w.repo.Image(ctx))(t)
	testkit.OK(t, ended.CheckAgainst(before))
	w.git(w.repo.Dir, "update-ref", "-d", testkit.Must(w.repo.Kept(ctx))(t)[0].Name)
	lacks(w.repo, before, "1 refs below")
}
