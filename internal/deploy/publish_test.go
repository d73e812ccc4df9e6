//go:build unix

package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

func TestDirectoryHasTheFilesOfTheCommitAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(g *Target) { g.Mode = mode })
			first := w.commit(map[string]string{"a": "1", "dir/b": "1", "dir/deep/c": "1", "gone": "1"})
			outcome := w.publish(first)
			if !outcome.Changed || outcome.Release.Commit != first || outcome.Fetched == 0 {
				t.Errorf("%+v", outcome)
			}
			testkit.Equal(t, w.shows(), "a: 1; dir/b: 1; dir/deep/c: 1; gone: 1")
			second, err := w.site.CommitEntries("deployment", githubtest.CommitOptions{Entries: []githubtest.Entry{
				{Path: "dir/b", Content: "2"}, {Path: "gone", Delete: true},
				{Path: "run", Mode: githubtest.Executable, Content: "#!/bin/sh"},
				{Path: "link", Mode: githubtest.Symlink, Content: "dir/b"},
			}})
			testkit.OK(t, err)
			outcome = w.publish(second)
			testkit.Equal(t, outcome.Release.Previous, first, "%+v", outcome.Release)
			testkit.Equal(t, w.shows(), "a: 1; dir/b: 2; dir/deep/c: 1; link -> dir/b; run: #!/bin/sh")
			if info, err := os.Stat(filepath.Join(w.target.Dir, "run")); err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%v %v", info, err)
			}
			info := testkit.Must(os.Lstat(w.target.Dir))(t)
			testkit.Equal(t, (info.Mode()&os.ModeSymlink != 0), (mode == Link))
			w.clean()
		})
	}
}

func TestNothingNewIsNoProcessAndNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commit := w.commit(map[string]string{"a": "1"})
	w.publish(commit)
	w.requests()
	w.target.Git.Git = "/nonexistent/git"
	if outcome := w.publish(commit); outcome.Changed || outcome.Release.Commit != commit {
		t.Errorf("%+v", outcome)
	}
	testkit.Equal(t, w.requests(), 0, "requests")
}

func TestForcedPushIsNothingSpecial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1", "b": "1"}))
	orphan, err := w.site.CommitEntries("deployment",
		githubtest.CommitOptions{Orphan: true, Entries: []githubtest.Entry{{Path: "c", Content: "2"}}})
	testkit.OK(t, err)
	w.publish(orphan)
	testkit.Equal(t, w.shows(), "c: 2")
}

// What programs write into the published directory stays out of the next release, and
// so do their changes of its files.
func TestChangesInThePublishedDirectoryAreNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1", "dir/b": "1", "dir/c": "1", "replaced/x": "1", "sub/y": "1"}))
	for name, text := range map[string]string{"upload": "x", "dir/b": "changed in place", "dir/upload": "x"} {
		testkit.OK(t, os.WriteFile(filepath.Join(w.target.Dir, name), []byte(text), 0o644))
	}
	testkit.OK(t, os.Chmod(filepath.Join(w.target.Dir, "dir/c"), 0o755))
	// A directory that was replaced by a link leads out of the tree.
	outside := t.TempDir()
	testkit.OK(t, os.WriteFile(filepath.Join(outside, "x"), []byte("1"), 0o644))
	for _, name := range []string{"replaced", "sub"} {
		testkit.OK(t, os.RemoveAll(filepath.Join(w.target.Dir, name)))
	}
	testkit.OK(t, os.Symlink(outside, filepath.Join(w.target.Dir, "replaced")))
	w.publish(w.commit(map[string]string{"a": "2"}))
	testkit.Equal(t, w.shows(), "a: 2; dir/b: 1; dir/c: 1; replaced/x: 1; sub/y: 1")
	testkit.Equal(t, testkit.Must(os.Stat(filepath.Join(w.target.Dir, "dir/c")))(t).Mode()&0o111, 0)
}

func TestFailingCheckLeavesTheOldRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	w.target.Check = Command{Line: `test "$GHAPP_PREVIOUS" && cat a && echo "not good" >&2 && exit 3`}
	bad := w.commit(map[string]string{"a": "2"})
	err := w.refused(bad)
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, ErrCheck) || !strings.Contains(e.Output, "not good") {
		t.Errorf("%v", err)
	}
	w.target.Check = Command{
		Line: `test "$(cat "$GHAPP_DIR/a")" = 2 && test "$PWD" = "$GHAPP_DIR" && test $GHAPP_REPO = acme/site && test $GHAPP_REF = refs/heads/deployment && test $GHAPP_COMMIT = ` + bad}
	w.publish(bad)
}

func TestCheckThatHangsIsEndedWithAllItStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	marker := filepath.Join(t.TempDir(), "alive")
	w.target.Check = Command{Line: "(while :; do date > " + marker + "; sleep 0.05; done) & sleep 600",
		Timeout: 300 * time.Millisecond}
	err := w.refused(w.commit(map[string]string{"a": "1"}))
	if !errors.Is(err, ErrCheck) || !strings.Contains(err.Error(), "longer than 300ms") {
		t.Error(err)
	}
	_ = os.Remove(marker)
	time.Sleep(200 * time.Millisecond)
	testkit.Fails(t, testkit.ErrorOf(os.Stat(marker)), "something that the check started is still there")
}

func TestCommandAfterwardsIsRetriedAndTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	count := filepath.Join(t.TempDir(), "count")
	w.target.Exec = Command{Line: "echo x >> " + count + "; test $(wc -l < " + count + ") -ge 3",
		Tries: 2, Pause: time.Millisecond}
	commit := w.commit(map[string]string{"a": "1"})
	outcome, err := w.target.Publish(t.Context(), w.want(commit))
	if !errors.Is(err, ErrExec) || outcome == nil || !outcome.Changed || w.shows() != "a: 1" {
		t.Fatalf("%+v %v", outcome, err)
	}
	testkit.Equal(t, w.published().Exec, execFailed)
	w.requests()
	if outcome := w.publish(commit); outcome.Changed || w.requests() > 0 {
		t.Errorf("%+v", outcome)
	}
	if text, _ := os.ReadFile(count); string(text) != "x\nx\nx\n" {
		t.Errorf("%q", text)
	}
	if r := w.published(); r.Exec != execDone || r.ExecFailures != 0 || !r.ExecFailedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	w.publish(commit) // and now it is well
	if text, _ := os.ReadFile(count); string(text) != "x\nx\nx\n" {
		t.Errorf("%q", text)
	}
}

// Whoever comes by every minute, as cron does, is told each time that the command has
// failed, and runs it after growing pauses.
// A commit that cannot be published, or a server that is away, is no reason to leave what is
// published without its command.
func TestCommandIsTriedAgainWhileNothingNewCanBePublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mended := filepath.Join(t.TempDir(), "mended")
	w.target.Exec = Command{Line: "test -e " + mended}
	if _, err := w.target.Publish(t.Context(), w.want(w.commit(map[string]string{"a": "1"}))); !errors.Is(err, ErrExec) {
		t.Fatal(err)
	}
	w.target.Check = Command{Line: "exit 1"}
	worse := w.want(w.commit(map[string]string{"a": "2"}))
	tries := map[string]func(){
		"a commit whose check fails": func() {
			testkit.ErrorIs(t, testkit.ErrorOf(w.target.Publish(t.Context(), worse)), ErrCheck, "the check")
		},
		"a server that is away": func() { _ = w.target.RunPendingExec(t.Context()) },
	}
	for name, try := range tries {
		r := w.published()
		r.Exec, r.ExecFailures, r.ExecFailedAt = execFailed, 1, time.Now().UTC()
		testkit.OK(t, w.target.save(r))
		testkit.OK(t, os.WriteFile(mended, nil, 0o600))
		if try(); !w.published().ExecFailed() {
			t.Errorf("%s: it did not wait", name)
		}
		r.ExecFailedAt = r.ExecFailedAt.Add(-time.Minute)
		testkit.OK(t, w.target.save(r))
		if try(); w.published().execUnfinished() {
			t.Errorf("%s: it was not tried again", name)
		}
	}
	testkit.Equal(t, w.shows(), "a: 1", "it shows")
}

