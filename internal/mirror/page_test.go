package mirror

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What is remembered of all mirrors is not read for each view of the page, and no view is old.
func TestPagesAreOfOneSnapshotForAMoment(t *testing.T) {
	kept := &keeper{dir: t.TempDir(), run: &Run{}}
	remember := func(id int64, name string) {
		t.Helper()
		r := &Record{ID: id, Name: name}
		testkit.OK(t, StoreOf(kept.dir).write("github.com", changes{repositories: map[int64]*Record{id: r}}))
	}
	remember(2, "acme/web")
	var s snapshot
	of := []*keeper{kept}
	now := time.Now()
	shows := func(of *[]*keeper, at time.Time, want int) {
		t.Helper()
		testkit.Equal(t, len(testkit.Must(s.mirrors(of, at))(t)), want, "mirrors %s later", at.Sub(now))
	}
	shows(&of, now, 1)
	remember(1, "acme/site")
	shows(&of, now.Add(snapshotLife-1), 1)
	shows(&of, now.Add(snapshotLife), 2)
	testkit.Equal(t, s.list[0].Name, "acme/site")
	remember(3, "acme/late")
	s.forget()
	shows(&of, now.Add(snapshotLife), 3) // after something has failed
	none := []*keeper{}
	shows(&none, now.Add(snapshotLife), 0) // after the configuration was read anew

	// What cannot be read is an error, and not the last snapshot.
	testkit.OK(t, os.WriteFile(filepath.Join(kept.dir, own, "state.db"), []byte("nonsense"), 0o600))
	if list, err := s.mirrors(&of, now); err == nil {
		t.Errorf("%d mirrors", len(list))
	}
}
