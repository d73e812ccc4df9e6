package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func write(target string, o atomicfile.Options, text string) error {
	f, err := atomicfile.Begin(target, o)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Commit()
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries := testkit.Must(os.ReadDir(dir))(t)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestCommitReplacesAFileOrNothing(t *testing.T) {
	for name, options := range map[string]func(dir string) atomicfile.Options{
		"a name of its own": func(string) atomicfile.Options { return atomicfile.Options{} },
		"a lock": func(dir string) atomicfile.Options {
			return atomicfile.Options{Temp: filepath.Join(dir, "f.lock")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := filepath.Join(dir, "f")
			for _, text := range []string{"one", "two"} {
				testkit.OK(t, write(target, options(dir), text))
				got := testkit.Must(os.ReadFile(target))(t)
				testkit.Equal(t, string(got), text)
			}
			testkit.Equal(t, names(t, dir), "f", "the directory")
		})
	}
}

func TestCommitReplacesNothingButAFile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"directory":          func(path string) error { return os.Mkdir(path, 0o700) },
		"link to a file":     func(path string) error { return os.Symlink("other", path) },
		"link to nothing":    func(path string) error { return os.Symlink("nowhere", path) },
		"link to a device":   func(path string) error { return os.Symlink(os.DevNull, path) },
		"whatever pipes are": pipe,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := filepath.Join(dir, "f")
			testkit.OK(t, os.WriteFile(filepath.Join(dir, "other"), []byte("untouched"), 0o600))
			if err := make(target); err != nil {
				t.Skip(err)
			}
			before := testkit.Must(os.Lstat(target))(t)
			root := testkit.Must(os.OpenRoot(dir))(t)
			defer root.Close()
			for _, o := range []struct {
				target string
				atomicfile.Options
			}{{target, atomicfile.Options{}}, {"f", atomicfile.Options{Root: root}}} {
				err := write(o.target, o.Options, "new")
				var refused *atomicfile.NotRegularError
				if !errors.As(err, &refused) {
					t.Errorf("Commit = %v, want a NotRegularError", err)
				}
			}
			after, err := os.Lstat(target)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it is another one now: %v, %v", after, err)
			}
			testkit.Equal(t, names(t, dir), "f other", "the directory")
			if got, _ := os.ReadFile(filepath.Join(dir, "other")); string(got) != "untouched" {
				t.Errorf("the other file holds %q", got)
			}
		})
	}
}

func TestAFixedNameLetsOneWrite(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "f")
	o := atomicfile.Options{Temp: target + ".lock"}
	first := testkit.Must(atomicfile.Begin(target, o))(t)
	testkit.ErrorIs(t, testkit.ErrorOf(atomicfile.Begin(target, o)), fs.ErrExist, "the second one")
	first.Discard()
	testkit.Equal(t, names(t, dir), "", "the directory")
	// What a killed one has left, a link among it, is no place to write to.
	if err := os.Symlink("other", o.Temp); err != nil {
		t.Skip(err)
	}
	o.Leftover = true
	testkit.OK(t, write(target, o, "new"))
	testkit.Equal(t, names(t, dir), "f", "the directory")
}
