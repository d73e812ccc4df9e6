//go:build unix

package deploy

import (
	"os"
	"testing"
	"time"
)

func TestStatusTellsOfTheLastFailureUntilAPassEndsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed := &Failure{Message: "GitHub is away", Kind: "unreachable", At: time.Now().UTC(), Again: time.Now().UTC().Add(time.Hour)}
	if err := w.target.Note(failed); err != nil || exists(w.target.base()) {
		t.Errorf("before anything is published: %v", err)
	}
	w.publish(w.commit(map[string]string{"a": "1"}))
	for _, want := range []*Failure{nil, failed, nil} {
		if err := w.target.Note(want); err != nil {
			t.Fatal(err)
		}
		status, err := w.target.Status()
		if err != nil {
			t.Fatal(err)
		}
		if got := status.Failure; (got == nil) != (want == nil) || got != nil && (got.Message != want.Message || !got.Again.Equal(want.Again)) {
			t.Errorf("the status tells of %+v, want %+v", got, want)
		}
	}
	// Whoever leads the state elsewhere has nothing written or removed there.
	elsewhere := t.TempDir()
	if err := os.Rename(w.target.base(), elsewhere+"/state"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere+"/state", w.target.base()); err != nil {
		t.Fatal(err)
	}
	if err := w.target.Note(failed); err == nil || exists(elsewhere+"/state/failure.json") {
		t.Errorf("it was noted through a link: %v", err)
	}
}
