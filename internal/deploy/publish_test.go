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
			if got := w.shows(); got != "a: 1; dir/b: 1; dir/deep/c: 1; gone: 1" {
				t.Error(got)
			}
			second, err := w.site.CommitEntries("deployment", githubtest.CommitOptions{Entries: []githubtest.Entry{
				{Path: "dir/b", Content: "2"}, {Path: "gone", Delete: true}, {Path: "run", Mode: githubtest.Executable, Content: "#!/bin/sh"},
				{Path: "link", Mode: githubtest.Symlink, Content: "dir/b"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			outcome = w.publish(second)
			if outcome.Release.Previous != first {
				t.Errorf("%+v", outcome.Release)
			}
			if got := w.shows(); got != "a: 1; dir/b: 2; dir/deep/c: 1; link -> dir/b; run: #!/bin/sh" {
				t.Error(got)
			}
			if info, err := os.Stat(filepath.Join(w.target.Dir, "run")); err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%v %v", info, err)
			}
			info, err := os.Lstat(w.target.Dir)
			if err != nil || (info.Mode()&os.ModeSymlink != 0) != (mode == Link) {
				t.Errorf("%v %v", info, err)
			}
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
	if n := w.requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestForcedPushIsNothingSpecial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1", "b": "1"}))
	orphan, err := w.site.CommitEntries("deployment", githubtest.CommitOptions{Orphan: true, Entries: []githubtest.Entry{{Path: "c", Content: "2"}}})
	if err != nil {
		t.Fatal(err)
	}
	w.publish(orphan)
	if got := w.shows(); got != "c: 2" {
		t.Error(got)
	}
}

// What programs write into the published directory stays out of the next release, and
// so do their changes of its files.
func TestChangesInThePublishedDirectoryAreNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1", "dir/b": "1", "dir/c": "1", "replaced/x": "1", "sub/y": "1"}))
	for name, text := range map[string]string{"upload": "x", "dir/b": "changed in place", "dir/upload": "x"} {
		if err := os.WriteFile(filepath.Join(w.target.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(w.target.Dir, "dir/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A directory that was replaced by a link leads out of the tree.
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"replaced", "sub"} {
		if err := os.RemoveAll(filepath.Join(w.target.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(w.target.Dir, "replaced")); err != nil {
		t.Fatal(err)
	}
	w.publish(w.commit(map[string]string{"a": "2"}))
	if got := w.shows(); got != "a: 2; dir/b: 1; dir/c: 1; replaced/x: 1; sub/y: 1" {
		t.Error(got)
	}
	if info, err := os.Stat(filepath.Join(w.target.Dir, "dir/c")); err != nil || info.Mode()&0o111 != 0 {
		t.Errorf("%v %v", info, err)
	}
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
	w.target.Check = Command{Line: `test "$(cat "$GHAPP_DIR/a")" = 2 && test "$PWD" = "$GHAPP_DIR" && test $GHAPP_REPO = acme/site && test $GHAPP_REF = refs/heads/deployment && test $GHAPP_COMMIT = ` + bad}
	w.publish(bad)
}

func TestCheckThatHangsIsEndedWithAllItStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	marker := filepath.Join(t.TempDir(), "alive")
	w.target.Check = Command{Line: "(while :; do date > " + marker + "; sleep 0.05; done) & sleep 600", Timeout: 300 * time.Millisecond}
	err := w.refused(w.commit(map[string]string{"a": "1"}))
	if !errors.Is(err, ErrCheck) || !strings.Contains(err.Error(), "longer than 300ms") {
		t.Error(err)
	}
	_ = os.Remove(marker)
	time.Sleep(200 * time.Millisecond)
	if _, err := os.Stat(marker); err == nil {
		t.Error("something that the check started is still there")
	}
}

func TestCommandAfterwardsIsRetriedAndTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	count := filepath.Join(t.TempDir(), "count")
	w.target.Exec = Command{Line: "echo x >> " + count + "; test $(wc -l < " + count + ") -ge 3", Tries: 2, Pause: time.Millisecond}
	commit := w.commit(map[string]string{"a": "1"})
	outcome, err := w.target.Publish(t.Context(), w.want(commit))
	if !errors.Is(err, ErrExec) || outcome == nil || !outcome.Changed || w.shows() != "a: 1" {
		t.Fatalf("%+v %v", outcome, err)
	}
	if r := w.published(); r.Exec != execFailed {
		t.Errorf("%+v", r)
	}
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
			if _, err := w.target.Publish(t.Context(), worse); !errors.Is(err, ErrCheck) {
				t.Errorf("the check: %v", err)
			}
		},
		"a server that is away": func() { _ = w.target.RunPendingExec(t.Context()) },
	}
	for name, try := range tries {
		r := w.published()
		r.Exec, r.ExecFailures, r.ExecFailedAt = execFailed, 1, time.Now().UTC()
		if err := w.target.save(r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(mended, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if try(); !w.published().ExecFailed() {
			t.Errorf("%s: it did not wait", name)
		}
		r.ExecFailedAt = r.ExecFailedAt.Add(-time.Minute)
		if err := w.target.save(r); err != nil {
			t.Fatal(err)
		}
		if try(); w.published().execUnfinished() {
			t.Errorf("%s: it was not tried again", name)
		}
	}
	if got := w.shows(); got != "a: 1" {
		t.Errorf("it shows %s", got)
	}
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
		if got := r.ExecRetryAt().Sub(r.ExecFailedAt); got != pause {
			t.Errorf("after %d failures the pause is %s, want %s", r.ExecFailures, got, pause)
		}
		r.ExecFailedAt = r.ExecFailedAt.Add(10*time.Second - pause)
		if err := w.target.save(r); err != nil {
			t.Fatal(err)
		}
		pass(r.ExecFailures)
		r.ExecFailedAt = r.ExecFailedAt.Add(-10 * time.Second)
		if err := w.target.save(r); err != nil {
			t.Fatal(err)
		}
		pass(r.ExecFailures + 1)
	}
	pass(1)
	for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		ago(pause)
	}
	if _, err := w.target.Publish(t.Context(), w.want(want.Commit)); !errors.Is(err, ErrExec) || runs() != 9 {
		t.Errorf("who is not patient has it run: %v, %d", err, runs())
	}
	// What is to be published next does not wait for it.
	want = w.want(w.commit(map[string]string{"a": "2"}))
	want.Patient = true
	pass(10)
	if got := w.shows(); got != "a: 2" {
		t.Error(got)
	}
	if r := w.published(); r.ExecFailures != 1 {
		t.Errorf("%+v", r)
	}
	w.target.Exec.Line = "true"
	want.Patient = false
	if _, err := w.target.Publish(t.Context(), want); err != nil {
		t.Error(err)
	}
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
	if _, err := w.target.Publish(t.Context(), w.want(commit)); !errors.Is(err, ErrExec) {
		t.Error(err)
	}
	w.target.Exec.Line = "true"
	_, err := w.target.Publish(t.Context(), w.want(commit))
	if _, held := errors.AsType[*HeldError](err); !held || w.published().Exec != execDone {
		t.Errorf("%v, %+v", err, w.published())
	}
}

func TestCommandsGetNoSecretOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.target.Environ = append(w.target.Environ, "GHAPP_PRIVATE_KEY=canary-1", "GHAPP_WEBHOOK_SECRET=canary-2", "GHAPP_AGENT_SOCK=canary-3", "OTHER=stays")
	out := filepath.Join(t.TempDir(), "environ")
	w.target.Check = Command{Line: "env > " + out}
	w.target.Exec = Command{Line: "env >> " + out}
	w.publish(w.commit(map[string]string{"a": "1"}))
	text, err := os.ReadFile(out)
	if err != nil || strings.Contains(string(text), "canary") || strings.Count(string(text), "OTHER=stays") != 2 || strings.Count(string(text), "GHAPP_COMMIT=") != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestOnlySoManyReleasesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Keep = 2 })
	for _, text := range []string{"1", "2", "3", "4"} {
		w.publish(w.commit(map[string]string{"a": text}))
	}
	list, err := w.target.list()
	if err != nil || len(list) != 2 {
		t.Errorf("%d releases, %v", len(list), err)
	}
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
				if err := make(w.target.Dir); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(w.target.Dir)
				if err != nil {
					t.Fatal(err)
				}
				_, err = w.target.Publish(t.Context(), w.want(w.commit(map[string]string{"a": "1"})))
				if !errors.Is(err, ErrForeign) {
					t.Error(err)
				}
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
		if err := os.Mkdir(w.target.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w.publish(w.commit(map[string]string{"a": "1"}))
		if got := w.shows(); got != "a: 1" {
			t.Error(got)
		}
	}
}

func TestTwoAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unlock, err := w.target.lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.target.lock(t.Context(), 0)
	if by := fmt.Sprintf("process %d, since 20", os.Getpid()); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), by) {
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
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if list, err := w.target.list(); err != nil || len(list) != 1 {
		t.Errorf("%d releases, %v", len(list), err)
	}
}

func TestAnotherMakeupIsBuiltAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commit := w.commit(map[string]string{"docs/a": "1", "src/b": "1", "docs*": "1", "top": "1"})
	w.publish(commit)
	w.target.Sparse = []string{"docs", "top"}
	w.publish(commit)
	if got := w.shows(); got != "docs/a: 1; top: 1" {
		t.Error(got)
	}
	w.publish(w.commit(map[string]string{"docs/a": "2", "src/b": "2"}))
	if got := w.shows(); got != "docs/a: 2; top: 1" {
		t.Error(got)
	}
	w.target.Sparse = []string{"docs*"}
	w.publish(w.commit(map[string]string{"src/b": "3"}))
	if got := w.shows(); got != "docs*: 1" {
		t.Error(got)
	}
	w.target.Sparse = nil
	w.publish(w.commit(map[string]string{"src/b": "4"}))
	if got := w.shows(); got != "docs*: 1; docs/a: 2; src/b: 4; top: 1" {
		t.Error(got)
	}
}

func TestFilterLeavesOutWhatIsNotWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Filter, g.Sparse = "blob:none", []string{"docs"} })
	w.publish(w.commit(map[string]string{"docs/a": "1", "big": strings.Repeat("x", 1<<20)}))
	if got := w.shows(); got != "docs/a: 1" {
		t.Error(got)
	}
	if size := w.target.mainStore("").size(); size > 100<<10 {
		t.Errorf("%d bytes were fetched", size)
	}
	w.publish(w.commit(map[string]string{"docs/a": "2"}))
	if got := w.shows(); got != "docs/a: 2" {
		t.Error(got)
	}
}

func TestCommitThatIsGoneIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	err := w.refused(strings.Repeat("12", 20))
	if e, ok := errors.AsType[*gitcmd.Error](err); !ok || !strings.Contains(e.Error(), "not our ref") {
		t.Error(err)
	}
}

func TestDamagedStoreIsFetchedAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, store string){
		"pack gone": func(t *testing.T, store string) {
			names, _ := filepath.Glob(filepath.Join(store, "objects/pack/*.pack"))
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		},
		"pack overwritten": func(t *testing.T, store string) {
			names, _ := filepath.Glob(filepath.Join(store, "objects/pack/*.pack"))
			for _, name := range names {
				info, _ := os.Stat(name)
				_ = os.Chmod(name, 0o600)
				file, err := os.OpenFile(name, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := file.WriteAt([]byte(strings.Repeat("x", int(info.Size())-60)), 40); err != nil {
					t.Fatal(err)
				}
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
