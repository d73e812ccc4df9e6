//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// why is what an [*Error] says; "" for none.
func why(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%v is no *Error", err)
	}
	if e.Hint == "" || e.Path == "" {
		t.Errorf("%+v says not where, or not what to do", e)
	}
	return e.Why
}

func TestOnlyADirectoryOfOurOwnIsOurs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "above", "dir")
	if err := Make(dir, 0o700, Alone); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode       fs.FileMode
		alone, own string
	}{
		{0o700, "", ""}, {0o500, "", ""}, {0o755, "lets other users in (mode 0755)", ""}, {0o710, "lets other users in (mode 0710)", ""},
		{0o770, "lets other users in (mode 0770)", "lets other users in (mode 0770)"}, {0o777 | fs.ModeSticky, "lets other users in (mode 0777)", "lets other users in (mode 0777)"},
	} {
		if err := os.Chmod(dir, test.mode); err != nil {
			t.Fatal(err)
		}
		for access, want := range map[Access]string{Alone: test.alone, Ours: test.own} {
			if got := why(t, Check(dir, os.Geteuid(), access)); got != want {
				t.Errorf("%v, %d: %q", test.mode, access, got)
			}
			root, err := Open(dir, access)
			if got := why(t, err); got != want {
				t.Errorf("%v, %d: opened: %q", test.mode, access, got)
			}
			if root != nil {
				root.Close()
			}
			if got := why(t, Make(dir, 0o700, access)); got != want {
				t.Errorf("%v, %d: made: %q", test.mode, access, got)
			}
		}
	}
	if got := why(t, Check(dir, os.Geteuid()+1, Ours)); !strings.Contains(got, "belongs to user") {
		t.Errorf("that of another user: %q", got)
	}
	link, file := dir+".link", dir+".file"
	if err := errors.Join(os.Chmod(dir, 0o700), os.Symlink(dir, link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := why(t, Check(link, os.Geteuid(), Ours)); got != "is a symbolic link" {
		t.Errorf("a link: %q", got)
	}
	if got := why(t, Check(file, os.Geteuid(), Ours)); got != "is not a directory" {
		t.Errorf("a file: %q", got)
	}
	if _, err := Open(dir+".none", Ours); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

// The directory is replaced between the look at it and the opening.
func TestDirectoryThatIsReplacedIsNotOpened(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	if err := Make(dir, 0o700, Alone); err != nil {
		t.Fatal(err)
	}
	looked, err := os.Lstat(dir)
	other := dir + ".other"
	if err := errors.Join(err, os.Mkdir(other, 0o700), os.Rename(dir, dir+".away"), os.Symlink(other, dir)); err != nil {
		t.Fatal(err)
	}
	if root, err := openSame(dir, looked, Alone); err == nil {
		t.Errorf("another directory was opened: %s", root.Name())
	}
}

func TestNobodyElseCanPutADirectoryInThePlaceOfOnOurWay(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory to another user")
	}
	const other = 65534
	for name, test := range map[string]struct {
		mode         fs.FileMode
		owner, group int
		want         string
	}{
		"ours":                      {0o755, 0, 0, ""},
		"sticky, as /tmp":           {0o777 | fs.ModeSticky, 0, 0, ""},
		"a Kubernetes volume":       {0o777, 0, 0, "lets other users put anything there (mode 0777)"},
		"the web server's group":    {0o775 | fs.ModeSetgid, 0, 33, "lets other users put anything there (mode 0775)"},
		"root's group":              {0o775, 0, 0, ""},
		"another user's":            {0o755, other, other, "belongs to user 65534, who can put anything there"},
		"another user's and sticky": {0o777 | fs.ModeSticky, other, other, "belongs to user 65534, who can put anything there"},
	} {
		top := t.TempDir()
		above, dir := filepath.Join(top, "above"), filepath.Join(top, "above", "dir")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(above, test.owner, test.group), os.Chmod(above, test.mode)); err != nil {
			t.Fatal(err)
		}
		// By itself, from above, and by a link of ours that leads through it.
		link := filepath.Join(top, "link")
		if err := os.Symlink("above/dir", link); err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{above, dir, filepath.Join(dir, "not", "there"), link} {
			if got := why(t, Way(way)); got != test.want {
				t.Errorf("%s, %s: %q", name, strings.TrimPrefix(way, top), got)
			}
		}
		// Another user's link leads where that user wants.
		if err := os.Lchown(link, other, other); err != nil {
			t.Fatal(err)
		}
		if got := why(t, Way(link)); got != "is a symbolic link of user 65534" {
			t.Errorf("%s, by another's link: %q", name, got)
		}
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if err := Way(loop); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
}

func TestGroupOfAUserAloneIsNobodyElse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "group")
	if err := os.WriteFile(file, []byte("root:x:0:\nann:x:1000:\nbob:x:1001:bob\nshared:x:1002:ann,bob\ncarl:x:1003:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(filepath.Dir(file), "passwd")
	if err := os.WriteFile(users, []byte("ann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\ndave:x:1004:1003::/:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Of 1003 dave is a member by his own entry; 4711 may be a group of users from elsewhere.
	for gid, want := range map[int]bool{1000: true, 1001: true, 1002: false, 1003: false, 4711: false} {
		if got := alone(file, users, gid); got != want {
			t.Errorf("%d: %t", gid, got)
		}
	}
}
