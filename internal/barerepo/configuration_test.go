package barerepo_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A copy of a mirror may have come from anybody. What its configuration says has git start no program
// and ask nobody: git is not run with it.
func TestConfigurationOfSomebodyElseHasGitDoNothing(t *testing.T) {
	t.Parallel()
	w, _ := keptWorld(t)
	canary := filepath.Join(t.TempDir(), "ran")
	file := filepath.Join(w.repo.Dir, "config")
	own := testkit.Must(os.ReadFile(file))(t)
	program := "sh -c 'echo x >>" + canary + "' x"
	problem := map[bool]error{true: barerepo.ErrConfiguration, false: barerepo.ErrDamaged}
	understood := func(name string) bool {
		return !slices.Contains([]string{"one line", "long line", "old form", "quoted", "behind a mark"}, name)
	}
	for name, more := range map[string]string{
		"lazy fetch": "[extensions]\n\tpartialClone = evil\n[remote \"evil\"]\n\turl = ssh://evil/x\n\tpromisor = true\n" +
			"[core]\n\tsshCommand = " + program + "\n",
		"alternate refs": "[core]\n\talternateRefsCommand = " + program + "\n",
		"hook of gc":     "[gc]\n\trecentObjectsHook = " + program + "\n",
		"transfer agent": "[lfs]\n\tstandalonetransferagent = evil\n",
		"proxy":          "[http]\n\tproxy = http://127.0.0.1:1\n",
		"proxy of a URL": "[http \"https://github.com/acme/site.git\"]\n\tproxy =\n",
		"include":        "[include]\n\tpath = /tmp/evil\n",
		"one line":       "[gc] recentObjectsHook = x\n",
		"long line":      "[gc]\n\tauto = 0 \\\n\tx\n",
		"old form":       "[http.https://x]\n\tproxy = x\n",
		"quoted":         "[http \"a\\\"b\"]\n\tproxy = x\n",
		"large letters":  "[CORE]\n\tSSHCOMMAND = x\n",
		"behind a mark":  "\ufeff[core]\n\tsshCommand = x\n",
		"mixed section":  "[remote \"Origin\"]\n\tuploadpack = x\n",
	} {
		testkit.OK(t, os.WriteFile(file, append(own[:len(own):len(own)], more...), 0o600))
		shot, _ := w.repo.Snapshot(context.Background())
		for what, err := range map[string]error{
			"check":  w.repo.CheckFiles(),
			"fsck":   w.repo.Fsck(context.Background()),
			"upkeep": testkit.ErrorOf(w.repo.Maintain(context.Background(), barerepo.Maintenance{Prune: true})),
		} {
			testkit.ErrorIs(t, err, problem[understood(name)], "%s with %s", what, name)
		}
		if shot != nil {
			_ = w.repo.Export(context.Background(), barerepo.Export{Dir: filepath.Join(t.TempDir(), "x"), Refs: shot})
		}
		w.set("refs/heads/main", w.chain(1, name))
		_, err := w.tryUpdate(barerepo.Options{})
		testkit.ErrorIs(t, err, problem[understood(name)], "an update with %s", name)
	}
	if _, err := os.Lstat(canary); err == nil {
		t.Error("a program of the configuration ran")
	}
	testkit.OK(t, os.WriteFile(file, own, 0o600))
	borrowed := filepath.Join(w.repo.Dir, "objects", "info", "alternates")
	testkit.OK(t, os.MkdirAll(filepath.Dir(borrowed), 0o700))
	testkit.OK(t, os.WriteFile(borrowed, []byte("/elsewhere\n"), 0o600))
	testkit.ErrorIs(t, w.repo.CheckFiles(), barerepo.ErrForeign)
	testkit.OK(t, os.Remove(borrowed))
	// A line is added to the journal at each update that keeps something: not to a file elsewhere.
	tells, elsewhere := filepath.Join(w.repo.Dir, "ghapp-journal"), filepath.Join(t.TempDir(), "elsewhere")
	testkit.OK(t, os.Rename(tells, elsewhere))
	testkit.OK(t, os.Symlink(elsewhere, tells))
	testkit.ErrorIs(t, testkit.ErrorOf(w.tryUpdate(barerepo.Options{})), barerepo.ErrForeign)
	testkit.OK(t, os.Rename(elsewhere, tells))
	served := "# what others are served\n[uploadpack]\n\tallowFilter = true\n[transfer]\n\thideRefs = refs/ghapp\n" +
		"[pack]\n\twindow = 20\n; and no more\n[gitweb]\n\towner\n"
	testkit.OK(t, os.WriteFile(file, append(own[:len(own):len(own)], served...), 0o600))
	testkit.OK(t, w.repo.Fsck(context.Background()))
	w.update()
}
