package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
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
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestCommitReplacesAFileOrNothing(t *testing.T) {
	for name, options := range map[string]func(dir string) atomicfile.Options{
		"a name of its own": func(string) atomicfile.Options { return atomicfile.Options{} },
		"a lock":            func(dir string) atomicfile.Options { return atomicfile.Options{Temp: filepath.Join(dir, "f.lock")} },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := filepath.Join(dir, "f")
			for _, text := range []string{"one", "two"} {
				if err := write(target, options(dir), text); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(target)
				if err != nil || string(got) != text {
					t.Errorf("it holds %q, %v; want %q", got, err, text)
				}
			}
			if got := names(t, dir); got != "f" {
				t.Errorf("the directory holds %s", got)
			}
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
			if err := os.WriteFile(filepath.Join(dir, "other"), []byte("untouched"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := make(target); err != nil {
				t.Skip(err)
			}
			before, err := os.Lstat(target)
			if err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
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
			if got := names(t, dir); got != "f other" {
				t.Errorf("the directory holds %s", got)
			}
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
	first, err := atomicfile.Begin(target, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := atomicfile.Begin(target, o); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second one: %v, want %v", err, fs.ErrExist)
	}
	first.Discard()
	if got := names(t, dir); got != "" {
		t.Errorf("the directory holds %s", got)
	}
	// What a killed one has left, a link among it, is no place to write to.
	if err := os.Symlink("other", o.Temp); err != nil {
		t.Skip(err)
	}
	o.Leftover = true
	if err := write(target, o, "new"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "f" {
		t.Errorf("the directory holds %s", got)
	}
}
