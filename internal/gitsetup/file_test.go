package gitsetup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func fine(string) error { return nil }

func to(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	testkit.OK(t, errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)))
}

// holds fails unless a directory has just these files, with these texts.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries := testkit.Must(os.ReadDir(dir))(t)
	for _, entry := range entries {
		text, _ := os.ReadFile(filepath.Join(dir, entry.Name()))
		if wanted, ok := want[entry.Name()]; !ok || wanted != string(text) {
			t.Errorf("%s is there, with %q", entry.Name(), text)
		}
		delete(want, entry.Name())
	}
	for name := range want {
		t.Errorf("%s is not there", name)
	}
}

func TestEditKeepsTheModeAndLinks(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "real"), "old", 0o640)
	for _, err := range []error{
		os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "second")),
		os.Symlink(dir, filepath.Join(home, "dots")),
		os.Symlink("dots/second", filepath.Join(home, ".gitconfig")),
	} {
		testkit.OK(t, err)
	}
	changed, err := Edit(filepath.Join(home, ".gitconfig"), to("new"), fine)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	info := testkit.Must(os.Stat(filepath.Join(dir, "real")))(t)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	holds(t, dir, map[string]string{"real": "new", "second": "new"})
	if link, err := os.Readlink(filepath.Join(home, ".gitconfig")); link != "dots/second" {
		t.Error(link, err)
	}
}

func TestEditThroughALinkToNothing(t *testing.T) {
	dir := t.TempDir()
	testkit.OK(t, os.Symlink("real", filepath.Join(dir, "link")))
	testkit.Must(Edit(filepath.Join(dir, "link"), to("new"), fine))(t)
	holds(t, dir, map[string]string{"real": "new", "link": "new"})
}

func TestLinksInACircleAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link")
	testkit.OK(t, os.Symlink("link", path))
	testkit.Fails(t, testkit.ErrorOf(Edit(path, to("new"), fine)))
}

func TestEditOfALockedFileLeavesLockAndFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config"), "old", 0o600)
	write(t, filepath.Join(dir, "config.lock"), "half", 0o600)
	testkit.ErrorIs(t, testkit.ErrorOf(Edit(filepath.Join(dir, "config"), to("new"), fine)), ErrLocked)
	holds(t, dir, map[string]string{"config": "old", "config.lock": "half"})
}

// The file that is checked is the one that takes effect, whole, and the lock holds
// until then.
func TestEditThatIsRefusedLeavesTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config"), "old", 0o600)
	no := errors.New("no")
	_, err := Edit(filepath.Join(dir, "config"), to("new"), func(path string) error {
		if text, err := os.ReadFile(path); string(text) != "new" || path != filepath.Join(dir, "config.lock") {
			t.Errorf("%s has %q, %v", path, text, err)
		}
		return no
	})
	testkit.ErrorIs(t, err, no)
	holds(t, dir, map[string]string{"config": "old"})
}

func TestEditThatChangesNothingTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	write(t, path, "old", 0o600)
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	testkit.OK(t, os.Chtimes(path, past, past))
	if changed, err := Edit(path, to("old"), fine); changed || err != nil {
		t.Error(changed, err)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("it was written: %v", err)
	}
	nothing := func(text []byte) []byte {
		if text != nil {
			t.Errorf("a file that is not there has %q", text)
		}
		return nil
	}
	if changed, err := Edit(filepath.Join(dir, "other"), nothing, fine); changed || err != nil {
		t.Error(changed, err)
	}
	holds(t, dir, map[string]string{"config": "old"})
}

func TestEditTellsAnEmptyFileFromNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	write(t, path, "old", 0o600)
	if changed, err := Edit(path, func([]byte) []byte { return []byte{} }, fine); !changed || err != nil {
		t.Error(changed, err)
	}
	holds(t, dir, map[string]string{"config": ""})
	if changed, err := Edit(path, func(text []byte) []byte {
		if text == nil {
			t.Error("an empty file is taken for none")
		}
		return nil
	}, fine); !changed || err != nil {
		t.Error(changed, err)
	}
	holds(t, dir, map[string]string{})
}

func TestEditOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	testkit.OK(t, os.Mkdir(filepath.Join(dir, "config"), 0o700))
	testkit.ErrorContains(t, testkit.ErrorOf(Edit(filepath.Join(dir, "config"), to("new"), fine)), "no regular file")
	testkit.ErrorIs(t, testkit.ErrorOf(Edit(filepath.Join(dir, "nowhere", "config"), to("new"), fine)), os.ErrNotExist)
	holds(t, dir, map[string]string{"config": ""})
}

// Whoever gets the lock sees what the others before have written.
func TestEditsAtTheSameTimeLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	const writers = 20
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			own := fmt.Sprintf("https://host%d.example.com", i)
			for {
				_, err := Edit(path, func(text []byte) []byte { return Apply(text, []string{own}, sections(own)) }, fine)
				if err == nil {
					return
				}
				if !errors.Is(err, ErrLocked) {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	text := testkit.Must(os.ReadFile(path))(t)
	testkit.Equal(t, strings.Count(string(text), "[credential "), writers, "sections")
}
