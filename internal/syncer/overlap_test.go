//go:build unix

package syncer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Of each directory it is told by itself whether it lies in another, by whatever names.
func TestDirectoriesThatLieInOneAnother(t *testing.T) {
	dir := testkit.Must(filepath.EvalSymlinks(t.TempDir()))(t)
	testkit.OK(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	testkit.OK(t, os.Symlink("real", filepath.Join(dir, "link")))
	for name, test := range map[string]struct {
		to   []string
		want []bool // is refused
	}{
		"beside":             {[]string{"a", "ab", "a-b"}, []bool{false, false, false}},
		"the same":           {[]string{"a", "b", "a"}, []bool{true, false, true}},
		"within":             {[]string{"a/b", "c", "a"}, []bool{true, false, true}},
		"by a link":          {[]string{"real/a", "link/a"}, []bool{true, true}},
		"within, by a link":  {[]string{"link/a/b", "real/a"}, []bool{true, true}},
		"in what is fetched": {[]string{"a", ".a.ghapp/x"}, []bool{true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []config.Sync
			for _, to := range test.to {
				entries = append(entries, config.Sync{Name: to, To: filepath.Join(dir, to)})
			}
			var got []bool
			for _, err := range overlaps(entries) {
				got = append(got, err != nil)
			}
			testkit.Diff(t, got, test.want)
		})
	}
}
