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
	for path, mode := range map[string]os.FileMode{open: 0o777, mine: 0o755, below: 0o755} {
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
			if got := refused(words...); !strings.Contains(got, "lets other users") {
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

// A template is hooks and configuration: what others put or may put into it is not taken,
// though a sticky bit keeps what is there.
func TestCloneTakesNoTemplateThatOthersMayAddTo(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(template string) error{
		"everybody may add to it": func(template string) error { return os.Chmod(template, 0o777|os.ModeSticky) },
		"everybody may add below": func(template string) error { return os.Chmod(filepath.Join(template, "hooks"), 0o777|os.ModeSticky) },
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
		if err := os.MkdirAll(filepath.Join(template, "hooks"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := prepare(template); err != nil {
			t.Fatal(err)
		}
		r := &Runner{Dir: t.TempDir(), Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}}
		for _, option := range []string{"--template=", "--templ="} {
			_, err := r.Destination(CloneOptions{
				URL: "https://github.com/a/b", Scope: Scope{Origin: "https://github.com", Helper: "h"}, Extra: []string{option + template},
			})
			if refused := err != nil; refused != (name != "nobody but us") {
				t.Errorf("%s, %s: %v", name, option, err)
			}
		}
	}
}
