//go:build unix

package deploy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Somebody else has prepared what ghapp would find in a directory where both may write,
// as /tmp: a store whose configuration runs a program, or releases that lead elsewhere.
func TestWhatAnotherUserHasPreparedIsNotTaken(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	const other = 65534
	for name, prepare := range map[string]func(w *world, base string) error{
		"all of it": func(w *world, base string) error {
			return filepath.WalkDir(base, func(name string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Lchown(name, other, other))
			})
		},
		"the directory alone": func(_ *world, base string) error { return os.Lchown(base, other, other) },
		"a link to it": func(_ *world, base string) error {
			return errors.Join(os.Rename(base, base+"2"), os.Symlink(base+"2", base))
		},
		"a link for the releases": func(w *world, _ string) error {
			return errors.Join(os.Rename(w.target.releases(), w.target.releases()+"2"),
				os.Symlink(w.target.releases()+"2", w.target.releases()))
		},
		"the store": func(w *world,
			_ string) error {
			return os.Lchown(w.target.mainStore("").dir, other, other)
		},
		"the records":              func(w *world, _ string) error { return os.Lchown(w.target.records(), other, other) },
		"that all may write to it": func(_ *world, base string) error { return os.Chmod(base, 0o777) },
		"the directory above":      func(_ *world, base string) error { return os.Chmod(filepath.Dir(base), 0o777) },
		"that it is that user's":   func(_ *world, base string) error { return os.Chown(filepath.Dir(base), other, other) },
	} {
		w := newWorldIn(t, filepath.Join(t.TempDir(), "above"))
		w.target.Check = Command{Line: "echo x"}
		commit := w.commit(map[string]string{"a": "1"})
		w.publish(commit)
		w.publish(w.commit(map[string]string{"a": "2"}))
		next := w.commit(map[string]string{"a": "3"})
		testkit.OK(t, prepare(w, w.target.base()))
		w.target.Git.Git = "/nonexistent/git" // it comes to no program of git's
		before := w.shows()
		for _, commit := range []string{next, w.published().Commit} {
			if _, err := w.target.Publish(t.Context(), w.want(commit)); !errors.Is(err, ErrUnsafe) {
				t.Errorf("%s: published: %v", name, err)
			}
		}
		if _, err := w.target.Rollback(t.Context(), "", AsIs); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: rolled back: %v", name, err)
		}
		testkit.Equal(t, w.shows(), before, "%s: it shows", name)
		w.target.TrustParent, w.target.Git.Git = true, ""
		if _, err := w.target.Publish(t.Context(), w.want(next)); (err == nil) != (strings.Contains(name, "above") ||
			strings.Contains(name, "that it is")) {
			t.Errorf("%s: where the directory above is trusted: %v", name, err)
		}
	}
}

// Where all may write, but nobody can take away what others made, ours stays ours.
func TestStickyDirectoryAboveIsSafe(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, filepath.Join(t.TempDir(), "above"))
	w.publish(w.commit(map[string]string{"a": "1"}))
	testkit.OK(t, os.Chmod(filepath.Dir(w.target.Dir), 0o777|fs.ModeSticky))
	w.publish(w.commit(map[string]string{"a": "2"}))
}
