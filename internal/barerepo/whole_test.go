package barerepo_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// swap has a repository have another blob under the name of one that a commit needs: git packs it
// as it is, and fsck alone reads what it hashes to.
func (w *world) swap(dir, blob string) {
	w.t.Helper()
	packs := testkit.Must(filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack")))(w.t)
	for _, pack := range packs {
		text := testkit.Must(os.ReadFile(pack))(w.t)
		testkit.OK(w.t, os.Remove(pack))
		testkit.OK(w.t, os.Remove(strings.TrimSuffix(pack, ".pack")+".idx"))
		testkit.Must(w.tryGit(dir, strings.NewReader(string(text)), "unpack-objects", "-q"))(w.t)
	}
	loose := func(dir, id string) string { return filepath.Join(dir, "objects", id[:2], id[2:]) }
	other := testkit.Must(os.ReadFile(loose(w.origin, w.blob("another"))))(w.t)
	testkit.OK(w.t, os.Remove(loose(dir, blob)))
	testkit.OK(w.t, os.WriteFile(loose(dir, blob), other, 0o600))
}

func TestAnExportIsProvedToBeWhole(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(3, "base"))
	w.update()
	shot := testkit.Must(w.repo.Snapshot(context.Background()))(t)
	whole := barerepo.Export{Dir: filepath.Join(t.TempDir(), "whole"), Refs: shot}
	testkit.OK(t, w.repo.Export(context.Background(), whole))
	w.swap(w.repo.Dir, w.git(w.origin, "rev-parse", "main:README"))
	err := w.repo.Export(context.Background(), barerepo.Export{Dir: filepath.Join(t.TempDir(), "x"), Refs: shot})
	testkit.ErrorIs(t, err, barerepo.ErrDamaged)
}

// keptWorld has kept history, of which a blob can be damaged.
func keptWorld(t *testing.T) (w *world, blob string) {
	w = newWorld(t)
	base := w.chain(2, "base")
	w.set("refs/heads/main", w.chain(2, "old", base))
	w.update()
	blob = w.git(w.origin, "rev-parse", "main:README")
	w.set("refs/heads/main", w.chain(2, "new", base))
	w.update()
	testkit.Equal(t, len(w.kept()), 1)
	return w, blob
}

// What a mirror is to be replaced by is proved to be whole: with an error all is as it was.
func TestWhatAMirrorIsMendedByIsProvedToBeWhole(t *testing.T) {
	w, _ := keptWorld(t)
	kept := w.kept()
	aside := filepath.Join(t.TempDir(), "aside")
	fresh := w.repo.Temp + ".whole"
	w.repo.SetFault(func(step string) {
		if step == "published" {
			w.swap(fresh, w.git(w.origin, "rev-parse", "main:README"))
		}
	})
	_, err := w.repo.Mend(context.Background(), w.remote, aside, barerepo.Options{Now: w.now})
	testkit.ErrorIs(t, err, barerepo.ErrDamaged)
	testkit.Diff(t, w.kept(), kept)
	for _, path := range []string{aside, fresh} {
		_, err = os.Lstat(path)
		testkit.Equal(t, os.IsNotExist(err), true, path)
	}
}

// What is kept and is under the name of another object is lost, and nothing else is.
func TestAKeptObjectOfAnotherHashIsLostAlone(t *testing.T) {
	w, blob := keptWorld(t)
	lost := testkit.Must(w.repo.Kept(t.Context()))(t)[0].Name
	w.set("refs/heads/main", w.chain(2, "newest", w.git(w.origin, "rev-parse", "main~2")))
	w.update()
	kept := testkit.Must(w.repo.Kept(t.Context()))(t)
	testkit.Equal(t, len(kept), 2)
	w.swap(w.repo.Dir, blob)
	aside := filepath.Join(t.TempDir(), "aside")
	mended, err := w.repo.Mend(t.Context(), w.remote, aside, barerepo.Options{Now: w.now})
	testkit.OK(t, err)
	testkit.Diff(t, mended.Lost, []string{lost})
	testkit.Equal(t, mended.Aside, aside)
	testkit.Diff(t, testkit.Must(w.repo.Kept(t.Context()))(t), kept[1:])
	testkit.Must(os.Lstat(aside))(t)
	_, err = w.repo.At(t.Context(), kept[0].Time.Add(-time.Second), barerepo.Remembered{})
	testkit.ErrorIs(t, err, barerepo.ErrHistoryLost)
	testkit.ErrorContains(t, err, "refs/heads/main was at ")
	testkit.Must(w.repo.At(t.Context(), kept[1].Time.Add(-time.Second), barerepo.Remembered{}))(t)
	w.equal()
}

