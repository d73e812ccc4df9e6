package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/tracer"
)

// scenario is something that is done to a directory, again and again.
type scenario struct {
	*world
	mode  Mode
	what  string // first, update, update by git, rollback
	root  string // all files are below it
	turns int
	begun string // the commit that is rolled back to
}

// turn is one run of a scenario.
type turn struct {
	role     role
	old, new string // what the directory shows before and after it
	finish   func() error
}

func newScenario(t *testing.T, mode Mode, what string) *scenario {
	t.Helper()
	s := &scenario{mode: mode, what: what, root: t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "ghapp-faults-"); err == nil {
		// In memory: it is done some hundred times, and each would wait for the disk.
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s.root = dir
	}
	s.world = newWorldIn(t, s.root, func(g *Target) {
		g.Mode, g.Keep = mode, 2
		home := filepath.Join(s.root, "home")
		g.Environ = append(slices.Clip(g.Environ), "HOME="+home, "TMPDIR="+s.root)
		g.Git.Environ = g.Environ
	})
	s.native = what != "update by git"
	testkit.OK(t, os.Mkdir(filepath.Join(s.root, "home"), 0o700))
	return s
}

// push makes a commit with a changed file, a new one, one less and one that stays.
func (s *scenario) push() (commit, shows string) {
	s.t.Helper()
	s.turns++
	commit, err := s.site.CommitEntries("deployment", githubtest.CommitOptions{Replace: true, Entries: []githubtest.Entry{
		{Path: "a", Content: fmt.Sprint(s.turns)}, {Path: "dir/b", Content: "1"},
		{Path: fmt.Sprintf("new%d", s.turns%2), Content: "1"},
	}})
	testkit.OK(s.t, err)
	return commit, fmt.Sprintf("a: %d; dir/b: 1; new%d: 1", s.turns, s.turns%2)
}

func (s *scenario) next() turn {
	s.t.Helper()
	if s.what == "first" {
		s.target.Dir = filepath.Join(s.root, fmt.Sprintf("%06d-%012d", s.turns, s.turns), "site")
	}
	if s.what == "rollback" && s.begun == "" {
		commit, shows := s.push()
		s.publish(commit)
		s.begun = shows
	}
	commit, shows := s.push()
	turn := turn{old: s.shows(), new: shows}
	publish := func() error {
		_, err := s.target.Publish(s.t.Context(), s.want(commit))
		return err
	}
	turn.finish = publish
	if s.what == "rollback" {
		s.publish(commit)
		testkit.Equal(s.t, litter(s.target), "", "half made, after the one before")
		turn.old, turn.new = shows, s.begun
		turn.finish = func() error {
			if s.published().Commit != commit {
				return nil
			}
			_, err := s.target.Rollback(s.t.Context(), "", Refuse)
			return err
		}
	}
	turn.role = s.role(s.want(commit))
	turn.role.Rollback, turn.role.Traced = s.what == "rollback", true
	return turn
}

// run does it once, with a fault, and looks at what that leaves behind.
func (s *scenario) run(c tracer.Call, v tracer.Verdict) (hit bool) {
	s.t.Helper()
	turn := s.next()
	result := tracer.Trace(s.t, turn.role.environ(s.t), s.root, func(came tracer.Call) tracer.Verdict {
		if came == c {
			return v
		}
		return tracer.Verdict{}
	})
	if !result.Hit {
		testkit.OK(s.t, turn.finish(), "%s: without a fault", c)
		return false
	}
	fail := func(format string, args ...any) {
		s.t.Helper()
		s.t.Errorf("%s, %+v: %s\n%s", c, v, fmt.Sprintf(format, args...), result.Output)
	}
	shows := s.shows()
	if shows != turn.old && shows != turn.new {
		fail("the directory shows %q", shows)
	}
	var said played
	if err := json.Unmarshal(result.Output, &said); err == nil {
		switch {
		case said.Error == "" && shows != turn.new:
			fail("it ended in success, and shows %q", shows)
		case said.Error != "" && shows != turn.old:
			fail("it failed, and shows %q", shows)
		case said.Error != "" && v.Errno != 0 && !names(said.Error, v.Errno):
			fail("the error does not name the cause")
		}
	} else if !v.Kill && !v.KillAll {
		fail("it ended without a word")
	}
	if err := turn.finish(); err != nil {
		fail("the next one: %v\n%s", err, s.log)
	}
	if shows := s.shows(); shows != turn.new {
		fail("after the next one it shows %q", shows)
	}
	if litter(s.target) != "" && s.what != "rollback" {
		// A pass with nothing new takes nothing away: that is a matter of the next one.
		commit, _ := s.push()
		s.publish(commit)
	}
	if litter := litter(s.target); litter != "" && s.what != "rollback" {
		fail("half made: %s", litter)
	}
	return true
}

// names reports whether an error names its cause.
func names(said string, cause syscall.Errno) bool {
	said = strings.ToLower(said)
	if strings.Contains(said, cause.Error()) || cause == syscall.ENOSPC && strings.Contains(said, "out of diskspace") {
		return true
	}
	// git does not always say why it could not write its own files.
	return slices.ContainsFunc([]string{
		"unable to write new index file", "couldn't write '", "couldn't set 'refs/", "could not be taken away",
	}, func(text string) bool { return strings.Contains(said, text) })
}

// inPieces reports whether a step may be one of more or of fewer in the next run: git
// index-pack writes a pack in the pieces in which it comes through the pipe.
func inPieces(c tracer.Call) bool {
	return c.Program == "git index-pack" && c.Name == "write" && c.Nth > 1
}

