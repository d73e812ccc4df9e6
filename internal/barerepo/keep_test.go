package barerepo_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What the refs were at any time can be looked up, and every commit of them is there.
func TestHistoryIsNeverLost(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	base := w.chain(3, "base")
	w.set("refs/heads/main", base)
	type shot struct {
		at   time.Time
		refs map[string]string
	}
	var shots []shot
	step := func(change func()) {
		change()
		w.update()
		shots = append(shots, shot{w.now, w.refs(w.origin)})
	}
	step(func() {})
	step(func() { w.set("refs/heads/side", w.chain(2, "side", base)) })
	step(func() { w.set("refs/heads/main", w.chain(2, "forward", base)) })
	step(func() { w.set("refs/heads/side", w.chain(2, "rewritten", base)) })
	step(func() { w.set("refs/heads/side", "") })
	step(func() { w.set("refs/heads/side/below", w.chain(1, "below", base)) })
	step(func() {
		w.set("refs/heads/trunk", w.refs(w.origin)["refs/heads/main"])
		w.git(w.origin, "symbolic-ref", "HEAD", "refs/heads/trunk")
		w.set("refs/heads/main", "")
	})
	// The origin has none of it any more.
	w.git(w.origin, "reflog", "expire", "--expire=now", "--all")
	w.git(w.origin, "gc", "--quiet", "--prune=now")
	check := func(shots []shot) {
		t.Helper()
		for i, s := range shots {
			for _, at := range []time.Time{s.at, s.at.Add(time.Minute)} {
				was, err := w.repo.At(ctx, at, barerepo.Remembered{})
				testkit.OK(t, err, "shot %d", i)
				refs := was.Refs
				refs["HEAD"] = was.Head
				testkit.Diff(t, refs, s.refs)
			}
			for name, id := range s.refs {
				if name != "HEAD" {
					_, err := w.tryGit(w.repo.Dir, nil, "rev-list", "--objects", "--quiet", id)
					testkit.OK(t, err)
				}
			}
		}
	}
	check(shots)
	_, err := w.repo.At(ctx, shots[0].at.Add(-time.Second), barerepo.Remembered{})
	testkit.ErrorIs(t, err, barerepo.ErrNoHistory)

	_, err = w.repo.Maintain(ctx, barerepo.Maintenance{Prune: true})
	testkit.OK(t, err)
	check(shots)
	before := len(testkit.Must(w.repo.Kept(ctx))(t))
	ended, err := w.repo.Expire(ctx, shots[4].at)
	testkit.OK(t, err)
	testkit.Equal(t, ended, 1, "what was left behind before")
	testkit.Equal(t, len(testkit.Must(w.repo.Kept(ctx))(t)), before-1)
	check(shots[4:])
	_, err = w.repo.At(ctx, shots[3].at, barerepo.Remembered{})
	testkit.ErrorIs(t, err, barerepo.ErrNoHistory)
	w.update()
	w.equal()
}

// Two updates in one second may leave the same branch behind, or one that is a directory of the other.
func TestKeptInOneSecond(t *testing.T) {
	w := newWorld(t)
	base := w.chain(1, "base")
	w.set("refs/heads/main", base)
	w.update()
	now := w.now
	for _, branch := range []string{"a", "a", "a/b", "a"} {
		id := w.chain(1, branch, base)
		w.set("refs/heads/"+branch, id)
		w.now = now.Add(-time.Hour)
		w.update()
		w.set("refs/heads/"+branch, "")
		w.now = now.Add(-time.Hour)
		w.update()
		found := false
		for _, k := range testkit.Must(w.repo.Kept(context.Background()))(t) {
			found = found || k.ID == id && k.Ref == "refs/heads/"+branch
		}
		testkit.Equal(t, found, true, branch)
	}
	testkit.Equal(t, len(testkit.Must(w.repo.Kept(context.Background()))(t)), 4)
	w.equal()
}

