//go:build unix

package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// rollback rolls back, which must succeed.
func (w *world) rollback(id string) *Release {
	w.t.Helper()
	return w.rollbackOr(id, Refuse)
}

func (w *world) rollbackOr(id string, damaged Damaged) *Release {
	w.t.Helper()
	r, err := w.target.Rollback(w.t.Context(), id, damaged)
	testkit.OK(w.t, err, "%s", w.log)
	if now := w.published(); now == nil || now.ID != r.ID {
		w.t.Fatalf("%+v was rolled back to, and %+v is published", r, now)
	}
	return r
}

// file is what a file of the directory has.
func (w *world) file(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.target.Dir, name))
	testkit.OK(w.t, err)
	return string(text)
}

func TestRollbackHoldsWhatItLeavesUntilAnotherIsPublished(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(g *Target) { g.Mode, g.Keep = mode, 9 })
			out := filepath.Join(t.TempDir(), "out")
			w.target.Exec = Command{Line: "echo $GHAPP_COMMIT $GHAPP_PREVIOUS >> " + out}
			var commits []string
			for _, text := range []string{"1", "2", "3"} {
				commits = append(commits, w.commit(map[string]string{"a": text}))
				w.publish(commits[len(commits)-1])
			}
			testkit.ErrorIs(t, testkit.ErrorOf(w.target.Rollback(t.Context(), w.published().ID, Refuse)), ErrNoRelease)
			w.target.Git.Git = "/nonexistent/git" // nothing is needed but a rename
			w.rollback("")
			w.rollback("")
			w.target.Git.Git = ""
			testkit.Equal(t, w.file("a"), "1", "it shows")
			if text, _ := os.ReadFile(out); !strings.HasSuffix(string(text),
				commits[1]+" "+commits[2]+"\n"+commits[0]+" "+commits[1]+"\n") {
				t.Errorf("the command saw\n%s", text)
			}
			if _, err := w.target.Rollback(t.Context(), "", Refuse); !errors.Is(err, ErrNothingBefore) || w.file("a") != "1" {
				t.Error(err)
			}
			status, err := w.target.Status()
			if err != nil || !slices.Equal(status.Held, []string{commits[2], commits[1]}) || status.HeldSince.IsZero() ||
				len(status.Releases) != 3 || status.Damage != nil {
				t.Errorf("%+v %v", status, err)
			}
			for _, commit := range commits[1:] {
				held, ok := errors.AsType[*HeldError](w.refused(commit))
				if !ok || held.Commit != commit || held.Since.IsZero() {
					t.Errorf("%+v", held)
				}
			}
			// Made in another way it is still the one that was rolled back to.
			w.target.Sparse = []string{"a"}
			w.publish(commits[0])
			w.refused(commits[2])
			w.target.Sparse = nil
			w.publish(commits[0])
			w.publish(w.commit(map[string]string{"a": "4"}))
			w.publish(commits[2]) // a branch may go back to it, by a push of somebody's
			w.rollback("")
			testkit.Equal(t, w.file("a"), "4", "it shows")
			testkit.Must(w.target.Resume(t.Context()))(t)
			w.publish(commits[2])
			w.clean()
		})
	}
}

// A commit that was rolled back from is not published again because the record of the release
// that is published, or its files, are lost; nor does it stay held after Resume.
func TestHoldOutlivesARecordThatIsLost(t *testing.T) {
	t.Parallel()
	for _, ended := range []bool{false, true} {
		w := newWorld(t, func(g *Target) { g.Keep = 9 })
		w.publish(w.commit(map[string]string{"a": "1"}))
		left := w.commit(map[string]string{"a": "2"})
		w.publish(left)
		w.rollback("")
		if ended {
			w.publish(w.commit(map[string]string{"a": "3"})) // which ends the hold
		}
		testkit.OK(t, os.RemoveAll(w.target.record(w.published().ID)))
		if !ended {
			_, err := w.target.Publish(t.Context(), w.want(left))
			if held, ok := errors.AsType[*HeldError](err); !ok || held.Since.IsZero() {
				t.Errorf("it is published, or fails otherwise: %v", err)
			}
			released, err := w.target.Resume(t.Context())
			if err != nil || !slices.Equal(released, []string{left}) {
				t.Errorf("%q %v", released, err)
			}
		}
		if _, err := w.target.Publish(t.Context(), w.want(left)); err != nil || w.file("a") != "2" {
			t.Error(err, w.file("a"))
		}
	}
}

// What is older by its number need not have been published before.
func TestRollbackGoesToWhatWasPublishedBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Keep = 9 })
	for _, text := range []string{"1", "2", "3"} {
		w.publish(w.commit(map[string]string{"a": text}))
	}
	w.rollback("")
	w.publish(w.commit(map[string]string{"a": "4"}))
	w.rollback("")
	testkit.Equal(t, w.file("a"), "2", "it shows")
	list := testkit.Must(w.target.list())(t)
	w.rollback(list[2].ID) // by its name it can be had
	testkit.Equal(t, w.file("a"), "3", "it shows")
	testkit.ErrorIs(t, testkit.ErrorOf(w.target.Rollback(t.Context(), "000099-abcdef", Refuse)), ErrNoRelease)
}

