//go:build unix

package gitcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCloneTakesNothingFromDirectoriesOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open, mine := filepath.Join(dir, "open"), filepath.Join(dir, "mine")
	below := filepath.Join(open, "below")
	link := filepath.Join(dir, "link")
	for path, mode := range map[string]os.FileMode{open: 0o777, mine: 0o775, below: 0o755} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(below, link); err != nil {
		t.Fatal(err)
	}
	r := &Runner{Dir: dir, Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}}
	refused := func(words ...string) string {
		_, err := r.Destination(CloneOptions{URL: "https://github.com/a/b", Scope: Scope{Origin: "https://github.com", Helper: "h"}, Extra: words})
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for _, path := range []string{open, below, link, "open"} {
		for _, words := range [][]string{{"--reference", path}, {"--reference-if-able=" + path}, {"--template", path}, {"--templ=" + path}} {
			if got := refused(words...); !strings.Contains(got, "everybody may write in") {
				t.Errorf("%q: %q", words, got)
			}
		}
	}
	for _, words := range [][]string{{"--reference", mine}, {"--template=" + mine}, {"--template="}, {"--reference", filepath.Join(dir, "absent")}} {
		if got := refused(words...); got != "" {
			t.Errorf("%q: %q", words, got)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(mine, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if got := refused("--reference", mine); !strings.Contains(got, "belongs to user 12345") {
			t.Errorf("%q", got)
		}
	}
}