func TestMaintenanceBoundsPacksAndRefs(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	tip := w.chain(1, "base")
	for i := range 12 {
		tip = w.chain(3, "more", tip)
		w.set("refs/heads/main", tip)
		w.set("refs/heads/n"+string(rune('a'+i)), tip)
		w.update()
	}
	lost := tip
	w.set("refs/heads/gone", w.chain(1, "gone", tip))
	w.update()
	w.set("refs/heads/gone", "")
	w.update()
	count := func() int {
		list, _ := filepath.Glob(filepath.Join(w.repo.Dir, "objects", "pack", "*.pack"))
		return len(list)
	}
	n, err := w.repo.Maintain(ctx, barerepo.Maintenance{})
	testkit.OK(t, err)
	testkit.Equal(t, n, 0, "processes where there is nothing to do")
	kept := w.kept()

	// Somebody has begun to clone.
	clone := filepath.Join(t.TempDir(), "clone")
	serve := exec.Command("git", "upload-pack", w.repo.Dir)
	in := testkit.Must(serve.StdinPipe())(t)
	out := testkit.Must(serve.StdoutPipe())(t)
	testkit.OK(t, serve.Start())
	head := make([]byte, 4)
	_, err = out.Read(head)
	testkit.OK(t, err)

	n, err = w.repo.Maintain(ctx, barerepo.Maintenance{Packs: 5, Loose: 5})
	testkit.OK(t, err)
	testkit.Equal(t, n, 2)
	testkit.Equal(t, count() < 5, true, "packs")
	testkit.Diff(t, w.kept(), kept)
	w.update()
	w.equal()

	_, err = in.Write([]byte("0032want " + lost + "\n0000" + "0009done\n"))
	testkit.OK(t, err)
	testkit.OK(t, in.Close())
	var pack strings.Builder
	buf := make([]byte, 1<<16)
	for {
		n, err := out.Read(buf)
		pack.Write(buf[:n])
		if err != nil {
			break
		}
	}
	testkit.OK(t, serve.Wait())
	testkit.Contains(t, pack.String(), "PACK")

	_, err = w.repo.Maintain(ctx, barerepo.Maintenance{Prune: true})
	testkit.OK(t, err)
	testkit.Diff(t, w.kept(), kept)
	w.equal()
	w.git(t.TempDir(), "clone", "--quiet", w.repo.Dir, clone)
	w.git(t.TempDir(), "clone", "--quiet", "--reference", w.repo.Dir, w.origin, clone+"2")
}

func TestFsckFindsWhatIsDamaged(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	testkit.OK(t, func() error { w.update(); return w.repo.Fsck(ctx) }(), "an empty one")
	base := w.chain(5, "base")
	w.set("refs/heads/main", base)
	// What many histories have, and no mirror refuses.
	odd := testkit.Must(w.tryGit(w.origin, strings.NewReader("tree "+w.git(w.origin, "rev-parse", base+"^{tree}")+
		"\nparent "+base+"\nauthor A <a@b> 00001 +0000\ncommitter A 1 +0000\n\nodd\n"),
		"hash-object", "-t", "commit", "-w", "--stdin", "--literally"))(t)
	w.set("refs/heads/odd", odd)
	w.update()
	testkit.OK(t, w.repo.Fsck(ctx))
	packs := testkit.Must(filepath.Glob(filepath.Join(w.repo.Dir, "objects", "pack", "*.pack")))(t)
	for _, name := range packs {
		b := testkit.Must(os.ReadFile(name))(t)
		b[len(b)/2] ^= 1
		testkit.OK(t, os.Chmod(name, 0o600))
		testkit.OK(t, os.WriteFile(name, b, 0o600))
	}
	err := w.repo.Fsck(ctx)
	testkit.ErrorIs(t, err, barerepo.ErrDamaged)
	t.Log(err)
}

