//go:build unix

package deploy

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// fetching has the world's requests fetched without git fetch, in another way than as a server
// answers.
func (w *world) fetching(
	fetch func(context.Context, gitwire.Request, io.Writer, Fetch) (int64, error),
) func(string) Request {
	plain := fetchFrom(w.server.URL)
	return func(commit string) Request {
		q := w.want(commit)
		q.Fetch = func(ctx context.Context, want gitwire.Request, to io.Writer) (int64, error) {
			return fetch(ctx, want, to, plain)
		}
		return q
	}
}

// started are the commands of git that a publication runs, in their order.
func (w *world) started(commit string) []string {
	w.t.Helper()
	trace := filepath.Join(w.t.TempDir(), "trace")
	environ := w.target.Git.Environ
	w.target.Git.Environ = append(slices.Clip(environ), "GIT_TRACE="+trace)
	w.publish(commit)
	w.target.Git.Environ = environ
	var list []string
	for line := range strings.Lines(string(testkit.Must(os.ReadFile(trace))(w.t))) {
		if _, command, ok := strings.Cut(line, "trace: built-in: git "); ok {
			list = append(list, strings.Fields(command)[0])
		}
	}
	return list
}

// fsck has git look whether a store is whole.
func (w *world) fsck() {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", "fsck", "--full", "--strict", "--no-dangling", "--no-progress")
	cmd.Dir, cmd.Env = w.target.mainStore("").dir, w.target.Git.Environ
	out, err := cmd.CombinedOutput()
	testkit.OK(w.t, err, "%s", out)
}

// Both ways to fetch make the same of the same history, whichever made what was there before.
func TestAReleaseIsTheSameHoweverItIsFetched(t *testing.T) {
	t.Parallel()
	for _, sparse := range [][]string{nil, {"dir"}} {
		w := newWorld(t, func(g *Target) { g.Sparse = sparse })
		byGit := *w.target
		byGit.Dir += "-by-git"
		first := w.commit(map[string]string{"a": "1", "dir/b": noise(100 << 10), "gone": "1"})
		second := w.commit(map[string]string{"a": "2"})
		w.commit(map[string]string{"dir/skipped": "1"})
		third := w.entries(githubtest.Entry{Path: "a", Content: "3"}, githubtest.Entry{Path: "dir/c/d", Content: "4"},
			githubtest.Entry{Path: "run", Mode: githubtest.Executable, Content: "x"})
		for i, commit := range []string{first, second, third, first, third, second} { // also back, as by force
			for _, native := range []bool{true, i%2 == 1} {
				w.native = native
				w.publish(commit)
				w.fsck()
				if !native {
					continue
				}
				testkit.Must(byGit.Publish(t.Context(), Request{Repository: "acme/site", Commit: commit,
					URL: w.server.URL + "/acme/site.git"}))(t)
				testkit.Equal(t, w.shows(), tree(t, byGit.Dir), "step %d", i)
				w.clean()
			}
		}
		// A force has it built again.
		again := w.want(third)
		again.Force = true
		testkit.Must(w.target.Publish(t.Context(), again))(t)
		testkit.Equal(t, strings.Contains(w.log.String(), "git fetches instead"), false, "%s", w.log)
		w.native = true
		w.target.gc(t.Context(), map[string]bool{w.published().ID: true})
		w.publish(w.commit(map[string]string{"a": "5"}))
		w.fsck()
	}
}

// Two processes are what a push takes, and one request.
func TestAPushTakesTwoProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.native = true
	w.publish(w.commit(map[string]string{"a": "1", "b": "1"}))
	commit := w.commit(map[string]string{"a": "2"})
	w.requests()
	testkit.Equal(t, strings.Join(w.started(commit), " "), "index-pack read-tree")
	testkit.Equal(t, w.requests(), 1, "requests")
	if got := w.published(); got.Commit != commit {
		t.Errorf("%+v", got)
	}
}

// What wants more than a commit in full is git's.
func TestWhatIsMoreThanACommitIsLeftToGitFetch(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Target){
		"history":  func(g *Target) { g.Depth = 2 },
		"filter":   func(g *Target) { g.Filter = "blob:none" },
		"progress": func(g *Target) { g.Git.Progress = true },
	} {
		w := newWorld(t, change)
		asked := w.fetching(func(context.Context, gitwire.Request, io.Writer, Fetch) (int64, error) {
			t.Errorf("%s: it was fetched without git", name)
			return 0, errors.New("no")
		})
		testkit.Must(w.target.Publish(t.Context(), asked(w.commit(map[string]string{"a": "1"}))))(t)
	}
}

// Whatever goes wrong without it, git fetch does it, and nothing else is left of what came.
func TestGitFetchesWhereTheOtherWayFails(t *testing.T) {
	t.Parallel()
	for name, fetch := range map[string]func(context.Context, gitwire.Request, io.Writer, Fetch) (int64, error){
		"not understood": func(context.Context, gitwire.Request, io.Writer, Fetch) (int64, error) {
			return 0, gitwire.ErrUnsupported
		},
		"nothing": func(context.Context, gitwire.Request, io.Writer, Fetch) (int64, error) { return 0, nil },
		"no pack": func(_ context.Context, _ gitwire.Request, to io.Writer, _ Fetch) (int64, error) {
			n, err := to.Write([]byte(strings.Repeat("x", 1<<20)))
			return int64(n), err
		},
		"cut": func(ctx context.Context, want gitwire.Request, to io.Writer, plain Fetch) (int64, error) {
			_, _ = plain(ctx, want, writerFunc(func(b []byte) (int, error) {
				_, _ = to.Write(b[:len(b)/2])
				return 0, io.ErrShortWrite
			}))
			return 0, nil
		},
		"a difference from what is not here": func(
			ctx context.Context, want gitwire.Request, to io.Writer, plain Fetch,
		) (int64, error) {
			want.Haves, want.Shallow = []string{strings.TrimSpace(want.Wants[0])}, nil
			return plain(ctx, want, to)
		},
	} {
		w := newWorld(t)
		asked := w.fetching(fetch)
		w.publish(w.commit(map[string]string{"a": "1", "b": noise(10 << 10)}))
		commit := w.commit(map[string]string{"a": "2", "c": noise(10 << 10)})
		testkit.Must(w.target.Publish(t.Context(), asked(commit)))(t)
		testkit.Equal(t, w.published().Commit, commit, "%s", name)
		testkit.Contains(t, w.log.String(), "git fetches instead")
		w.fsck()
		w.clean()
	}
}

// writerFunc is a writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// What is refused, and what a failed check was for, was never in the store.
func TestWhatIsNotPublishedLeavesTheStoreAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.native = true
	a := w.author()
	w.served(a)
	w.publish(a.commit("1"))
	store := w.target.mainStore("").dir
	before := tree(t, store)
	w.target.Check = Command{Line: "false"}
	testkit.Equal(t, testkit.ErrorAs[*Error](t, w.refused(a.commit("2"))).Problem, ErrCheck)
	testkit.Equal(t, tree(t, store), before, "after a check that failed, the store")
	testkit.Equal(t, strings.Contains(w.log.String(), "git fetches instead"), false, "%s", w.log)

	w.target.Check = Command{}
	raw := testkit.Must(hex.DecodeString(a.run("git", "rev-parse", "HEAD:a")))(t)
	tampered := a.tree("100644 .git\x00" + string(raw))
	e := testkit.ErrorAs[*gitcmd.Error](t, w.refused(tampered))
	testkit.Equal(t, e.Reason, gitcmd.ObjectRefused)
	w.publish(a.commit("3"))
	w.fsck()
}
