//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// why is what an [*Error] says; "" for none.
func why(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e := testkit.ErrorAs[*Error](t, err)
	if e.Hint == "" || e.Path == "" {
		t.Errorf("%+v says not where, or not what to do", e)
	}
	return e.Why
}

func TestOnlyADirectoryOfOurOwnIsOurs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "above", "dir")
	testkit.OK(t, Make(dir, 0o700, Alone))
	for _, test := range []struct {
		mode       fs.FileMode
		alone, own string
	}{
		{0o700, "", ""}, {0o500, "", ""}, {0o755, "lets other users in (mode 0755)", ""},
		{0o710, "lets other users in (mode 0710)", ""},
		{0o770, "lets other users in (mode 0770)", "lets other users in (mode 0770)"},
		{0o777 | fs.ModeSticky, "lets other users in (mode 0777)", "lets other users in (mode 0777)"},
	} {
		testkit.OK(t, os.Chmod(dir, test.mode))
		for access, want := range map[Access]string{Alone: test.alone, Ours: test.own} {
			testkit.Equal(t, why(t, Check(dir, os.Geteuid(), access)), want, "%v, %d", test.mode, access)
			root, err := Open(dir, access)
			testkit.Equal(t, why(t, err), want, "%v, %d: opened", test.mode, access)
			if root != nil {
				root.Close()
			}
			testkit.Equal(t, why(t, Make(dir, 0o700, access)), want, "%v, %d: made", test.mode, access)
		}
	}
	testkit.Contains(t, why(t, Check(dir, os.Geteuid()+1, Ours)), "belongs to user")
	link, file := dir+".link", dir+".file"
	testkit.OK(t, errors.Join(os.Chmod(dir, 0o700), os.Symlink(dir, link), os.WriteFile(file, nil, 0o600)))
	testkit.Equal(t, why(t, Check(link, os.Geteuid(), Ours)), "is a symbolic link", "a link")
	testkit.Equal(t, why(t, Check(file, os.Geteuid(), Ours)), "is not a directory", "a file")
	testkit.ErrorIs(t, testkit.ErrorOf(Open(dir+".none", Ours)), fs.ErrNotExist, "none")
}

// The directory is replaced between the look at it and the opening.
func TestDirectoryThatIsReplacedIsNotOpened(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	testkit.OK(t, Make(dir, 0o700, Alone))
	looked, err := os.Lstat(dir)
	other := dir + ".other"
	testkit.OK(t, errors.Join(err, os.Mkdir(other, 0o700), os.Rename(dir, dir+".away"), os.Symlink(other, dir)))
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
		"ours":                   {0o755, 0, 0, ""},
		"sticky, as /tmp":        {0o777 | fs.ModeSticky, 0, 0, ""},
		"a Kubernetes volume":    {0o777, 0, 0, "lets other users put anything there (mode 0777)"},
		"the web server's group": {0o775 | fs.ModeSetgid, 0, 33, "lets other users put anything there (mode 0775)"},
		"root's group":           {0o775, 0, 0, ""},
		"another user's":         {0o755, other, other, "belongs to user 65534, who can put anything there"},
		"another user's and sticky": {0o777 | fs.ModeSticky, other, other,
			"belongs to user 65534, who can put anything there"},
	} {
		top := t.TempDir()
		above, dir := filepath.Join(top, "above"), filepath.Join(top, "above", "dir")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(above, test.owner, test.group),
			os.Chmod(above, test.mode)); err != nil {
			t.Fatal(err)
		}
		// By itself, from above, and by a link of ours that leads through it.
		link := filepath.Join(top, "link")
		testkit.OK(t, os.Symlink("above/dir", link))
		for _, way := range []string{above, dir, filepath.Join(dir, "not", "there"), link} {
			testkit.Equal(t, why(t, Way(way)), test.want, "%s, %s", name, strings.TrimPrefix(way, top))
		}
		// Another user's link leads where that user wants.
		testkit.OK(t, os.Lchown(link, other, other))
		testkit.Equal(t, why(t, Way(link)), "is a symbolic link of user 65534", "%s, by another's link", name)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	testkit.OK(t, os.Symlink("loop", loop))
	testkit.ErrorContains(t, Way(loop), "too many")
}

func TestGroupOfAUserAloneIsNobodyElse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "group")
	if err := os.WriteFile(file, []byte("root:x:0:\nann:x:1000:\nbob:x:1001:bob\nshared:x:1002:ann,bob\ncarl:x:1003:\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(filepath.Dir(file), "passwd")
	if err := os.WriteFile(users,
		[]byte("ann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\ndave:x:1004:1003::/:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Of 1003 dave is a member by his own entry; 4711 may be a group of users from elsewhere.
	for gid, want := range map[int]bool{1000: true, 1001: true, 1002: false, 1003: false, 4711: false} {
		testkit.Equal(t, alone(file, users, gid), want, "%d", gid)
	}
}