// What somebody has put into a mirror stays, and has no say in what is believed.
func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	base := w.chain(3, "base")
	w.set("refs/heads/main", base)
	_, err := w.tryUpdate(barerepo.Options{Identity: "12345"})
	testkit.OK(t, err)
	w.git(w.repo.Dir, "update-ref", "refs/local/mine", base)
	w.git(w.repo.Dir, "config", "uploadpack.allowFilter", "true")
	w.git(w.repo.Dir, "config", "core.hooksPath", "/nowhere")
	w.git(w.repo.Dir, "replace", base, w.git(w.repo.Dir, "rev-parse", base+"^"))
	testkit.OK(t, os.MkdirAll(filepath.Join(w.repo.Dir, "info"), 0o700))
	grafts := filepath.Join(w.repo.Dir, "info", "grafts")
	testkit.OK(t, os.WriteFile(grafts, []byte(base+"\n"), 0o600))
	w.set("refs/heads/main", w.chain(2, "next", base))
	testkit.Equal(t, w.update().Forced, 0)
	w.set("refs/heads/main", base)
	testkit.Equal(t, w.update().Forced, 1)
	testkit.Equal(t, w.git(w.repo.Dir, "rev-parse", "refs/local/mine"), base)
	testkit.Equal(t, w.git(w.repo.Dir, "config", "uploadpack.allowFilter"), "true")
	testkit.Equal(t, testkit.Must(w.repo.Identity())(t), "12345")
	// Nor do they have one in whether a ref was moved forward.
	old, copied := w.chain(1, "old", base), w.chain(1, "copied", base)
	for i, view := range []func(){
		func() { testkit.OK(t, os.WriteFile(grafts, []byte(copied+" "+old+"\n"), 0o600)) },
		func() { testkit.OK(t, os.Remove(grafts)); w.git(w.repo.Dir, "replace", "--graft", copied, old) },
	} {
		w.set("refs/heads/main", old)
		w.set("refs/heads/copied", copied)
		w.update()
		view()
		w.set("refs/heads/main", copied)
		testkit.Equal(t, w.update().Forced, 1, "view %d", i)
	}
	// And a branch of somebody's own is the remote's to say.
	w.git(w.repo.Dir, "update-ref", "refs/heads/mine", base)
	testkit.Equal(t, w.update().Deleted, 1)
	testkit.Equal(t, w.kept()["heads/mine"], base)
}

func TestAnotherFormatPutsTheFormerAside(t *testing.T) {
	for _, way := range []string{"native", "git"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			if way == "git" {
				w.remote.refused = gitwire.ErrUnsupported
			}
			base := w.chain(3, "base")
			w.set("refs/heads/main", base)
			w.update()
			testkit.OK(t, os.RemoveAll(w.origin))
			w.git(filepath.Dir(w.origin), "init", "--quiet", "--bare", "--object-format=sha256",
				"--initial-branch=main", w.origin)
			w.set("refs/heads/main", w.chain(3, "base"))
			r := w.update()
			w.equal()
			testkit.Equal(t, w.git(r.Aside, "rev-parse", "main"), base)
			w.set("refs/heads/main", "")
			w.remote.list = func(refs *gitwire.Refs) { refs.Format = gitwire.SHA1 } // of an empty one nothing tells
			r = w.update()
			testkit.Equal(t, r.Aside, "")
		})
	}
}

func TestSomethingElseInThePlaceIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(1, "base"))
	testkit.OK(t, os.MkdirAll(w.repo.Dir, 0o700))
	note := filepath.Join(w.repo.Dir, "note")
	testkit.OK(t, os.WriteFile(note, nil, 0o600))
	_, err := w.tryUpdate(barerepo.Options{})
	testkit.ErrorIs(t, err, barerepo.ErrForeign)
	_, err = os.Stat(note)
	testkit.OK(t, err)
}

