//go:build unix

package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// publishedTree is a tree with the same text in each of some files, as git's index and the record of a
// release have it.
func publishedTree(t *testing.T, paths []string) (root string, entries []entry, files map[string]file) {
	t.Helper()
	root, files = t.TempDir(), map[string]file{}
	const text = "text"
	sum := sha256.Sum256([]byte(text))
	slices.Sort(paths)
	for _, name := range paths {
		at := filepath.Join(root, name)
		testkit.OK(t, os.MkdirAll(filepath.Dir(at), 0o755))
		testkit.OK(t, os.WriteFile(at, []byte(text), 0o666))
		when := testkit.Must(os.Stat(at))(t).ModTime()
		entries = append(entries, entry{path: name, mode: modeFile, size: uint32(len(text)),
			seconds: uint32(when.Unix()), nanos: uint32(when.Nanosecond())})
		files[name] = file{path: name, mode: modeFile, digest: hex.EncodeToString(sum[:])}
	}
	return root, entries, files
}

// newTree is an empty one, with the mode that tells of the umask.
func newTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "new")
	testkit.OK(t, os.Mkdir(root, 0o777))
	return root
}

// Several take files over at once, and a directory can be one's that another has begun.
func TestSeveralTakeOverEachFileOnce(t *testing.T) {
	t.Parallel()
	var paths []string
	for i := range 300 {
		paths = append(paths, fmt.Sprintf("dir%d/sub%d/%d", i%3, i%7, i))
	}
	from, entries, files := publishedTree(t, paths)
	to := newTree(t)
	shared := testkit.Must(takeOver(HardLink, from, to, "", entries, files))(t)
	testkit.Equal(t, len(shared), len(entries))
	if !slices.Equal(shared, entries) { // git's index has them in that order
		t.Error("they are not in the order of the index")
	}
	testkit.OK(t, intact(to, "", entries))
}

func TestDirectoryOfWhichNothingIsTakenOverIsNotMade(t *testing.T) {
	t.Parallel()
	from, entries, files := publishedTree(t, []string{"a", "b/deep/x", "b/deep/y", "b/z/x", "c/x", "c/y"})
	for _, name := range []string{"b/deep/x", "b/deep/y", "b/z/x", "c/y"} {
		testkit.OK(t, os.WriteFile(filepath.Join(from, name), []byte("TEXT"), 0o666))
	}
	to := newTree(t)
	shared := testkit.Must(takeOver(HardLink, from, to, "", entries, files))(t)
	testkit.Equal(t, len(shared), 2)
	names := testkit.Must(pathsIn(to))(t)
	testkit.Equal(t, fmt.Sprint(names), "[a c c/x]")
}

// pathsIn are the paths of all that is in a tree.
func pathsIn(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(name string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, name); rel != "." {
			names = append(names, rel)
		}
		return err
	})
	return names, err
}

// Of the mode that somebody gave the published file nothing comes along, no link is followed, and what
// somebody has written there is not copied.
func TestCopyOfASmallFileIsAsGitMakesIt(t *testing.T) {
	t.Parallel()
	from, entries, files := publishedTree(t, []string{"a", "b", "c"})
	testkit.OK(t, os.Chmod(filepath.Join(from, "a"), 0o6777))
	testkit.OK(t, os.Remove(filepath.Join(from, "b")))
	testkit.OK(t, os.Symlink("a", filepath.Join(from, "b"))) // with the same text behind it
	testkit.OK(t, os.WriteFile(filepath.Join(from, "c"), []byte("TEXT"), 0o666))
	to := newTree(t)
	// As where the first file has shown that blocks can be shared.
	taker := &taker{how: Reflink, files: files, clones: true}
	testkit.OK(t, taker.take(from, to, entries))
	testkit.Equal(t, len(taker.shared), 1)
	info := testkit.Must(os.Lstat(filepath.Join(to, "a")))(t)
	root := testkit.Must(os.Stat(to))(t)
	testkit.Equal(t, info.Mode(), 0o666&root.Mode().Perm())
	testkit.Equal(t, info.ModTime().Unix(), int64(entries[0].seconds))
	testkit.Equal(t, fmt.Sprint(testkit.Must(pathsIn(to))(t)), "[a]")
}