// errnos are those that a system call can fail with.
func errnos(name string) []syscall.Errno {
	const full, closed, readOnly, broken, files = syscall.ENOSPC, syscall.EACCES,
		syscall.EROFS, syscall.EIO, syscall.EMFILE
	switch name {
	case "open", "openat", "creat":
		return []syscall.Errno{full, readOnly, files, closed, broken}
	case "write", "pwrite", "writev", "ftruncate", "truncate", "fallocate", "fsync", "fdatasync", "syncfs",
		"copy_file_range", "sendfile":
		return []syscall.Errno{full, broken}
	case "flock":
		return []syscall.Errno{syscall.ENOLCK}
	case "execve":
		return []syscall.Errno{closed, broken, syscall.ENOMEM}
	case "unlink", "rmdir", "chmod", "fchmod", "chown", "fchown", "utime":
		return []syscall.Errno{readOnly, broken, closed}
	}
	return []syscall.Errno{full, closed, readOnly, broken}
}

// A first publication, one after another and a rollback go through some hundred system
// calls that change files, in ghapp and in git. Each is once the last one, and each fails
// once: the directory shows what it showed, or what it is to show, and nothing else; who
// comes next does what was left undone.
//
// What git does is the same in both modes, so it is walked through in one of them. With
// DEPLOY_TEST_FAULTS=all each step fails in every way that it can, and not in one.
func TestWhateverStepFailsTheDirectoryIsOldOrNew(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		for _, what := range []string{"first", "update", "update by git", "rollback"} {
			if mode == Directory && what == "update by git" {
				continue
			}
			for _, kind := range []string{"killed", "failing"} {
				t.Run(fmt.Sprint(mode, " ", what, " ", kind), func(t *testing.T) {
					t.Parallel()
					s := newScenario(t, mode, what)
					var calls []tracer.Call
					for range 3 { // until there is an old release to take away
						turn := s.next()
						r := tracer.Trace(t, turn.role.environ(t), s.root, tracer.Watch)
						if shows := s.shows(); shows != turn.new {
							t.Fatalf("it shows %q, want %q\n%s", shows, turn.new, r.Output)
						}
						calls = r.Calls
					}
					if len(calls) < 10 {
						t.Fatalf("there are only %d steps:\n%s", len(calls), tracer.Listed(calls))
					}
					steps := 0
					for i, c := range calls {
						switch {
						case mode == Directory && c.Program != "ghapp",
							what == "first" && c.Program != "ghapp" && c.Program != "git init":
							continue // they are those of an update of a link
						case c.Name == "flock" && c.Nth > 1:
							continue // another was asked first
						}
						verdicts := []tracer.Verdict{{KillAll: true}}
						if kind == "failing" {
							verdicts = nil
							for _, errno := range errnos(c.Name) {
								verdicts = append(verdicts, tracer.Verdict{Errno: errno})
							}
							if c.Program != "ghapp" {
								verdicts = append(verdicts, tracer.Verdict{Kill: true})
							}
							if os.Getenv("DEPLOY_TEST_FAULTS") != "all" {
								verdicts = verdicts[i%len(verdicts):][:1]
							}
						}
						for _, v := range verdicts {
							if !s.run(c, v) && !s.run(c, v) && !inPieces(c) { //nolint:staticcheck // a second try
								t.Errorf("%s: it was not reached", c)
							}
							steps++
						}
					}
					t.Logf("%d steps", steps)
				})
			}
		}
	}
}

// What is published is on the disk before anything leads to it: the machine may lose its
// power at any moment.
func TestReleaseIsOnTheDiskBeforeItIsPublished(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		s := newScenario(t, mode, "update")
		var calls []tracer.Call
		for range 2 {
			turn := s.next()
			calls = tracer.Trace(t, turn.role.environ(t), s.root, tracer.Watch).Calls
		}
		publish := "rename /.site.ghapp/link-… > /site"
		if mode == Directory {
			publish = "rename /.site.ghapp/releases/… > /site"
		}
		text, at := tracer.Listed(calls), 0
		for _, step := range []string{
			"git read-tree 1: write /.site.ghapp/releases/…/a",
			"git read-tree 1: rename /.site.ghapp/records/…/index.0.lock",
			"ghapp 1: syncfs /.site.ghapp/releases/…",
			"write /.site.ghapp/records/…/release.json.new", "fsync /.site.ghapp/records/…/release.json.new",
			"rename /.site.ghapp/records/…/release.json.new", "fsync /.site.ghapp/records/… ",
			publish, "fsync  (1)", // the directory that it is in
		} {
			next := strings.Index(text[at:], step)
			if next < 0 {
				t.Fatalf("%s: there is no %q in its place:\n%s", mode, step, text)
			}
			at += next + len(step)
		}
		if writes := text[strings.Index(text, "syncfs"):]; strings.Contains(writes[:strings.Index(writes, publish)],
			"write /.site.ghapp/releases/") {
			t.Errorf("%s: files are written after the flush:\n%s", mode, text)
		}
	}
}

func TestFileSystemThatCannotExchangeIsTold(t *testing.T) {
	t.Parallel()
	s := newScenario(t, Directory, "update")
	commit, shows := s.push()
	s.publish(commit)
	turn := s.next()
	r := tracer.Trace(t, turn.role.environ(t), s.root, func(c tracer.Call) tracer.Verdict {
		if c.Name == "rename" && strings.HasSuffix(c.Path, "> /site") {
			return tracer.Verdict{Errno: syscall.EINVAL}
		}
		return tracer.Verdict{}
	})
	if !r.Hit || !strings.Contains(string(r.Output), string(ErrNoExchange)) {
		t.Errorf("%s", r.Output)
	}
	testkit.Equal(t, s.shows(), shows, "it shows")
	s.clean()
}