// Whatever one file of a mirror has become, what the others know of the history is brought over.
func TestOneDamagedFileCostsNoHistory(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"no HEAD":              func(dir string) error { return os.Remove(filepath.Join(dir, "HEAD")) },
		"no packed-refs":       func(dir string) error { return os.Remove(filepath.Join(dir, "packed-refs")) },
		"no config":            func(dir string) error { return os.Remove(filepath.Join(dir, "config")) },
		"a config of zeros":    func(dir string) error { return overwrite(dir, "config", "\x00\x00\x00\x00") },
		"a config of rubbish":  func(dir string) error { return overwrite(dir, "config", "[core\n<<<") },
		"rubbish in its refs":  func(dir string) error { return overwrite(dir, "packed-refs", "what is that\n") },
		"half of packed-refs":  func(dir string) error { return halve(filepath.Join(dir, "packed-refs")) },
		"rubbish in a branch":  func(dir string) error { return overwrite(dir, "refs/heads/main", "what is that\n") },
		"no objects/info":      func(dir string) error { return os.RemoveAll(filepath.Join(dir, "objects", "info")) },
		"rubbish in its HEAD":  func(dir string) error { return overwrite(dir, "HEAD", "what is that\n") },
		"a directory for HEAD": func(dir string) error { return becomeDirectory(filepath.Join(dir, "HEAD")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			base := w.chain(2, "base")
			w.set("refs/heads/main", base)
			w.update()
			w.set("refs/heads/main", w.chain(2, "old", base))
			w.update()
			before := w.now.Add(time.Minute) // when main was what is kept since
			w.set("refs/heads/main", w.chain(2, "new", base))
			w.update()
			was := testkit.Must(w.repo.At(t.Context(), before, barerepo.Remembered{}))(t)
			if name != "rubbish in a branch" && name != "no HEAD" { // what is kept is packed, too
				w.git(w.repo.Dir, "pack-refs", "--all")
			}
			kept := testkit.Must(w.repo.Kept(t.Context()))(t)
			testkit.OK(t, damage(w.repo.Dir))
			_, err := w.repo.Mend(t.Context(), w.remote, filepath.Join(t.TempDir(), "aside"),
				barerepo.Options{Now: w.now, Identity: "1"})
			testkit.OK(t, err)
			testkit.Diff(t, testkit.Must(w.repo.Kept(t.Context()))(t), kept) // and nothing that was not
			testkit.Diff(t, testkit.Must(w.repo.At(t.Context(), before, barerepo.Remembered{}))(t), was)
			w.equal()
		})
	}
}

func overwrite(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600)
}

func halve(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()/2)
}

func becomeDirectory(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Mkdir(path, 0o700)
}

// Between the two renames of a mending the damaged mirror is at the place aside, with all it has.
func TestAMendingThatIsKilledLosesNothing(t *testing.T) {
	w, _ := keptWorld(t)
	kept := w.kept()
	aside := filepath.Join(filepath.Dir(w.repo.Dir), "aside.git")
	place := w.repo.Dir
	for _, step := range []string{"mended", "aside", "published"} {
		w.repo.SetFault(func(now string) {
			if now == step {
				panic("killed after " + step)
			}
		})
		func() {
			defer func() { testkit.Equal(t, recover() != nil, true, step) }()
			_, _ = w.repo.Mend(context.Background(), w.remote, aside, barerepo.Options{Now: w.now})
		}()
		w.repo.SetFault(nil)
		if _, err := os.Lstat(place); err != nil {
			testkit.Equal(t, step, "aside")
			testkit.OK(t, os.Rename(aside, place))
		}
		testkit.Diff(t, w.kept(), kept)
		testkit.OK(t, os.RemoveAll(aside))
	}
	mended, err := w.repo.Mend(context.Background(), w.remote, aside, barerepo.Options{Now: w.now})
	testkit.OK(t, err)
	testkit.Equal(t, len(mended.Lost), 0)
	testkit.Diff(t, w.kept(), kept)
	w.equal()
}