// A shallow remote has no whole history, and is refused as git refuses it.
func TestAShallowRemoteIsRefused(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(5, "base"))
	shallow := filepath.Join(t.TempDir(), "shallow.git")
	w.git(t.TempDir(), "clone", "--quiet", "--bare", "--depth=2", "file://"+w.origin, shallow)
	w.origin = shallow
	for _, refused := range []error{nil, gitwire.ErrUnsupported} {
		w.remote.refused = refused
		_, err := w.tryUpdate(barerepo.Options{})
		testkit.Fails(t, err)
		t.Log(err)
		_, err = os.Stat(w.repo.Dir)
		testkit.Equal(t, os.IsNotExist(err), true)
		w.tidy()
	}
}

// As a loss of power leaves them.
func TestEmptyFilesOfRefsAreMended(t *testing.T) {
	w := newWorld(t)
	base := w.chain(1, "base")
	w.set("refs/heads/main", base)
	w.update()
	w.set("refs/heads/main", w.chain(1, "next", base))
	w.update()
	w.set("refs/heads/main", w.chain(1, "another", base)) // by force: what was there is kept
	w.update()
	kept := testkit.Must(w.repo.Kept(t.Context()))(t)
	shot := testkit.Must(w.repo.Snapshot(t.Context()))(t)
	testkit.Equal(t, len(kept), 1)
	files := []string{filepath.Join(w.repo.Dir, "refs", "heads", "main"), filepath.Join(w.repo.Dir, kept[0].Name)}
	for _, name := range files {
		testkit.OK(t, os.Truncate(name, 0))
	}
	// Who only reads changes nothing, and is told of what was there.
	testkit.Diff(t, testkit.Must(w.repo.Kept(t.Context()))(t), kept)
	testkit.Diff(t, testkit.Must(w.repo.Snapshot(t.Context()))(t), shot)
	for _, name := range files {
		testkit.Equal(t, testkit.Must(os.Stat(name))(t).Size(), 0)
	}
	testkit.ErrorIs(t, w.repo.Fsck(t.Context()), barerepo.ErrDamaged)
	file := testkit.Must(os.OpenFile(filepath.Join(w.repo.Dir, "ghapp-journal"), os.O_APPEND|os.O_WRONLY, 0))(t)
	file.WriteString("2026-11-01T")
	file.Close()
	w.update()
	w.equal()
	testkit.Diff(t, testkit.Must(w.repo.Kept(t.Context()))(t), kept)

	// A journal that has lost what it knew of a kept ref is not believed.
	before := kept[0].Time.Add(-time.Minute)
	testkit.Must(w.repo.At(t.Context(), before, barerepo.Remembered{}))(t)
	text := testkit.Must(os.ReadFile(filepath.Join(w.repo.Dir, "ghapp-journal")))(t)
	testkit.OK(t, os.Truncate(filepath.Join(w.repo.Dir, "ghapp-journal"), 0))
	testkit.ErrorIs(t, testkit.ErrorOf(w.repo.At(t.Context(), before, barerepo.Remembered{})), barerepo.ErrNoHistory)
	testkit.OK(t, os.WriteFile(filepath.Join(w.repo.Dir, "ghapp-journal"), text, 0o600))

	// Of a kept ref of which nothing is known any more, nobody makes a guess.
	testkit.OK(t, os.Remove(filepath.Join(w.repo.Dir, "ghapp-journal")))
	testkit.OK(t, os.Truncate(files[1], 0))
	testkit.ErrorIs(t, testkit.ErrorOf(w.tryUpdate(barerepo.Options{})), barerepo.ErrDamaged)
}

// A mirror whose refs somebody has moved into the other storage of git's is followed by git's own means.
func TestRefsInAReftable(t *testing.T) {
	w := newWorld(t)
	probe := filepath.Join(t.TempDir(), "probe.git")
	w.git(t.TempDir(), "init", "--quiet", "--bare", probe)
	if _, err := w.tryGit(probe, nil, "refs", "migrate", "--ref-format=reftable"); err != nil {
		t.Skip("git before 2.46 has no git refs migrate")
	}
	base := w.chain(3, "base")
	w.set("refs/heads/main", base)
	w.set("refs/heads/side", w.chain(1, "side", base))
	w.update()
	w.git(w.repo.Dir, "refs", "migrate", "--ref-format=reftable")
	testkit.Equal(t, w.update().Changed, false)
	w.set("refs/heads/side", w.chain(1, "other", base))
	w.git(w.origin, "symbolic-ref", "HEAD", "refs/heads/side")
	testkit.Equal(t, w.update().Forced, 1)
	w.equal()
	testkit.Equal(t, len(testkit.Must(w.repo.Kept(context.Background()))(t)), 1)
	was := testkit.Must(w.repo.At(context.Background(), w.now.Add(-time.Hour), barerepo.Remembered{}))(t)
	testkit.Equal(t, was.Head, "refs/heads/main")
}