func TestDamagedReleaseIsBuiltAgainWithoutTheNetwork(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(g *Target) { g.Mode = mode })
			for _, text := range []string{"0", "1", "2"} {
				w.publish(w.commit(map[string]string{"a": text, "dir/b": text}))
			}
			list, _ := w.target.list()
			testkit.OK(t, os.Remove(filepath.Join(w.target.tree(list[1].ID), "dir/b")))
			w.server.Close()
			if _, err := w.target.Rollback(t.Context(), "", Refuse); !errors.Is(err, ErrDamaged) || w.file("a") != "2" {
				t.Error(err)
			}
			r := w.rollbackOr("", Rebuild)
			if got := w.shows(); got != "a: 1; dir/b: 1" || r.ID == list[1].ID {
				t.Errorf("%s %s", r.ID, got)
			}
			w.clean()
			w.rollback("") // from the new one back to what was before the old one
			testkit.Equal(t, w.file("a"), "0", "it shows")
		})
	}
}

func TestDamagedReleaseThatCannotBeBuiltIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, text := range []string{"1", "2"} {
		w.publish(w.commit(map[string]string{"a": text}))
	}
	list, _ := w.target.list()
	if err := errors.Join(os.WriteFile(filepath.Join(w.target.tree(list[0].ID), "a"), []byte("changed"), 0o644),
		os.RemoveAll(w.target.mainStore("").dir)); err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []Damaged{Refuse, Rebuild} {
		if _, err := w.target.Rollback(t.Context(), "", damaged); !errors.Is(err, ErrDamaged) ||
			!strings.Contains(err.Error(), `"a" was changed`) {
			t.Error(err)
		}
	}
	testkit.Equal(t, w.shows(), "a: 2", "it shows")
	if status, err := w.target.Status(); err != nil || len(status.Held) != 0 || len(status.Releases) != 2 {
		t.Errorf("%+v %v", status, err)
	}
	w.rollbackOr("", AsIs)
	testkit.Equal(t, w.shows(), "a: changed", "it shows")
}

func TestStatusTellsOfDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	testkit.Equal(t, testkit.Must(w.target.Status())(t).Published, nil)
	w.publish(w.commit(map[string]string{"a": "1"}))
	testkit.Equal(t, testkit.Must(w.target.Status())(t).Damage, nil)
	testkit.OK(t, os.WriteFile(filepath.Join(w.target.Dir, "a"), []byte("2"), 0o644))
	if status, err := w.target.Status(); err != nil || !errors.Is(status.Damage, ErrDamaged) {
		t.Errorf("%+v %v", status, err)
	}
}

// A release that somebody has deleted under the link is built again.
func TestLostReleaseIsNotTakenForPublished(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"tree", "record", "both"} {
		w := newWorld(t)
		commit := w.commit(map[string]string{"a": "1"})
		w.publish(commit)
		r := w.published()
		if what != "record" {
			_ = os.RemoveAll(w.target.tree(r.ID))
		}
		if what != "tree" {
			_ = os.RemoveAll(w.target.record(r.ID))
		}
		w.publish(commit)
		testkit.Equal(t, w.shows(), "a: 1", "%s: it shows", what)
		w.publish(w.commit(map[string]string{"a": "2"}))
	}
}

// Who goes forward to a newer release and then back again gets the one before it.
func TestRollbackGoesBackAfterGoingForward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	w.publish(w.commit(map[string]string{"a": "2"}))
	newest := w.published().ID
	for _, step := range []struct{ id, shows string }{{"", "a: 1"}, {newest, "a: 2"}, {"", "a: 1"}} {
		testkit.OK(t, testkit.ErrorOf(w.target.Rollback(t.Context(), step.id, Refuse)), "to %q", step.id)
		testkit.Equal(t, w.shows(), step.shows, "to %q", step.id)
	}
	if _, err := w.target.Rollback(t.Context(), "", Refuse); !errors.Is(err, ErrNothingBefore) {
		t.Errorf("there is nothing before the first: %v", err)
	}
}

// A commit that was built anew goes back to its first build, which the next pass leaves there; a
// release is named by its number too.
func TestRollbackGoesBackToAnotherBuildOfTheSameCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.target.Check.Line = "date +%N > built"
	commit := w.commit(map[string]string{"a": "1"})
	w.publish(commit)
	first, built := w.published().ID, w.file("built")
	again := w.want(commit)
	again.Force = true
	testkit.Must(w.target.Publish(t.Context(), again))(t)
	second := w.published().ID
	testkit.Equal(t, w.rollback("").ID, first)
	testkit.Equal(t, w.file("built"), built)
	if outcome := w.publish(commit); outcome.Changed || len(w.published().Held) > 0 {
		t.Errorf("%+v, held %q", outcome, w.published().Held)
	}
	for _, name := range []string{"000002", "2", "000002-" + commit[:4], second} {
		testkit.Equal(t, w.rollback(name).ID, second, "%s", name)
		testkit.Equal(t, w.rollback("1").ID, first)
	}
	for _, name := range []string{"3", "000002-x", "", "x", "-" + commit[:4], "../000002"} {
		err := testkit.ErrorOf(w.target.Rollback(t.Context(), name, Refuse))
		if !errors.Is(err, ErrNoRelease) && !errors.Is(err, ErrNothingBefore) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
