//go:build unix

package gitcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestCloneTakesNothingFromDirectoriesOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open, mine := filepath.Join(dir, "open"), filepath.Join(dir, "mine")
	below := filepath.Join(open, "below")
	link := filepath.Join(dir, "link")
	for path, mode := range map[string]os.FileMode{open: 0o777, mine: 0o755, below: 0o755} {
		testkit.OK(t, os.MkdirAll(path, 0o755))
		testkit.OK(t, os.Chmod(path, mode))
	}
	testkit.OK(t, os.Symlink(below, link))
	r := &Runner{Dir: dir, Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}}
	refused := func(words ...string) string {
		_, err := r.Destination(CloneOptions{URL: "https://github.com/a/b",
			Scope: Scope{Origin: "https://github.com", Helper: "h"}, Extra: words})
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for _, path := range []string{open, below, link, "open"} {
		for _, words := range [][]string{{"--reference", path}, {"--reference-if-able=" + path},
			{"--template", path}, {"--templ=" + path}} {
			if got := refused(words...); !strings.Contains(got, "lets other users") {
				t.Errorf("%q: %q", words, got)
			}
		}
	}
	for _, words := range [][]string{{"--reference", mine}, {"--template=" + mine}, {"--template="},
		{"--reference", filepath.Join(dir, "absent")}} {
		testkit.Equal(t, refused(words...), "", "%q", words)
	}
	if os.Geteuid() == 0 {
		testkit.OK(t, os.Chown(mine, 12345, -1))
		testkit.Contains(t, refused("--reference", mine), "belongs to user 12345")
	}
}

// A template is hooks and configuration: what others put or may put into it is not taken,
// though a sticky bit keeps what is there.
func TestCloneTakesNoTemplateThatOthersMayAddTo(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(template string) error{
		"everybody may add to it": func(template string) error { return os.Chmod(template, 0o777|os.ModeSticky) },
		"everybody may add below": func(template string) error {
			return os.Chmod(filepath.Join(template, "hooks"), 0o777|os.ModeSticky)
		},
		"a hook everybody writes": func(template string) error {
			hook := filepath.Join(template, "hooks", "post-checkout")
			if err := os.WriteFile(hook, nil, 0o755); err != nil {
				return err
			}
			return os.Chmod(hook, 0o777)
		},
		"nobody but us": func(string) error { return nil },
	} {
		template := filepath.Join(t.TempDir(), "template")
		testkit.OK(t, os.MkdirAll(filepath.Join(template, "hooks"), 0o755))
		testkit.OK(t, prepare(template))
		r := &Runner{Dir: t.TempDir(), Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}}
		for _, option := range []string{"--template=", "--templ="} {
			_, err := r.Destination(CloneOptions{
				URL: "https://github.com/a/b", Scope: Scope{Origin: "https://github.com", Helper: "h"},
				Extra: []string{option + template},
			})
			testkit.Equal(t, err != nil, (name != "nobody but us"), "%s, %s: %v", name, option, err)
		}
	}
}
