//go:build unix

package cache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/cryptotest"
)

// nobody is a user that is neither root nor the one who runs the tests.
const nobody = 65534

func TestDirectoryIsMadePrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	parent := filepath.Join(t.TempDir(), "parent")
	f := open(t, filepath.Join(parent, "cache"))
	put(t, f, keyOf("k"), "secret")
	for _, dir := range []string{parent, f.Dir()} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has the mode %04o", dir, info.Mode().Perm())
		}
	}
	files, err := os.ReadDir(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 { // the entry, its lock, the mark
		t.Errorf("files: %v", files)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has the mode %s", file.Name(), info.Mode())
		}
	}
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	private := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	withMode := func(mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name, dir string
		prepare   func(t *testing.T, dir string)
		want      string // after "the cache directory DIR is not used: "
	}{
		{"readable by all", "cache", withMode(0o755), "it lets other users in (mode 0755); run: chmod 700 DIR"},
		{"readable by the group", "cache", withMode(0o740), "it lets other users in (mode 0740); run: chmod 700 DIR"},
		{"writable by all", "cache", withMode(0o702), "it lets other users in (mode 0702); run: chmod 700 DIR"},
		{"writable by the group", "cache", withMode(0o720), "it lets other users in (mode 0720); run: chmod 700 DIR"},
		{"sticky and writable by all, as /tmp", "cache", withMode(0o777 | fs.ModeSticky), "it lets other users in (mode 0777); run: chmod 700 DIR"},
		{"blank and quote in its name", "my user's cache", withMode(0o755), `it lets other users in (mode 0755); run: chmod 700 'PARENT/my user'\''s cache'`},
		{"symbolic link", "cache", func(t *testing.T, dir string) {
			if err := os.Symlink(private, dir); err != nil {
				t.Fatal(err)
			}
		}, "it is a symbolic link; name the directory it leads to"},
		{"dangling symbolic link", "cache", func(t *testing.T, dir string) {
			if err := os.Symlink("nowhere", dir); err != nil {
				t.Fatal(err)
			}
		}, "it is a symbolic link; name the directory it leads to"},
		{"file", "cache", func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "it is not a directory; remove it, or name another"},
	} {
		t.Run(test.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, test.dir)
			test.prepare(t, dir)
			_, err := Open(dir)
			checkRefused(t, err, parent, dir, test.want)
			if left, _ := os.ReadDir(private); len(left) != 0 {
				t.Errorf("files were made behind the link: %v", left)
			}
		})
	}
}

func checkRefused(t *testing.T, err error, parent, dir, want string) {
	t.Helper()
	refused, ok := errors.AsType[*DirError](err)
	if !ok {
		t.Fatalf("got %v, want a DirError", err)
	}
	want = string(bytes.ReplaceAll(bytes.ReplaceAll([]byte(want), []byte("DIR"), []byte(dir)), []byte("PARENT"), []byte(parent)))
	want = "the cache directory " + dir + " is not used: " + want
	if refused.Error() != want {
		t.Errorf("got  %s\nwant %s", refused, want)
	}
}

// TestDirectoryOfAnotherUserIsRefused has root meet nobody's directory, or another
// user root's.
func TestDirectoryOfAnotherUserIsRefused(t *testing.T) {
	dir := "/"
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	owner := map[bool]int{true: nobody, false: 0}[os.Geteuid() == 0]
	_, err := Open(dir)
	checkRefused(t, err, "", dir, fmt.Sprintf("it belongs to user %d, not %d; run ghapp as its owner, or name a directory of your own", owner, os.Geteuid()))
}

func TestDirectoryOpenedLaterIsRefused(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "one")
	if err := os.Chmod(f.Dir(), 0o777); err != nil {
		t.Fatal(err)
	}
	want := "it lets other users in (mode 0777); run: chmod 700 DIR"
	_, err := f.Get(t.Context(), keyOf("k"))
	checkRefused(t, err, "", f.Dir(), want)
	err = f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) {
		t.Error("fn was called")
		return nil, nil
	})
	checkRefused(t, err, "", f.Dir(), want)
}

