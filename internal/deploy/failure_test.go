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
	if err := w.target.Note(failed); err != nil || exists(w.target.base()) {
		t.Errorf("before anything is published: %v", err)
	}
	w.publish(w.commit(map[string]string{"a": "1"}))
	for _, want := range []*Failure{nil, failed, nil} {
		testkit.OK(t, w.target.Note(want))
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
	if err := w.target.Note(failed); err == nil || exists(elsewhere+"/state/failure.json") {
		t.Errorf("it was noted through a link: %v", err)
	}
}