func TestFailedCommandIsTriedAgainAfterGrowingPauses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	count := filepath.Join(t.TempDir(), "count")
	w.target.Exec = Command{Line: "echo x >> " + count + "; exit 3"}
	want := w.want(w.commit(map[string]string{"a": "1"}))
	want.Patient = true
	runs := func() int {
		text, _ := os.ReadFile(count)
		return strings.Count(string(text), "x")
	}
	pass := func(runsThen int) {
		t.Helper()
		if _, err := w.target.Publish(t.Context(), want); !errors.Is(err, ErrExec) || runs() != runsThen {
			t.Errorf("%v; it has run %d times, want %d", err, runs(), runsThen)
		}
	}
	// ago has the last failure lie back for as long as the pause, and a little less.
	ago := func(pause time.Duration) {
		t.Helper()
		r := w.published()
		testkit.Equal(t, r.ExecRetryAt().Sub(r.ExecFailedAt), pause, "after %d failures the pause", r.ExecFailures)
		r.ExecFailedAt = r.ExecFailedAt.Add(10*time.Second - pause)
		testkit.OK(t, w.target.save(r))
		pass(r.ExecFailures)
		r.ExecFailedAt = r.ExecFailedAt.Add(-10 * time.Second)
		testkit.OK(t, w.target.save(r))
		pass(r.ExecFailures + 1)
	}
	pass(1)
	for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute,
		15 * time.Minute, 15 * time.Minute} {
		ago(pause)
	}
	if _, err := w.target.Publish(t.Context(), w.want(want.Commit)); !errors.Is(err, ErrExec) || runs() != 9 {
		t.Errorf("who is not patient has it run: %v, %d", err, runs())
	}
	// What is to be published next does not wait for it.
	want = w.want(w.commit(map[string]string{"a": "2"}))
	want.Patient = true
	pass(10)
	testkit.Equal(t, w.shows(), "a: 2")
	testkit.Equal(t, w.published().ExecFailures, 1)
	w.target.Exec.Line = "true"
	want.Patient = false
	testkit.Must(w.target.Publish(t.Context(), want))(t)
}

func TestFailedCommandAfterARollbackIsTriedAgainToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	commit := w.commit(map[string]string{"a": "2"})
	w.publish(commit)
	w.target.Exec = Command{Line: "exit 3"}
	if _, err := w.target.Rollback(t.Context(), "", Refuse); !errors.Is(err, ErrExec) {
		t.Fatal(err)
	}
	testkit.ErrorIs(t, testkit.ErrorOf(w.target.Publish(t.Context(), w.want(commit))), ErrExec)
	w.target.Exec.Line = "true"
	_, err := w.target.Publish(t.Context(), w.want(commit))
	if _, held := errors.AsType[*HeldError](err); !held || w.published().Exec != execDone {
		t.Errorf("%v, %+v", err, w.published())
	}
}

func TestCommandsGetNoSecretOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.target.Environ = append(w.target.Environ, "GHAPP_PRIVATE_KEY=canary-1", "GHAPP_WEBHOOK_SECRET=canary-2",
		"GHAPP_AGENT_SOCK=canary-3", "OTHER=stays")
	out := filepath.Join(t.TempDir(), "environ")
	w.target.Check = Command{Line: "env > " + out}
	w.target.Exec = Command{Line: "env >> " + out}
	w.publish(w.commit(map[string]string{"a": "1"}))
	text, err := os.ReadFile(out)
	if err != nil || strings.Contains(string(text), "canary") || strings.Count(string(text), "OTHER=stays") != 2 ||
		strings.Count(string(text), "GHAPP_COMMIT=") != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestOnlySoManyReleasesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Keep = 2 })
	for _, text := range []string{"1", "2", "3", "4"} {
		w.publish(w.commit(map[string]string{"a": text}))
	}
	list := testkit.Must(w.target.list())(t)
	testkit.Equal(t, len(list), 2)
	if names, _ := entries(w.target.releases()); len(names) != 2 {
		t.Errorf("%q", names)
	}
}

func TestSomethingElseInThePlaceIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(dir string) error{
		"a directory with files": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
		},
		"a file":                     func(dir string) error { return os.WriteFile(dir, []byte("x"), 0o644) },
		"a link elsewhere":           func(dir string) error { return os.Symlink("/etc", dir) },
		"a link out of the releases": func(dir string) error { return os.Symlink(".site.ghapp/releases/../../x", dir) },
	} {
		for _, mode := range []Mode{Link, Directory} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(g *Target) { g.Mode = mode })
				testkit.OK(t, make(w.target.Dir))
				before, err := os.Lstat(w.target.Dir)
				testkit.OK(t, err)
				_, err = w.target.Publish(t.Context(), w.want(w.commit(map[string]string{"a": "1"})))
				testkit.ErrorIs(t, err, ErrForeign)
				after, err := os.Lstat(w.target.Dir)
				if err != nil || !os.SameFile(before, after) {
					t.Error("it was replaced")
				}
			})
		}
	}
}

func TestEmptyDirectoryIsTaken(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		w := newWorld(t, func(g *Target) { g.Mode = mode })
		testkit.OK(t, os.Mkdir(w.target.Dir, 0o755))
		w.publish(w.commit(map[string]string{"a": "1"}))
		testkit.Equal(t, w.shows(), "a: 1")
	}
}

func TestWhoeverWaitsForTheLockIsToldForWhom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unlock := testkit.Must(w.target.lock(t.Context(), 0))(t)
	defer unlock()
	testkit.ErrorIs(t, testkit.ErrorOf(w.target.lock(t.Context(), wait.Patience+time.Second)), ErrBusy)
	testkit.Contains(t, w.log.String(), "waiting for another process", fmt.Sprintf("process %d, since 20", os.Getpid()))
}

func TestTwoAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unlock, err := w.target.lock(t.Context(), 0)
	testkit.OK(t, err)
	_, err = w.target.lock(t.Context(), 0)
	if by := fmt.Sprintf("process %d, since 20", os.Getpid()); !errors.Is(err, ErrBusy) ||
		!strings.Contains(err.Error(), by) {
		t.Errorf("%v, want it to name %q", err, by)
	}
	commit := w.commit(map[string]string{"a": "1"})
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := w.target.Publish(t.Context(), w.want(commit))
			done <- err
		}()
	}
	time.Sleep(50 * time.Millisecond)
	unlock()
	for range 2 {
		testkit.OK(t, <-done)
	}
	testkit.Equal(t, len(testkit.Must(w.target.list())(t)), 1, "releases")
}

func TestAnotherMakeupIsBuiltAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commit := w.commit(map[string]string{"docs/a": "1", "src/b": "1", "docs*": "1", "top": "1"})
	w.publish(commit)
	w.target.Sparse = []string{"docs", "top"}
	w.publish(commit)
	testkit.Equal(t, w.shows(), "docs/a: 1; top: 1")
	w.publish(w.commit(map[string]string{"docs/a": "2", "src/b": "2"}))
	testkit.Equal(t, w.shows(), "docs/a: 2; top: 1")
	w.target.Sparse = []string{"docs*"}
	w.publish(w.commit(map[string]string{"src/b": "3"}))
	testkit.Equal(t, w.shows(), "docs*: 1")
	w.target.Sparse = nil
	w.publish(w.commit(map[string]string{"src/b": "4"}))
	testkit.Equal(t, w.shows(), "docs*: 1; docs/a: 2; src/b: 4; top: 1")
}

func TestFilterLeavesOutWhatIsNotWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Filter, g.Sparse = "blob:none", []string{"docs"} })
	w.publish(w.commit(map[string]string{"docs/a": "1", "big": strings.Repeat("x", 1<<20)}))
	testkit.Equal(t, w.shows(), "docs/a: 1")
	if size := w.target.mainStore("").size(); size > 100<<10 {
		t.Errorf("%d bytes were fetched", size)
	}
	w.publish(w.commit(map[string]string{"docs/a": "2"}))
	testkit.Equal(t, w.shows(), "docs/a: 2")
}

func TestCommitThatIsGoneIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	err := w.refused(strings.Repeat("12", 20))
	testkit.Contains(t, testkit.ErrorAs[*gitcmd.Error](t, err).Error(), "not our ref")
}

func TestDamagedStoreIsFetchedAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, store string){
		"pack gone": func(t *testing.T, store string) {
			names, _ := filepath.Glob(filepath.Join(store, "objects/pack/*.pack"))
			for _, name := range names {
				testkit.OK(t, os.Remove(name))
			}
		},
		"pack overwritten": func(t *testing.T, store string) {
			names, _ := filepath.Glob(filepath.Join(store, "objects/pack/*.pack"))
			for _, name := range names {
				info, _ := os.Stat(name)
				_ = os.Chmod(name, 0o600)
				file := testkit.Must(os.OpenFile(name, os.O_WRONLY, 0))(t)
				testkit.Must(file.WriteAt([]byte(strings.Repeat("x", int(info.Size())-60)), 40))(t)
				_ = file.Close()
			}
		},
		"all gone":  func(t *testing.T, store string) { _ = os.RemoveAll(store) },
		"HEAD gone": func(t *testing.T, store string) { _ = os.Remove(filepath.Join(store, "HEAD")) },
		"config garbled": func(t *testing.T, store string) {
			_ = os.WriteFile(filepath.Join(store, "config"), []byte("[core\n"), 0o600)
		},
		"locked": func(t *testing.T, store string) {
			for _, name := range []string{"shallow.lock", "config.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"} {
				_ = os.WriteFile(filepath.Join(store, name), nil, 0o600)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.publish(w.commit(map[string]string{"a": "1", "b": strings.Repeat("b\n", 2000)}))
			damage(t, w.target.mainStore("").dir)
			w.publish(w.commit(map[string]string{"a": "2"}))
			if got := w.shows(); !strings.HasPrefix(got, "a: 2; b: b") {
				t.Error(got)
			}
			w.clean()
		})
	}
}

func TestStoresArePackedAndForgetWhatIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Keep = 2 })
	var last *Release
	for i := range 5 {
		w.publish(w.commit(map[string]string{"a": strings.Repeat("x", i+1)}))
		last = w.published()
	}
	list, _ := w.target.list()
	kept := map[string]bool{}
	for _, r := range list {
		kept[r.ID] = true
	}
	w.target.gc(t.Context(), kept)
	packs, _ := filepath.Glob(filepath.Join(w.target.mainStore("").dir, "objects/pack/*.pack"))
	if len(packs) != 1 {
		t.Errorf("%d packs\n%s", len(packs), w.log)
	}
	out, err := w.target.mainStore("").git().Output(t.Context(), gitcmd.Scope{}, "for-each-ref", "--format=%(refname)")
	if refs := strings.Fields(string(out)); err != nil || len(refs) != 2 || refs[1] != refOf(last.ID) {
		t.Errorf("%q %v", refs, err)
	}
	w.publish(w.commit(map[string]string{"b": "1"}))
}
