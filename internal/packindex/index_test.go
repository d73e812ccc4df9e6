package packindex_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/packindex"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// packed is a pack, and git's index of it.
func packed(t testing.TB) (pack, index []byte, objects []githubtest.GitObject) {
	t.Helper()
	dir := t.TempDir()
	git := exec.Command("git", "init", "-q", "--bare", dir)
	out, err := git.CombinedOutput()
	testkit.OK(t, err, "%s", out)
	objects = githubtest.History("sha1", 5)
	var b bytes.Buffer
	testkit.OK(t, githubtest.Pack("sha1", objects...)(t.Context(), &b))
	pack = bytes.Clone(b.Bytes())
	git = exec.Command("git", "--git-dir="+dir, "index-pack", "--stdin")
	git.Stdin = &b
	out, err = git.CombinedOutput()
	testkit.OK(t, err, "%s", out)
	names := testkit.Must(filepath.Glob(filepath.Join(dir, "objects/pack/*.idx")))(t)
	return pack, testkit.Must(os.ReadFile(names[0]))(t), objects
}

func raw(t testing.TB, id string) []byte { return testkit.Must(hex.DecodeString(id))(t) }

func TestObjectsAreFoundByGitsIndex(t *testing.T) {
	pack, index, objects := packed(t)
	name := filepath.Join(t.TempDir(), "x.idx")
	testkit.OK(t, os.WriteFile(name, index, 0o600))
	x := testkit.Must(packindex.Open(name, 20))(t)
	defer x.Close()
	for _, o := range objects {
		places := testkit.Must(x.Find([][]byte{raw(t, o.ID("sha1"))}))(t)
		offset := testkit.Must(x.Offset(places[0]))(t)
		kind := testkit.Must(x.TypeOf(bytes.NewReader(pack), offset))(t)
		testkit.Equal(t, kind == packindex.Commit, o.Kind == "commit", o.Kind)
	}
	places := testkit.Must(x.Find([][]byte{raw(t, strings.Repeat("1", 40))}))(t)
	testkit.Equal(t, places[0], -1)
}

// An index that says that it has more than is there has no memory asked for.
func TestAnIndexThatIsDamagedTakesNoMemory(t *testing.T) {
	_, index, _ := packed(t)
	for at := 8; at < 8+256*4; at += 4 {
		damaged := bytes.Clone(index)
		damaged[at] = 0x70
		name := filepath.Join(t.TempDir(), "x.idx")
		testkit.OK(t, os.WriteFile(name, damaged, 0o600))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		x, err := packindex.Open(name, 20)
		if err == nil {
			_, err = x.Find([][]byte{raw(t, strings.Repeat("1", 40)), raw(t, strings.Repeat("f", 40))})
			testkit.OK(t, x.Close())
		}
		runtime.ReadMemStats(&after)
		testkit.Fails(t, err, "at %d", at)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Fatalf("%d bytes of memory at %d", used, at)
		}
	}
}

// Whatever an index and a pack are: there is an answer or an error, and what is found is what was looked for.
func FuzzIndex(f *testing.F) {
	pack, index, objects := packed(f)
	for _, o := range objects {
		f.Add(index, pack, raw(f, o.ID("sha1")))
	}
	f.Add(index[:100], pack[:20], raw(f, objects[0].ID("sha1")))
	var deltas bytes.Buffer
	p := testkit.Must(githubtest.NewPackWriter(&deltas, "sha1", 1))(f)
	testkit.OK(f, p.Delta(objects[0].ID("sha1"), []byte{1, 1, 1}))
	f.Add(index, deltas.Bytes(), raw(f, objects[0].ID("sha1"))) // a delta of itself
	name := filepath.Join(f.TempDir(), "x.idx")
	f.Fuzz(func(t *testing.T, index, pack, id []byte) {
		if len(id) != 20 {
			return
		}
		testkit.OK(t, os.WriteFile(name, index, 0o600))
		x, err := packindex.Open(name, 20)
		if err != nil {
			return
		}
		defer x.Close()
		places, err := x.Find([][]byte{id})
		if err != nil || places[0] < 0 {
			return
		}
		if at := 8 + 256*4 + 20*places[0]; !bytes.Equal(index[at:at+20], id) {
			t.Fatalf("%x was found where it is not", id)
		}
		offset, err := x.Offset(places[0])
		if err == nil {
			_, err = x.TypeOf(bytes.NewReader(pack), offset)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("error %q", err)
		}
	})
}
