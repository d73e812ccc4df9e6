//go:build unix

package barerepo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A link of another user's in a repository leads nothing that is written elsewhere.
func TestLinksOfOthersInARepositoryAreNotFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a link that is another user's")
	}
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(1, "base"))
	w.update()
	for _, name := range []string{"refs/heads", "refs/tags", "refs", "objects", "HEAD"} {
		path, elsewhere := filepath.Join(w.repo.Dir, name), filepath.Join(t.TempDir(), "x")
		there := os.Rename(path, elsewhere)
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testkit.OK(t, os.Symlink(elsewhere, path))
		testkit.OK(t, os.Lchown(path, 12345, 12345))
		_, err := w.tryUpdate(barerepo.Options{})
		testkit.Equal(t, errors.As(err, new(*private.Error)), true, "%s: %v", name, err)
		testkit.OK(t, os.Remove(path))
		if there == nil {
			testkit.OK(t, os.Rename(elsewhere, path))
		}
	}
	w.update()
}

// A pipe in the place of a file is damage, and nobody waits for its other end.
func TestAPipeInARepositoryStopsNobody(t *testing.T) {
	w, _ := keptWorld(t)
	kept := w.kept()
	for _, name := range []string{"packed-refs", "HEAD", "config"} {
		path := filepath.Join(w.repo.Dir, name)
		testkit.OK(t, os.Remove(path))
		testkit.OK(t, syscall.Mkfifo(path, 0o600))
		testkit.Fails(t, testkit.ErrorOf(w.tryUpdate(barerepo.Options{})), name)
		_, err := w.repo.Mend(t.Context(), w.remote, filepath.Join(t.TempDir(), "aside"), barerepo.Options{Now: w.now})
		testkit.OK(t, err)
		testkit.Diff(t, w.kept(), kept)
	}
	testkit.OK(t, os.Rename(filepath.Join(w.repo.Dir, "ghapp-journal"), filepath.Join(t.TempDir(), "x")))
	testkit.OK(t, syscall.Mkfifo(filepath.Join(w.repo.Dir, "ghapp-journal"), 0o600))
	testkit.Fails(t, testkit.ErrorOf(w.repo.At(t.Context(), w.now, barerepo.Remembered{})))
}

// A mirror without its HEAD is ours, and damaged, as long as its configuration says so.
func TestWhatIsLeftOfAMirrorIsDamaged(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(1, "base"))
	testkit.Must(w.tryUpdate(barerepo.Options{Identity: "7"}))(t)
	testkit.OK(t, w.repo.CheckTips(t.Context()))
	testkit.OK(t, os.Remove(filepath.Join(w.repo.Dir, "HEAD")))
	testkit.ErrorIs(t, testkit.ErrorOf(w.tryUpdate(barerepo.Options{})), barerepo.ErrDamaged)
	testkit.OK(t, os.WriteFile(filepath.Join(w.repo.Dir, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
	testkit.OK(t, os.RemoveAll(filepath.Join(w.repo.Dir, "objects", "pack")))
	testkit.ErrorIs(t, w.repo.CheckTips(t.Context()), barerepo.ErrDamaged)
	testkit.OK(t, os.WriteFile(filepath.Join(w.repo.Dir, "config"), []byte("[core\n"), 0o600))
	testkit.ErrorIs(t, w.repo.CheckTips(t.Context()), barerepo.ErrDamaged)
}

// What is never made here has git and us neither wait for ever nor read or write elsewhere.
func TestWhatWasPlantedInARepositoryIsRefused(t *testing.T) {
	w := newWorld(t)
	w.set("refs/heads/main", w.chain(1, "base"))
	w.update()
	pipe := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	link := func(path string) error { return os.Symlink(t.TempDir(), path) }
	file := func(path string) error { return os.WriteFile(path, []byte(t.TempDir()+"\n"), 0o600) }
	for name, plant := range map[string]func(string) error{
		"objects/info/alternates": pipe, "objects/info/http-alternates": file, "shallow": pipe, "lfs": link,
		"objects/pack/x": link, "objects/info/commit-graph": pipe, "refs/heads/x": pipe, "refs/tags/y": link,
		"objects/info/alternates ": file,
	} {
		path := filepath.Join(w.repo.Dir, strings.TrimSpace(name))
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testkit.OK(t, plant(path))
		testkit.ErrorIs(t, testkit.ErrorOf(w.tryUpdate(barerepo.Options{})), barerepo.ErrForeign, name)
		testkit.ErrorIs(t, w.repo.Fsck(t.Context()), barerepo.ErrForeign, name)
		testkit.ErrorIs(t, w.repo.CheckTips(t.Context()), barerepo.ErrForeign, name)
		to := filepath.Join(t.TempDir(), "made")
		shot := testkit.Must(w.repo.Snapshot(t.Context()))(t)
		testkit.ErrorIs(t, w.repo.Export(t.Context(), barerepo.Export{Dir: to, Refs: shot}), barerepo.ErrForeign, name)
		testkit.OK(t, os.Remove(path))
	}
	testkit.OK(t, w.repo.Fsck(t.Context()))
	w.update()
}