// TestEntryOthersCouldHaveMadeIsNotBelieved plants an entry that holds a stranger's
// bytes, and then replaces it.
func TestEntryOthersCouldHaveMadeIsNotBelieved(t *testing.T) {
	const planted = "planted"
	withMode := func(mode fs.FileMode) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(planted), 0o600), os.Chmod(path, mode))
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(planted), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(t.TempDir(), "inside")
	tests := map[string]func(path string) error{
		"readable by all":       withMode(0o604),
		"writable by all":       withMode(0o602),
		"writable by the group": withMode(0o620),
		"link to a file":        func(path string) error { return os.Symlink(outside, path) },
		"link to another entry": func(path string) error {
			other := filepath.Join(filepath.Dir(path), keyOf("other"))
			return errors.Join(os.WriteFile(other, []byte(planted), 0o600), os.Symlink(keyOf("other"), path))
		},
		"dangling link": func(path string) error { return os.Symlink(inside, path) },
		"named pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
	}
	if os.Geteuid() == 0 {
		tests["of another user"] = func(path string) error {
			return errors.Join(withMode(0o600)(path), os.Chown(path, nobody, nobody))
		}
	}
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			f := open(t, newDir(t))
			path := filepath.Join(f.Dir(), keyOf("k"))
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			if entry := get(t, f, keyOf("k")); entry != nil {
				t.Errorf("Get returned %q", entry)
			}
			err := f.Update(t.Context(), keyOf("k"), func(_ context.Context, old []byte) ([]byte, error) {
				if old != nil {
					t.Errorf("Update was given %q", old)
				}
				return []byte("mine"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(get(t, f, keyOf("k"))); got != "mine" {
				t.Errorf("the entry is %q", got)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("the entry is now %v, %v", info, err)
			}
			if text, err := os.ReadFile(outside); err != nil || string(text) != planted {
				t.Errorf("the file outside holds %q, %v", text, err)
			}
			if _, err := os.Lstat(inside); err == nil {
				t.Error("a file was made where the dangling link led")
			}
		})
	}
}

// TestUnfinishedFileIsNewlyMade plants a link under the very name that the next
// write takes.
func TestUnfinishedFileIsNewlyMade(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("victim"), "kept")
	cryptotest.SetGlobalRandom(t, 1)
	name := tempPrefix + rand.Text()
	cryptotest.SetGlobalRandom(t, 1)
	if err := os.Symlink(keyOf("victim"), filepath.Join(f.Dir(), name)); err != nil {
		t.Fatal(err)
	}
	err := f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) { return []byte("new"), nil })
	if stored, ok := errors.AsType[*StoreError](err); !ok || !stored.Ran || !errors.Is(err, fs.ErrExist) {
		t.Errorf("Update returned %v", err)
	}
	if got := string(get(t, f, keyOf("victim"))); got != "kept" {
		t.Errorf("the entry behind the link is %q", got)
	}
}

func TestEntryThatIsADirectory(t *testing.T) {
	f := open(t, newDir(t))
	if err := os.Mkdir(filepath.Join(f.Dir(), keyOf("k")), 0o700); err != nil {
		t.Fatal(err)
	}
	if entry := get(t, f, keyOf("k")); entry != nil {
		t.Errorf("Get returned %q", entry)
	}
	ran := false
	err := f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) {
		ran = true
		return []byte("mine"), nil
	})
	stored, ok := errors.AsType[*StoreError](err)
	if !ok || !stored.Ran || !ran {
		t.Fatalf("Update returned %#v; fn called: %v", err, ran)
	}
	if left, _ := filepath.Glob(filepath.Join(f.Dir(), tempPrefix+"*")); len(left) != 0 {
		t.Errorf("unfinished files: %v", left)
	}
}

func TestLockThatIsALinkIsRefused(t *testing.T) {
	f := open(t, newDir(t))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock := lockName(shardOf(keyOf("k")))
	if err := os.Symlink(outside, filepath.Join(f.Dir(), lock)); err != nil {
		t.Fatal(err)
	}
	err := f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) {
		t.Error("fn was called")
		return nil, nil
	})
	want := "cannot lock the cache in " + f.Dir() + ": " + lock + " is not a regular file; remove it"
	if stored, ok := errors.AsType[*StoreError](err); !ok || stored.Ran || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "text" {
		t.Errorf("the file outside holds %q, %v", text, err)
	}
}

// TestLockOfARemovedDirectoryIsNoLock removes the directory after it was opened:
// the lock taken by its path is then in another one, where nobody else looks.
func TestLockOfARemovedDirectoryIsNoLock(t *testing.T) {
	f := open(t, newDir(t))
	root, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	unlock, err := f.lock(t.Context(), root, 1)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := os.Rename(f.Dir(), f.Dir()+".old"); err != nil {
		t.Fatal(err)
	}
	again, err := f.ensure()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	unlock, err = f.lock(t.Context(), root, 1)
	if _, ok := errors.AsType[*StoreError](err); !ok {
		t.Fatalf("lock returned %v", err)
	}
	if unlock != nil {
		t.Error("a lock comes with an error")
	}
	if _, ok := f.tryLock(root, 1); ok {
		t.Error("tryLock took it")
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"":                           "cannot open the cache: no directory was named",
		filepath.Join(file, "cache"): "cannot open the cache in " + filepath.Join(file, "cache") + ": " + syscall.ENOTDIR.Error(),
	} {
		_, err := Open(dir)
		if _, ok := errors.AsType[*StoreError](err); !ok || err.Error() != want {
			t.Errorf("Open(%q)\ngot  %v\nwant %s", dir, err, want)
		}
	}
}