// Nobody who writes a manifest names a ref that git would not have, or that leads out of a repository.
func TestAnImageNamesNoRefThatLeadsElsewhere(t *testing.T) {
	id := strings.Repeat("1", 40)
	whole := barerepo.Image{Format: "sha1", Identity: "1", Head: "refs/heads/main",
		Refs: map[string]string{"refs/heads/main": id}}
	testkit.OK(t, whole.Check())
	names := []string{
		"", "main", "HEAD", "config", "refs/x", "/refs/heads/x", "/etc/passwd", "refs/heads/../../config",
		"../refs/heads/x",
		"refs/heads/..", "refs/heads/.x", "refs/heads/x/", "refs//heads/x", "refs/heads/x.lock", "refs/heads/a\nb",
		"refs/heads/a\x00b", "refs/heads/a\x1bb", "refs/heads/a\x7fb", "refs/heads/a b", `refs/heads/a\b`,
		"refs/heads/main/x",
		"refs/heads/" + strings.Repeat("x", 300),
	}
	for _, name := range names {
		image := whole
		image.Refs = map[string]string{"refs/heads/main": id, name: id}
		dir := filepath.Join(t.TempDir(), "x.git")
		r := &barerepo.Repository{Dir: dir, Git: gitcmd.Runner{Environ: os.Environ()}}
		testkit.ErrorIs(t, r.Restore(context.Background(), &image, nil), barerepo.ErrBundle, "%q", name)
		_, err := os.Lstat(dir)
		testkit.Equal(t, os.IsNotExist(err), true, "something was made for %q", name)
		if name == "" || name == "HEAD" || name == "refs/heads/main/x" {
			continue
		}
		image = whole
		image.Head = name
		testkit.Fails(t, image.Check(), "HEAD is %q", name)
		image = whole
		image.Journal = []barerepo.Entry{{Time: time.Now(), Ref: name, Old: id, New: id}}
		testkit.Fails(t, image.Check(), "the journal has %q", name)
	}
	for _, value := range []string{"", "x", strings.Repeat("0", 40), id + "\n", strings.Repeat("1", 64), "../" + id[3:]} {
		image := whole
		image.Refs = map[string]string{"refs/heads/main": value}
		testkit.Fails(t, image.Check(), "an ID that is %q", value)
	}
}

// Of whatever image is taken, no name is one of another file, or shows as another than it is.
func FuzzImage(f *testing.F) {
	id := strings.Repeat("1", 40)
	for _, name := range []string{"refs/heads/main", "refs/heads/../x", "/refs/heads/x", "refs/heads/a\\u0000b",
		"refs/tags/v1"} {
		f.Add([]byte(`{"object_format":"sha1","identity":"1","head":"` + name + `","refs":{"` + name + `":"` + id + `"},` +
			`"since":"2026-11-30T12:00:00Z","journal":[{"Time":"2026-11-30T12:00:00Z","Ref":"` + name + `","Old":"","New":"` +
			id + `"}]}`))
		f.Add([]byte(`{"object_format":"sha1","identity":"1","refs":{"` + name + `":"` + id + `"}}`))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var i barerepo.Image
		if json.Unmarshal(text, &i) != nil || i.Check() != nil {
			return
		}
		names := []string{}
		for name, id := range i.Refs {
			names = append(names, name)
			if len(strings.Trim(id, "0123456789abcdef")) > 0 {
				t.Errorf("%q is no ID", id)
			}
		}
		for _, e := range i.Journal {
			if e.Ref != "HEAD" {
				names = append(names, e.Ref)
			}
		}
		for _, name := range names {
			if !filepath.IsLocal(name) || filepath.Clean(name) != name || !strings.HasPrefix(name, "refs/") ||
				strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("%q was taken", name)
			}
		}
	})
}
