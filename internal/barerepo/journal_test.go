package barerepo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Whatever a damaged disk makes of a journal: what is taken of it are refs and object IDs that there can
// be, and is written as it was read.
func FuzzJournal(f *testing.F) {
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 64)
	for _, line := range []string{
		"refs/heads/main - " + one, "refs/heads/main " + one + " -", "refs/heads/a " + two + " " + two,
		"HEAD refs/heads/main refs/heads/trunk", "HEAD - refs/heads/main", "- " + one + " " + one,
		"refs/heads/../x " + one + " -", "refs/heads/main --upload-pack=x -", "refs/heads/main " + one + " " + two,
	} {
		f.Add("2026-11-30T12:00:00Z " + line + "\n")
		f.Add("2026-11-30T12:00:00+23:59 " + line + "\ndone\n")
	}
	f.Add("2026-11-30T12:00:00Z begun\nwork\n")
	f.Add("9999-12-31T23:59:59-12:00 HEAD - refs/heads/main\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		name := filepath.Join(dir, "ghapp-journal")
		testkit.OK(t, os.WriteFile(name, []byte(text), 0o600))
		_, entries, err := barerepo.ReadEntries(dir)
		testkit.OK(t, err)
		var again strings.Builder
		for _, e := range entries {
			if e.Check("sha1") != nil && e.Check("sha256") != nil {
				t.Errorf("%+v was taken", e)
			}
			again.WriteString(e.Line())
		}
		testkit.OK(t, os.WriteFile(name, []byte(again.String()), 0o600))
		_, same, err := barerepo.ReadEntries(dir)
		testkit.OK(t, err)
		testkit.Diff(t, same, entries)
	})
}
