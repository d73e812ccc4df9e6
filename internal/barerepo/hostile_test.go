package barerepo_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What a hostile remote sends leaves a mirror as it was, and no mirror where there was none.
func TestWhatIsNotWholeChangesNothing(t *testing.T) {
	type test struct {
		name    string
		arrange func(w *world, base string)
		problem error
	}
	for _, test := range []test{
		{"an object is missing", func(w *world, base string) {
			// A parent that the pack has not, since it is said to be had.
			tip := w.refs(w.origin)["refs/heads/main"]
			w.remote.pack = func([]byte) []byte {
				out, err := w.tryGitBytes(w.origin, strings.NewReader(tip+"\n"), "pack-objects", "--stdout")
				testkit.OK(w.t, err)
				return out
			}
		}, barerepo.ErrMissing},
		{"a blob is missing", func(w *world, base string) {
			tip := w.refs(w.origin)["refs/heads/main"]
			blob := w.git(w.origin, "rev-parse", tip+":README")
			w.remote.pack = func([]byte) []byte {
				var rest []string
				for _, id := range w.objects(w.origin) {
					if id != blob {
						rest = append(rest, id)
					}
				}
				out, err := w.tryGitBytes(w.origin, strings.NewReader(strings.Join(rest, "\n")+"\n"), "pack-objects", "--stdout")
				testkit.OK(w.t, err)
				return out
			}
		}, barerepo.ErrMissing},
		{"another pack", func(w *world, base string) {
			w.remote.pack = func([]byte) []byte {
				out, err := w.tryGitBytes(w.origin, strings.NewReader(w.blob("something else")+"\n"), "pack-objects", "--stdout")
				testkit.OK(w.t, err)
				return out
			}
		}, barerepo.ErrMissing},
		{"an empty pack", func(w *world, base string) {
			w.remote.pack = func([]byte) []byte {
				head := []byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00")
				sum := sha1.Sum(head)
				return append(head, sum[:]...)
			}
		}, barerepo.ErrMissing},
		{"a branch that is a blob", func(w *world, base string) {
			id := w.blob("no commit")
			w.git(w.origin, "tag", "blob", id)
			w.remote.list = func(refs *gitwire.Refs) {
				refs.List = append(refs.List, gitwire.Ref{Name: "refs/heads/zzz", ID: id})
			}
		}, barerepo.ErrNoCommit},
		{"a branch that is a tag", func(w *world, base string) {
			w.git(w.origin, "tag", "-a", "-m", "x", "t", base)
			id := w.git(w.origin, "rev-parse", "t")
			w.remote.list = func(refs *gitwire.Refs) {
				refs.List = append(refs.List, gitwire.Ref{Name: "refs/heads/zzz", ID: id})
			}
		}, barerepo.ErrNoCommit},
		{"a wrong hash", func(w *world, base string) {
			w.remote.list = func(refs *gitwire.Refs) {
				refs.List = append(refs.List, gitwire.Ref{Name: "refs/heads/zzz", ID: strings.Repeat("a", 40)})
			}
			w.remote.want = func(id string) bool { return id != strings.Repeat("a", 40) }
		}, barerepo.ErrMissing},
		{"a bit that is another", func(w *world, base string) {
			w.remote.pack = func(b []byte) []byte { b[len(b)/2] ^= 4; return b }
		}, nil},
		{"cut off", func(w *world, base string) {
			w.remote.pack = func(b []byte) []byte { return b[:len(b)-30] }
		}, nil},
		{"cut off in its head", func(w *world, base string) {
			w.remote.pack = func(b []byte) []byte { return b[:5] }
		}, nil},
		{"no pack at all", func(w *world, base string) {
			w.remote.pack = func(b []byte) []byte { return []byte("<html>Welcome to the hotel's network</html>") }
		}, nil},
		{"lost", func(w *world, base string) { w.remote.pack = func(b []byte) []byte { return nil } }, nil},
		{"more after the end", func(w *world, base string) {
			w.remote.pack = func(b []byte) []byte { return append(b, bytes.Repeat([]byte("more"), 1<<20)...) }
		}, nil},
		{"what fsck refuses", func(w *world, base string) {
			tree := testkit.Must(w.tryGit(w.origin, strings.NewReader("100644 blob "+w.blob("x")+"\t.GIT\n"), "mktree"))(w.t)
			bad := w.git(w.origin, "commit-tree", "-m", "bad", "-p", base, tree)
			w.set("refs/heads/zzz", bad)
		}, nil},
		{"a ref twice", func(w *world, base string) {
			w.remote.list = func(refs *gitwire.Refs) { refs.List = append(refs.List, refs.List[len(refs.List)-1]) }
		}, barerepo.ErrListing},
		{"a ref without an ID", func(w *world, base string) {
			w.remote.list = func(refs *gitwire.Refs) { refs.List[len(refs.List)-1].ID = "HEAD" }
		}, barerepo.ErrListing},
		{"a format that is none", func(w *world, base string) {
			w.remote.list = func(refs *gitwire.Refs) { refs.Format = "md5" }
		}, barerepo.ErrListing},
		{"not to be reached", func(w *world, base string) { w.remote.refused = errors.New("no route") }, nil},
	} {
		for _, first := range []bool{true, false} {
			name := test.name + map[bool]string{true: ", first", false: ", later"}[first]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				base := w.chain(3, "base")
				w.set("refs/heads/main", base)
				if !first {
					w.update()
				}
				w.set("refs/heads/main", w.chain(3, "next", base))
				test.arrange(w, base)
				before := files(w)
				_, err := w.tryUpdate(barerepo.Options{})
				testkit.Fails(t, err)
				if test.problem != nil {
					testkit.ErrorIs(t, err, test.problem)
				}
				t.Log(err)
				w.tidy()
				testkit.Diff(t, files(w), before)
				// The next one that is right goes on.
				w.remote = &remote{w: w}
				if test.name != "what fsck refuses" {
					w.update()
					w.equal()
				}
			})
		}
	}
}

