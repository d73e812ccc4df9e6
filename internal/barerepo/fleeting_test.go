package barerepo_test

import (
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Of a ref that the remote makes by itself, nothing is kept; of one beside it, all.
func TestNothingIsKeptOfWhatTheRemoteMakesByItself(t *testing.T) {
	w := newWorld(t)
	o := barerepo.Options{
		Prefixes: []string{"refs/pull/"},
		Fleeting: func(ref string) bool { return strings.HasSuffix(ref, "/merge") },
	}
	first, second, third := w.commit("first"), w.commit("second"), w.commit("third")
	w.set("refs/heads/main", first)
	w.set("refs/pull/1/head", second)
	w.set("refs/pull/1/merge", third)
	w.set("refs/pull/2/merge", third)
	testkit.Must(w.tryUpdate(o))(t)
	w.set("refs/pull/1/head", third)
	w.set("refs/pull/1/merge", second)
	w.set("refs/pull/2/merge", "")
	result := testkit.Must(w.tryUpdate(o))(t)
	testkit.Diff(t, w.refs(w.repo.Dir), w.refs(w.origin))
	testkit.Diff(t, w.kept(), map[string]string{"pull/1/head": second})
	if result.Moved != 2 || result.Forced != 1 || result.Deleted != 0 {
		t.Errorf("%+v", result)
	}
	w.set("refs/pull/1/head", "")
	testkit.Must(w.tryUpdate(o))(t)
	testkit.Equal(t, len(w.kept()), 1) // two times, under one name
	testkit.Equal(t, len(testkit.Must(w.repo.Kept(t.Context()))(t)), 2)
	for _, e := range testkit.Must(w.repo.At(t.Context(), w.now, barerepo.Remembered{}))(t).Refs {
		testkit.Equal(t, len(e), 40)
	}
	w.whole()
}
