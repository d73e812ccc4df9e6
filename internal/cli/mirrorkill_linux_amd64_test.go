package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/tracer"
)

// traced runs ghapp and all that it starts, and kills them before the n-th system call that changes a file;
// 0: never.
func (m *machine) traced(n int, args ...string) tracer.Traced {
	m.t.Helper()
	environ := []string{
		tracedVariable + "=" + filepath.Join(binaries, "ghapp"), tracedVariable + "_ARGS=" + strings.Join(args, " "),
	}
	for _, name := range slices.Sorted(maps.Keys(m.environ)) {
		environ = append(environ, name+"="+m.environ[name])
	}
	calls := 0
	return tracer.Trace(m.t, environ, m.work, func(tracer.Call) tracer.Verdict {
		calls++
		return tracer.Verdict{KillAll: calls == n}
	})
}

// wholeFilms fails unless every large file of every mirror is what its name says.
func (m *machine) wholeFilms(dir, after string) {
	m.t.Helper()
	pattern := filepath.Join(m.work, dir, "*", "*.git", "lfs", "objects", "*", "*", "*")
	for _, path := range testkit.Must(filepath.Glob(pattern))(m.t) {
		sum := sha256.Sum256(testkit.Must(os.ReadFile(path))(m.t))
		testkit.Equal(m.t, hex.EncodeToString(sum[:]), filepath.Base(path), "after %s", after)
	}
}

// A run that makes mirrors, and one that brings them up to date, with their large files, are some hundred
// system calls that change files, of ghapp and of git. Killed at any: every ref of every mirror resolves, no
// large file is half made, and the next run goes on as though nothing had been. Which of them, changes from
// run to run; with MIRROR_TEST_KILLS=all it is each.
func TestMirrorKilledAtAnyStepIsWhole(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, first := range []bool{true, false} {
		t.Run(map[bool]string{true: "first", false: "later"}[first], func(t *testing.T) {
			t.Parallel()
			m, site := mirrorOfFilms(t)
			turn, dir, film := 0, "m", ""
			next := func() {
				turn++
				film = fmt.Sprint("film ", turn)
				shoot(t, site, githubtest.CommitOptions{Orphan: turn%2 == 0, Replace: true}, film)
				shoot(t, site, githubtest.CommitOptions{Ref: "refs/heads/side"}, film)
				if first {
					dir = fmt.Sprint("m", turn)
				}
			}
			args := func() []string { return []string{"mirror", "--to", dir, "--lfs", "--jobs", "1"} }
			whole := func(after string) {
				t.Helper()
				m.wholeMirrors(dir)
				m.wholeFilms(dir, after)
			}
			next()
			m.must(args()...)
			next()
			all := m.traced(0, args()...)
			whole("a run that was not killed")
			if len(all.Calls) < 40 {
				t.Fatalf("there are only %d steps:\n%s\n%s", len(all.Calls), tracer.Listed(all.Calls), all.Output)
			}
			const some = 16
			step := max(1, len(all.Calls)/some)
			if os.Getenv("MIRROR_TEST_KILLS") == "all" {
				step = 1
			}
			killed := 0
			for n := 1 + rand.IntN(step); n <= len(all.Calls); n += step {
				next()
				r := m.traced(n, args()...)
				after := fmt.Sprintf("step %d of %d", n, len(all.Calls))
				if r.Hit {
					killed++
					after += ", " + r.Calls[len(r.Calls)-1].String()
				}
				whole(after)
				m.must(args()...)
				whole(after)
				mirror := filepath.Join(m.work, dir, "acme/site.git")
				got := testkit.Must(gitIn(mirror, "rev-parse", "main"))(t)
				testkit.Equal(t, strings.TrimSpace(string(got)), testkit.Must(site.Head("main"))(t), "after %s", after)
				sum := sha256.Sum256([]byte(film))
				id := hex.EncodeToString(sum[:])
				_, err := os.Stat(filepath.Join(mirror, "lfs/objects", id[:2], id[2:4], id))
				testkit.OK(t, err, "after %s", after)
				m.nothingHalfMade(dir, after)
				if t.Failed() {
					t.FailNow()
				}
			}
			t.Logf("%d of %d steps", killed, len(all.Calls))
			if killed < min(some, len(all.Calls))/2 {
				t.Errorf("only %d runs were killed", killed)
			}
			m.noSecretOnDisk()
		})
	}
}

// nothingHalfMade fails if anything is left of what a run makes first and then puts in its place, but for
// what a git leaves that was killed as it packed anew: a day later it is taken away.
func (m *machine) nothingHalfMade(dir, after string) {
	m.t.Helper()
	for _, pattern := range []string{
		".ghapp/incoming/*", "*/*.git/objects/incoming-ghapp", "*/*.git/lfs/incoming-ghapp", "*/*.git/*.lock",
	} {
		left := testkit.Must(filepath.Glob(filepath.Join(m.work, dir, pattern)))(m.t)
		testkit.Equal(m.t, len(left), 0, "after %s, %v is left", after, left)
	}
}
