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

	"github.com/ghapp-dev/ghapp/internal/testkit"
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
		info := testkit.Must(os.Stat(dir))(t)
		testkit.Equal(t, info.Mode().Perm(), 0o700, "%s has the mode", dir)
	}
	files := testkit.Must(os.ReadDir(f.Dir()))(t)
	if len(files) != 3 { // the entry, its lock, the mark
		t.Errorf("files: %v", files)
	}
	for _, file := range files {
		info := testkit.Must(file.Info())(t)
		testkit.Equal(t, info.Mode(), 0o600, "%s has the mode", file.Name())
	}
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	private := filepath.Join(t.TempDir(), "private")
	testkit.OK(t, os.Mkdir(private, 0o700))
	withMode := func(mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			testkit.OK(t, errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)))
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
		{"sticky and writable by all, as /tmp", "cache", withMode(0o777 | fs.ModeSticky),
			"it lets other users in (mode 0777); run: chmod 700 DIR"},
		{"blank and quote in its name", "my user's cache", withMode(0o755),
			`it lets other users in (mode 0755); run: chmod 700 'PARENT/my user'\''s cache'`},
		{"symbolic link", "cache", func(t *testing.T, dir string) {
			testkit.OK(t, os.Symlink(private, dir))
		}, "it is a symbolic link; name the directory it leads to"},
		{"dangling symbolic link", "cache", func(t *testing.T, dir string) {
			testkit.OK(t, os.Symlink("nowhere", dir))
		}, "it is a symbolic link; name the directory it leads to"},
		{"file", "cache", func(t *testing.T, dir string) {
			testkit.OK(t, os.WriteFile(dir, nil, 0o600))
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
	refused := testkit.ErrorAs[*DirError](t, err)
	want = string(bytes.ReplaceAll(bytes.ReplaceAll([]byte(want), []byte("DIR"), []byte(dir)),
		[]byte("PARENT"), []byte(parent)))
	want = "the cache directory " + dir + " is not used: " + want
	testkit.Equal(t, refused.Error(), want, "got  %s", refused)
}

// TestDirectoryOfAnotherUserIsRefused has root meet nobody's directory, or another
// user root's.
func TestDirectoryOfAnotherUserIsRefused(t *testing.T) {
	dir := "/"
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		testkit.OK(t, errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, nobody, nobody)))
	}
	owner := map[bool]int{true: nobody, false: 0}[os.Geteuid() == 0]
	_, err := Open(dir)
	checkRefused(t, err, "", dir, fmt.Sprintf("it belongs to user %d, not %d; run ghapp as its owner, "+
		"or name a directory of your own", owner, os.Geteuid()))
}

func TestDirectoryOpenedLaterIsRefused(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "one")
	testkit.OK(t, os.Chmod(f.Dir(), 0o777))
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
	testkit.OK(t, os.WriteFile(outside, []byte(planted), 0o600))
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
			testkit.OK(t, plant(path))
			if entry := get(t, f, keyOf("k")); entry != nil {
				t.Errorf("Get returned %q", entry)
			}
			testkit.OK(t, f.Update(t.Context(), keyOf("k"), func(_ context.Context, old []byte) ([]byte, error) {
				if old != nil {
					t.Errorf("Update was given %q", old)
				}
				return []byte("mine"), nil
			}))
			testkit.Equal(t, string(get(t, f, keyOf("k"))), "mine", "the entry")
			testkit.Equal(t, testkit.Must(os.Lstat(path))(t).Mode(), 0o600, "the entry is now")
			testkit.Equal(t, string(testkit.Must(os.ReadFile(outside))(t)), planted, "the file outside")
			testkit.Fails(t, testkit.ErrorOf(os.Lstat(inside)), "a file was made where the dangling link led")
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
	testkit.OK(t, os.Symlink(keyOf("victim"), filepath.Join(f.Dir(), name)))
	err := f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) { return []byte("new"), nil })
	if stored, ok := errors.AsType[*StoreError](err); !ok || !stored.Ran || !errors.Is(err, fs.ErrExist) {
		t.Errorf("Update returned %v", err)
	}
	testkit.Equal(t, string(get(t, f, keyOf("victim"))), "kept", "the entry behind the link")
}

func TestEntryThatIsADirectory(t *testing.T) {
	f := open(t, newDir(t))
	testkit.OK(t, os.Mkdir(filepath.Join(f.Dir(), keyOf("k")), 0o700))
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
	testkit.OK(t, os.WriteFile(outside, []byte("text"), 0o600))
	lock := lockName(shardOf(keyOf("k")))
	testkit.OK(t, os.Symlink(outside, filepath.Join(f.Dir(), lock)))
	err := f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) {
		t.Error("fn was called")
		return nil, nil
	})
	want := "cannot lock the cache in " + f.Dir() + ": " + lock + " is not a regular file; remove it"
	if stored, ok := errors.AsType[*StoreError](err); !ok || stored.Ran || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	testkit.Equal(t, string(testkit.Must(os.ReadFile(outside))(t)), "text", "the file outside")
}

// TestLockOfARemovedDirectoryIsNoLock removes the directory after it was opened:
// the lock taken by its path is then in another one, where nobody else looks.
func TestLockOfARemovedDirectoryIsNoLock(t *testing.T) {
	f := open(t, newDir(t))
	root := testkit.Must(f.open())(t)
	defer root.Close()
	unlock := testkit.Must(f.lock(t.Context(), root, 1))(t)
	unlock()
	testkit.OK(t, os.Rename(f.Dir(), f.Dir()+".old"))
	again := testkit.Must(f.ensure())(t)
	defer again.Close()
	unlock, err := f.lock(t.Context(), root, 1)
	testkit.ErrorAs[*StoreError](t, err)
	if unlock != nil {
		t.Error("a lock comes with an error")
	}
	if _, ok := f.tryLock(root, 1); ok {
		t.Error("tryLock took it")
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	testkit.OK(t, os.WriteFile(file, nil, 0o600))
	for dir, want := range map[string]string{
		"": "cannot open the cache: no directory was named",
		filepath.Join(file, "cache"): "cannot open the cache in " + filepath.Join(file, "cache") +
			": " + syscall.ENOTDIR.Error(),
	} {
		_, err := Open(dir)
		if _, ok := errors.AsType[*StoreError](err); !ok || err.Error() != want {
			t.Errorf("Open(%q)\ngot  %v\nwant %s", dir, err, want)
		}
	}
}