// A blob of a hundred gigabytes is a hundred megabytes of a pack, of which the first bytes are enough.
func TestABlobThatIsTooLargeIsNotUnpacked(t *testing.T) {
	for _, first := range []bool{true, false} {
		w := newWorld(t)
		base := w.chain(3, "base")
		w.set("refs/heads/main", base)
		if !first {
			w.update()
		}
		w.set("refs/heads/main", w.chain(1, "next", base))
		w.remote.pack = func([]byte) []byte {
			var pack bytes.Buffer
			bomb := githubtest.ZlibBomb("sha1", 100<<30).After(4<<10, githubtest.ErrEnd)
			testkit.ErrorIs(t, bomb(t.Context(), &pack), githubtest.ErrEnd)
			return pack.Bytes()
		}
		before := files(w)
		_, err := w.tryUpdate(barerepo.Options{})
		testkit.Equal(t, gitcmd.ReasonOf(err), gitcmd.ObjectTooLarge, "%v", err)
		w.tidy()
		testkit.Diff(t, files(w), before)
		w.remote.pack = nil
		w.update()
		w.equal()
	}
}

// files are all files of the mirror, but the journal's.
func files(w *world) []string {
	list := []string{}
	_ = filepath.WalkDir(filepath.Dir(filepath.Dir(w.repo.Dir)), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "ghapp-journal" {
			list = append(list, path)
		}
		return nil
	})
	return list
}

func TestNamesThatEscapeOrCollideAreLeftOutAndTold(t *testing.T) {
	w := newWorld(t)
	base := w.chain(3, "base")
	w.set("refs/heads/main", base)
	hostile := []string{
		"refs/heads/../../config", "refs/heads/a..b", "refs/heads/.hidden", "refs/heads/x.lock", "refs/heads/a b",
		"refs/heads/a//b",
		"refs/heads/a/", "refs/heads/a\x1b[31m", "refs/heads/@{x}", "refs/heads/end.", "refs/heads/q?",
		"refs/heads/" + strings.Repeat("n", 250),
		"refs/ghapp/kept/20200101T000000Z/heads/main", "/etc/passwd", "refs/heads/main/below",
		`refs/heads/b\c`, "refs/heads/l.lock/x",
		"refs/heads/nl\nx",
	}
	for _, first := range []bool{true, false} {
		w.remote.list = func(refs *gitwire.Refs) {
			for _, name := range hostile {
				refs.List = append(refs.List, gitwire.Ref{Name: name, ID: base})
			}
			refs.List = append(refs.List, gitwire.Ref{Name: "refs/other/x", ID: base})
			refs.Head = "refs/heads/../../config"
		}
		r := w.update()
		var told []string
		for _, s := range r.Skipped {
			told = append(told, s.Ref)
			testkit.Equal(t, s.Why != "" && !strings.Contains(s.Why, "\x1b"), true, s.Ref)
		}
		want := append([]string{"HEAD"}, hostile...)
		slices.Sort(want)
		testkit.Diff(t, told, want)
		testkit.Diff(t, w.refs(w.repo.Dir), map[string]string{"HEAD": "refs/heads/main",
			"refs/heads/main": w.refs(w.origin)["refs/heads/main"]})
		w.whole()
		if first {
			w.set("refs/heads/main", w.chain(1, "next", base))
		}
	}
}

func TestNamesAreThoseThatGitAllows(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{
		"refs/heads/a", "refs/heads/a/b", "refs/heads/@", "refs/heads/-x", "refs/heads/ü", "refs/heads/a@b", "refs/heads/{",
		"refs/heads/a.b",
		"refs/heads/a.lockx", "refs/heads/HEAD", "refs/heads/x.lock", "refs/heads/a..b", "refs/heads/.a", "refs/heads/a/.b",
		"refs/heads/a b",
		"refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/a*", "refs/heads/a[",
		`refs/heads/a\b`,
		"refs/heads/a@{b", "refs/heads/a.", "refs/heads//a", "refs/heads/a/", "refs/heads/\x7f", "refs/heads/\x01",
		"refs/heads/a.lock/b",
	} {
		_, err := w.tryGit(w.origin, nil, "check-ref-format", name)
		testkit.Equal(t, barerepo.CheckRefName(name) == nil, err == nil, "%q", name)
	}
}
