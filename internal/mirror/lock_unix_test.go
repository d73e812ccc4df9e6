//go:build unix

package mirror

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// directory is one of mirrors that a Run has for itself.
func directory(t *testing.T) *Run {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	testkit.OK(t, occupy(dir))
	unlock, file, err := lock(t.Context(), dir)
	testkit.OK(t, err)
	t.Cleanup(unlock)
	r := &Run{Options: Options{Log: slog.New(slog.DiscardHandler), Opener: apps.New(apps.Options{})},
		dir: dir, store: StoreOf(dir), locked: file,
		calls: &atomic.Int64{}, free: free,
		state: &State{Host: "github.com", Installations: map[int64]*Installation{7: {ID: 7}}}}
	r.pending = pending{store: r.store, host: func() string { return "github.com" }, present: r.checkPresence}
	return r
}

// Who holds a lock is named while that may be true, and never one that has ended.
func TestNobodyIsNamedForALockWhoHasEnded(t *testing.T) {
	r := directory(t)
	again := func() diag.Report {
		_, _, err := lock(context.Background(), r.dir)
		report := diag.Explain(err)
		testkit.Equal(t, report.ExitCode, fault.Unreachable)
		testkit.Equal(t, errors.As(err, new(*BusyError)), true)
		return report
	}
	testkit.Contains(t, again().Message, "(process ")
	ended := exec.Command("true")
	testkit.OK(t, ended.Run())
	testkit.OK(t, os.WriteFile(lockPath(r.dir), []byte(signature(ended.Process.Pid)), 0o600))
	report := again()
	testkit.Equal(t, strings.Contains(report.Message, "process "+"1"), false, report.Message)
	testkit.Equal(t, strings.Contains(report.Message, "(process"), false, report.Message)
	testkit.Contains(t, report.Hint, "fuser -v ")
	elsewhere := strings.Replace(signature(ended.Process.Pid), hostname(), "elsewhere", 1)
	testkit.OK(t, os.WriteFile(lockPath(r.dir), []byte(elsewhere), 0o600))
	testkit.Contains(t, again().Message, " on elsewhere ")
}

func TestALockThatIsGivenBackNamesNobody(t *testing.T) {
	dir := t.TempDir()
	testkit.OK(t, occupy(dir))
	unlock, _, err := lock(t.Context(), dir)
	testkit.OK(t, err)
	testkit.Contains(t, string(testkit.Must(os.ReadFile(lockPath(dir)))(t)), "process ")
	unlock()
	testkit.Equal(t, string(testkit.Must(os.ReadFile(lockPath(dir)))(t)), "")
}

// A disk that is not mounted any more leaves an empty directory, or none: it is not filled anew.
func TestADirectoryThatVanishedIsNotFilledAgain(t *testing.T) {
	for name, vanish := range map[string]func(dir string) error{
		"moved away": func(dir string) error { return os.Rename(dir, dir+".mounted") },
		"replaced": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".mounted"), os.Mkdir(dir, 0o700))
		},
		"another's": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".mounted"), os.MkdirAll(filepath.Join(dir, own), 0o700),
				os.WriteFile(lockPath(dir), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := directory(t)
			testkit.OK(t, vanish(r.dir))
			report, err := r.Pass(t.Context(), Request{})
			testkit.ErrorContains(t, err, "is not the directory any more")
			testkit.Contains(t, diag.Explain(err).Hint, "mount its disk again")
			testkit.Equal(t, report.Mirrors, 0)
			r.pending.putPass(&LastPass{})
			testkit.ErrorContains(t, r.pending.write(0), "is not the directory any more")
			site := &site{}
			r.view.Store(&view{reachable: map[int64]reachable{1: {&Record{ID: 1}, site}}})
			report, err = r.Update(t.Context(), 1)
			testkit.OK(t, err)
			testkit.ErrorContains(t, report.Stopped, "is not the directory any more")
			tr := r.newPass(Request{}).transfers()
			testkit.OK(t, tr.do(t.Context(), &job{site: site, record: &Record{ID: 1, Name: "acme/site"}, code: true}))
			testkit.ErrorContains(t, tr.full.Load(), "is not the directory any more")
			r.made = []string{r.dir}
			if _, err := os.Lstat(r.store.Path); err == nil {
				t.Error("something was written")
			}
			// It is there again.
			testkit.OK(t, os.RemoveAll(r.dir))
			testkit.OK(t, os.Rename(r.dir+".mounted", r.dir))
			testkit.OK(t, r.pending.write(0))
			testkit.Equal(t, r.checkPresence() == nil, true)
		})
	}
}

