package lfsstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const (
	filmID = "3b0c9b1a6a3f3a2a9d9e6e1f2c7c1d3c2f4b5a69788796a5b4c3d2e1f0a1b2c3"
	helloS = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"
)

func pointer(id, size string) string {
	return "version https://git-lfs.github.com/spec/v1\noid sha256:" + id + "\nsize " + size + "\n"
}

// What is taken for a pointer is one: its ID is the name of a file, and leads nowhere else.
func FuzzParsePointer(f *testing.F) {
	for _, seed := range []string{
		"", pointer(filmID, "5"), pointer(filmID, "-1"), pointer(filmID, "99999999999999999999"), pointer(filmID, "0"),
		pointer("../../../../etc/passwd", "5"), pointer(strings.ToUpper(filmID), "5"), pointer(filmID[1:], "5"),
		strings.Replace(pointer(filmID, "5"), "git-lfs", "hawser", 1), "size 5\n" + pointer(filmID, "5"),
		"version https://git-lfs.github.com/spec/v1\next-0-x sha256:" + filmID + "\noid sha256:" + filmID + "\nsize 5\n",
		pointer(filmID, "5") + strings.Repeat("x", MostPointer), pointer(filmID, "5\r"),
		"version https://git-lfs.github.com/spec/",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, ok := ParsePointer(text)
		if !ok {
			return
		}
		if len(p.ID) != 64 || strings.Trim(p.ID, "0123456789abcdef") != "" || p.Size < 0 || len(text) > MostPointer {
			t.Fatalf("%q was taken for %+v", text, p)
		}
		again, ok := ParsePointer([]byte(pointer(p.ID, fmt.Sprint(p.Size))))
		if !ok || again != p {
			t.Errorf("%+v is read as %+v", p, again)
		}
	})
}

// Nothing stands under a name that it does not hash to, wherever it came from.
func TestWhatHasAnotherHashIsNotTakenIn(t *testing.T) {
	from, to := Of(t.TempDir()), Of(t.TempDir())
	testkit.OK(t, from.Put(helloS, strings.NewReader("hello")))
	testkit.ErrorAs[*DamagedError](t, to.Put(helloS, strings.NewReader("hellO")))
	testkit.OK(t, os.Chmod(from.Path(helloS), 0o600))
	testkit.OK(t, os.WriteFile(from.Path(helloS), []byte("hellO"), 0o600))
	testkit.ErrorAs[*DamagedError](t, from.Copy(helloS, to))
	testkit.Equal(t, len(testkit.Must(to.List())(t)), 0)
	testkit.ErrorAs[*DamagedError](t, from.Check(helloS))
	testkit.OK(t, from.SetAside(helloS))
	testkit.Equal(t, len(testkit.Must(from.List())(t)), 0)
	testkit.Equal(t, string(testkit.Must(os.ReadFile(from.Bad(helloS)))(t)), "hellO")
	testkit.OK(t, from.SetAside(helloS), "one that is not there")
	testkit.OK(t, from.Put(helloS, strings.NewReader("hello")))
	testkit.OK(t, from.SetAside(helloS))
	testkit.OK(t, from.Check(helloS), "one that is whole was put aside")
}

// A link that somebody has put between a repository and its large files leads nothing that is written elsewhere.
func TestALinkLeadsNoLargeFileElsewhere(t *testing.T) {
	for _, below := range []string{"lfs", "lfs/objects", "lfs/objects/2c", "lfs/objects/2c/f2"} {
		dir, elsewhere := t.TempDir(), t.TempDir()
		at := filepath.Join(dir, filepath.FromSlash(below))
		testkit.OK(t, os.MkdirAll(filepath.Dir(at), 0o700))
		testkit.OK(t, os.Symlink(elsewhere, at))
		testkit.ErrorContains(t, Of(dir).Put(helloS, strings.NewReader("hello")), "symbolic link")
		testkit.Equal(t, len(testkit.Must(os.ReadDir(elsewhere))(t)), 0, below)
	}
}
