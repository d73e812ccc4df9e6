package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A file that was cut off, or is another's, is as good as none: git looks through all commits then.
func TestWhatLargeFilesAreNeededIsReadAgainOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	if readNeeded(dir) != nil {
		t.Error("there is none")
	}
	n := &needed{tips: []string{"a", "b"}, files: map[lfsstore.Pointer]bool{
		{ID: strings.Repeat("a", 64), Size: 5}: true, {ID: strings.Repeat("a", 64), Size: 6}: true,
	}}
	testkit.OK(t, n.write(dir))
	got := readNeeded(dir)
	testkit.Diff(t, got.tips, n.tips)
	testkit.Diff(t, got.files, n.files)
	testkit.Diff(t, got.fresh([]string{"a", "c"}), []string{"c"})
	path := filepath.Join(dir, neededName)
	text := testkit.Must(os.ReadFile(path))(t)
	for cut := range len(text) - 1 {
		testkit.OK(t, os.WriteFile(path, text[:cut], 0o600))
		if readNeeded(dir) != nil {
			t.Fatalf("%q was read", text[:cut])
		}
	}
}

func TestLargeFilesAreDue(t *testing.T) {
	now := time.Now()
	failed := &Failure{Again: now.Add(time.Minute)}
	for _, test := range []struct {
		large   Large
		patient bool
		want    bool
	}{
		{Large{}, true, true}, {Large{ComparedAt: now}, false, false}, {Large{ComparedAt: now, Failure: failed}, false, true},
		{Large{ComparedAt: now, Failure: failed}, true, false},
		{Large{ComparedAt: now, Failure: &Failure{Again: now.Add(-time.Minute)}}, true, true},
	} {
		testkit.Equal(t, test.large.due(test.patient, now), test.want, "%+v", test)
	}
}