// Memory is bounded, whatever an object is made to be by what it is a difference of.
func TestAnObjectThatIsTooLargeIsRefused(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(1, "base"))
	w.remote.pack = func([]byte) []byte { return deltaBomb(t) }
	_, err := w.tryUpdate(barerepo.Options{})
	testkit.ErrorContains(t, err, "index-pack")
	t.Log(err)
	w.tidy()
}

// deltaBomb is a pack of a blob and one that is 8 GB of it, over and over.
func deltaBomb(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x02")
	deflate := func(data []byte) {
		z := zlib.NewWriter(&b)
		z.Write(data)
		testkit.OK(t, z.Close())
	}
	size := func(kind, n int) {
		c := byte(kind<<4 | n&15)
		for n >>= 4; n > 0; n >>= 7 {
			b.WriteByte(c | 0x80)
			c = byte(n & 0x7f)
		}
		b.WriteByte(c)
	}
	first := b.Len()
	base := bytes.Repeat([]byte("x"), 1<<20)
	size(3, len(base))
	deflate(base)
	var delta []byte
	number := func(n uint64) { delta = binary.AppendUvarint(delta, n) }
	const copies = 8 << 10
	number(1 << 20)
	number(copies << 20)
	for range copies {
		delta = append(delta, 0x80|0x40, 0x10) // copy from 0, 0x100000 bytes: the third byte of the size
	}
	second := b.Len()
	size(6, len(delta))
	offset := second - first
	tail := []byte{byte(offset & 0x7f)}
	for offset >>= 7; offset > 0; offset >>= 7 {
		offset--
		tail = append([]byte{0x80 | byte(offset&0x7f)}, tail...)
	}
	b.Write(tail)
	deflate(delta)
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

func TestOptionsThatCannotBeFollowed(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(1, "base"))
	for _, o := range []barerepo.Options{
		{Prefixes: []string{"refs/pull"}}, {Prefixes: []string{"pull/"}},
		{Prefixes: []string{"refs/ghapp/kept/"}}, {Prefixes: []string{"refs/../"}},
		{Identity: "1\n[core]\n\tfsmonitor = evil"},
	} {
		testkit.Fails(t, testkit.ErrorOf(w.tryUpdate(o)))
		_, err := os.Stat(w.repo.Dir)
		testkit.Equal(t, os.IsNotExist(err), true)
	}
}

func TestPullRequestsWhereTheyAreAskedFor(t *testing.T) {
	w := newWorld(t)
	base := w.chain(1, "base")
	pull := w.chain(1, "pull", base)
	w.set("refs/heads/main", base)
	w.set("refs/pull/1/head", pull)
	w.update()
	testkit.Equal(t, w.refs(w.repo.Dir)["refs/pull/1/head"], "")
	for _, refused := range []error{nil, gitwire.ErrUnsupported} {
		w.remote.refused = refused
		r, err := w.tryUpdate(barerepo.Options{Prefixes: []string{"refs/pull/"}})
		testkit.OK(t, err)
		testkit.Equal(t, r.Changed, refused == nil)
		testkit.Equal(t, w.refs(w.repo.Dir)["refs/pull/1/head"], pull)
	}
	// Without being asked for, they are nobody's but the mirror's.
	w.update()
	testkit.Equal(t, w.refs(w.repo.Dir)["refs/pull/1/head"], pull)
}
