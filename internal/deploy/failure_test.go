//go:build unix

package deploy

import (
	"os"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestStatusTellsOfTheLastFailureUntilAPassEndsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed := &Failure{Message: "GitHub is away", Kind: "unreachable", At: time.Now().UTC(),
		Again: time.Now().UTC().Add(time.Hour)}
	if err := w.target.Note(failed, false); err != nil || exists(w.target.base()) {
		t.Errorf("before anything is published: %v", err)
	}
	foreign := newWorld(t)
	testkit.OK(t, os.Mkdir(foreign.target.Dir, 0o755))
	testkit.OK(t, os.WriteFile(foreign.target.Dir+"/theirs", nil, 0o600))
	if err := foreign.target.Note(failed, true); err != nil || exists(foreign.target.base()) {
		t.Errorf("beside what is another's: %v", err)
	}
	testkit.OK(t, w.target.Note(failed, true))
	if status := testkit.Must(w.target.Status())(t); status.Failure == nil || status.Published != nil {
		t.Errorf("before anything is published the status tells of %+v", status.Failure)
	}
	w.publish(w.commit(map[string]string{"a": "1"}))
	for _, want := range []*Failure{nil, failed, nil} {
		testkit.OK(t, w.target.Note(want, false))
		status := testkit.Must(w.target.Status())(t)
		if got := status.Failure; (got == nil) != (want == nil) ||
			got != nil && (got.Message != want.Message || !got.Again.Equal(want.Again)) {
			t.Errorf("the status tells of %+v, want %+v", got, want)
		}
	}
	// Whoever leads the state elsewhere has nothing written or removed there.
	elsewhere := t.TempDir()
	testkit.OK(t, os.Rename(w.target.base(), elsewhere+"/state"))
	testkit.OK(t, os.Symlink(elsewhere+"/state", w.target.base()))
	if err := w.target.Note(failed, false); err == nil || exists(elsewhere+"/state/failure.json") {
		t.Errorf("it was noted through a link: %v", err)
	}
}
