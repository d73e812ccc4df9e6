package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// put writes a file of a mode.
func put(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	testkit.OK(t, errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)))
}

// wantFile checks text and mode of a file, and that nothing else is left beside it.
func wantFile(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, text)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != mode {
		t.Errorf("%s: mode %v (%v), want %v", path, info.Mode(), err, mode)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.lock"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestEditMakesANewFileForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ghapp", "config.yaml")
	testkit.OK(t, Edit(path, Options{}, newApp))
	wantFile(t, path, "apps:\n  new:\n    app: Iv23liNEWNEWNEWNEWNE\n    key: new.pem\n    owners: [umbrella]\n", 0o600)
	if info, err := os.Stat(filepath.Dir(path)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
}

func TestEditKeepsTheModeOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	put(t, path, "apps:\n  a:\n    app: 1\n", 0o644)
	testkit.OK(t, Edit(path, Options{}, set("a", "default")))
	wantFile(t, path, "apps:\n  a:\n    app: 1\ndefault: a\n", 0o644)
}

func TestEditFollowsALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "config.yaml")
	put(t, real, "apps:\n  a:\n    app: 1\n", 0o600)
	if err := os.Symlink("real.yaml", link); err != nil {
		t.Skip(err)
	}
	testkit.OK(t, Edit(link, Options{}, set("a", "default")))
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link has become %v, %v", info.Mode(), err)
	}
	wantFile(t, real, "apps:\n  a:\n    app: 1\ndefault: a\n", 0o600)

	testkit.OK(t, os.Remove(real))
	testkit.ErrorContains(t, Edit(link, Options{}, newApp), "it is a link to a file that is not there")
}

func TestEditLeavesTheFileAloneWhenTheChangeIsNone(t *testing.T) {
	const text = "apps:\n  a:\n    app: 1\n    owners: [acme]\n"
	stop := errors.New("stop")
	for name, test := range map[string]struct {
		change func(*Draft) error
		want   string
	}{
		"that fails":  {func(d *Draft) error { return errors.Join(newApp(d), stop) }, "stop"},
		"to nonsense": {set("nobody", "default"), "default names no App of this file"},
		"to a secret": {set("ghs_0123456789abcdef0123456789abcdef0123", "apps", "a", "key"),
			"apps.a.key holds a GitHub token"},
		"to a taken name": {set([]string{"ACME"}, "apps", "b", "owners"), "apps.b has no app"},
		"to no YAML":      {func(d *Draft) error { d.SetBytes([]byte("apps: [")); return nil }, "the file is not YAML"},
		"to nothing":      {func(*Draft) error { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			put(t, path, text, 0o600)
			err := Edit(path, Options{}, test.change)
			if (test.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			wantFile(t, path, text, 0o600)
		})
	}
}

// Two who edit at once: nobody's change is lost.
func TestEditIsMadeAnewWhenTheFileHasChanged(t *testing.T) {
	for name, before := range map[string]string{"a file": "apps:\n  a:\n    app: 1\n", "none": ""} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if before != "" {
				put(t, path, before, 0o600)
			}
			calls := 0
			err := Edit(path, Options{}, func(d *Draft) error {
				if calls++; calls == 1 {
					testkit.OK(t, Edit(path, Options{}, set("2", "apps", "theirs", "app")))
				}
				return d.Set("3", "apps", "ours", "app")
			})
			if err != nil || calls != 2 {
				t.Fatalf("%d calls, %v", calls, err)
			}
			want := before
			if before == "" {
				want = "apps:\n"
			}
			wantFile(t, path, want+"  theirs:\n    app: 2\n  ours:\n    app: 3\n", 0o600)
		})
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	calls := 0
	err := Edit(path, Options{}, func(d *Draft) error {
		calls++
		put(t, path, fmt.Sprintf("# %d\n", calls), 0o600)
		return d.Set("3", "apps", "ours", "app")
	})
	if err == nil || !strings.Contains(err.Error(), "is being changed by somebody else") || calls != maxEdits {
		t.Errorf("after %d calls: %v", calls, err)
	}
	wantFile(t, path, fmt.Sprintf("# %d\n", maxEdits), 0o600)
}

func TestALockThatStaysIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	put(t, path+".lock", "", 0o600)
	synctest.Test(t, func(t *testing.T) {
		testkit.ErrorContains(t, Edit(path, Options{}, newApp), "remove that file")
	})
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(path)), fs.ErrNotExist, "the file")
}

func TestEditsAtOnceAllCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := Edit(path, Options{}, set("1", "apps", fmt.Sprintf("a%d", i), "app")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text := testkit.Must(os.ReadFile(path))(t)
	testkit.Equal(t, strings.Count(string(text), "app: 1"), 8)
	wantFile(t, path, string(text), 0o600)
}

func TestANewConfigFileMayBeNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.yaml")
	if _, err := Load(Options{Flags: map[string]string{"config": path}}); err == nil {
		t.Error("a file that is not there is no problem to a command that reads it")
	}
	c := testkit.Must(Load(Options{Flags: map[string]string{"config": path}, New: true}))(t)
	if got, found := c.Path(); got.Text != path || found {
		t.Errorf("path %s, found %t", got.Text, found)
	}
}