// A pass that came to nothing is remembered, with how often, until one comes to its end.
func TestAPassThatFailedIsRemembered(t *testing.T) {
	r := directory(t)
	cause := &fault.ExitError{Code: fault.Refused, Err: errors.New("no"), Hint: "ask again"}
	for tries := 1; tries <= 2; tries++ {
		p := r.newPass(Request{})
		p.remember(cause)
		testkit.OK(t, r.pending.write(0))
		last := testkit.Must(r.store.Read())(t).LastPass
		testkit.Equal(t, last.Outcome, "failed")
		testkit.Equal(t, last.Failure.Message, "no")
		testkit.Equal(t, last.Failure.Hint, "ask again")
		testkit.Equal(t, last.Failure.Exit, fault.Refused)
		testkit.Equal(t, last.Failure.Tries, tries)
	}
	p := r.newPass(Request{})
	p.report.Stopped = cause
	p.remember(nil)
	testkit.Equal(t, r.state.LastPass.Failure.Tries, 3)
	p = r.newPass(Request{})
	p.remember(nil)
	testkit.OK(t, r.pending.write(0))
	last := testkit.Must(r.store.Read())(t).LastPass
	testkit.Equal(t, last.Outcome, "unchanged")
	testkit.Equal(t, last.Failure == nil, true)
}

// An owner of whom nothing can be mirrored is remembered with the pass, and since when, until that is well.
func TestAnOwnerThatFailedIsRemembered(t *testing.T) {
	r := directory(t)
	for tries := 1; tries <= 2; tries++ {
		p := r.newPass(Request{})
		p.failOwner("other", &fault.ExitError{Code: fault.Refused, Err: errors.New("no"), Hint: "install it"})
		p.remember(nil)
		testkit.OK(t, r.pending.write(0))
		last := testkit.Must(r.store.Read())(t).LastPass
		testkit.Equal(t, last.Failed, 1)
		testkit.Equal(t, len(last.Owners), 1)
		testkit.Equal(t, last.Owners[0].Account, "other")
		testkit.Equal(t, last.Owners[0].Failure.Hint, "install it")
		testkit.Equal(t, last.Owners[0].Failure.Tries, tries)
	}
	r.newPass(Request{}).remember(nil)
	testkit.Equal(t, len(r.state.LastPass.Owners), 0)
}

// A page tells of an owner that fails, and of a directory that vanished, before and after a pass noticed.
func TestThePageTellsOfOwnersAndDirectories(t *testing.T) {
	r := directory(t)
	k := &keeper{dir: r.dir, run: r, report: &Report{Failed: []Failed{
		{Account: "other", Err: errors.New("not installed")}, {Repository: "acme/site", Err: errors.New("no")}}}}
	list := k.shownFailures()
	testkit.Equal(t, len(list), 1)
	testkit.Equal(t, list[0].Name, "other")
	testkit.Equal(t, list[0].Failure.Message, "not installed")
	k.report, k.unended = nil, errors.New("the disk is nearly full")
	testkit.Equal(t, k.shownFailures()[0].Failure.Message, "the disk is nearly full")
	testkit.OK(t, os.Rename(r.dir, r.dir+".away"))
	testkit.Contains(t, k.shownFailures()[0].Failure.Message, "is not the directory any more that is kept")
}

// Nobody waits for the other end of a pipe, and what is no file is put aside as one that cannot be read.
func TestAPipeIsNoState(t *testing.T) {
	for _, make := range []func(string) error{
		func(path string) error { return syscall.Mkfifo(path, 0o600) },
		func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		s := StoreOf(t.TempDir())
		testkit.OK(t, os.MkdirAll(filepath.Dir(s.Path), 0o700))
		testkit.OK(t, make(s.Path))
		err := testkit.ErrorOf(s.Read())
		testkit.ErrorIs(t, err, ErrState)
		testkit.ErrorContains(t, err, "is no file")
	}
}

// Links of other users lead nobody's writing elsewhere, root's least of all.
func TestLinksOfOthersAreNotFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a link that is another user's")
	}
	dir, elsewhere := t.TempDir(), t.TempDir()
	link := func(path string) {
		testkit.OK(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700))
		testkit.OK(t, os.Symlink(elsewhere, filepath.Join(dir, path)))
	}
	link("mine")
	testkit.OK(t, checkLinks(dir, "mine/site.git"))
	link("acme/site.git")
	link("other")
	testkit.OK(t, checkLinks(dir, "acme/site.git"))
	testkit.OK(t, os.Lchown(filepath.Join(dir, "acme/site.git"), 12345, 12345))
	testkit.OK(t, os.Lchown(filepath.Join(dir, "other"), 12345, 12345))
	for _, path := range []string{"acme/site.git", "other/site.git", "other"} {
		err := checkLinks(dir, path)
		testkit.ErrorContains(t, err, "belongs to user 12345")
		testkit.Equal(t, diag.Explain(err).ExitCode, fault.Configuration)
	}
	r := &Record{ID: 1, Name: "other/site", Path: "acme/web.git"}
	testkit.OK(t, os.MkdirAll(filepath.Join(dir, r.Path), 0o700))
	p := &places{dir: dir, at: map[string]*Record{}, moved: func(*Record, string) {}}
	testkit.ErrorContains(t, p.move(r, r.wanted()), "belongs to user 12345")
	testkit.Equal(t, len(testkit.Must(os.ReadDir(elsewhere))(t)), 0)
}
