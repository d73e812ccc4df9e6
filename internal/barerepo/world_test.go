package barerepo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// world is a repository elsewhere and one here that follows it.
type world struct {
	t      testing.TB
	origin string // a bare repository
	repo   *barerepo.Repository
	remote *remote
	now    time.Time
	ticks  int
}

func newWorld(t testing.TB, initArgs ...string) *world {
	t.Helper()
	root := t.TempDir()
	w := &world{
		t: t, origin: filepath.Join(root, "origin", "acme", "site.git"), now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		repo: &barerepo.Repository{
			Dir:  filepath.Join(root, "mirrors", "acme", "site.git"),
			Temp: filepath.Join(root, "mirrors", ".ghapp", "incoming", "1"),
			Git:  gitcmd.Runner{Environ: os.Environ()},
		},
	}
	testkit.OK(t, os.MkdirAll(filepath.Dir(w.origin), 0o700))
	w.git(root, append([]string{"init", "--quiet", "--bare", "--initial-branch=main"}, append(initArgs, w.origin)...)...)
	w.remote = &remote{w: w}
	return w
}

// git runs git as everybody does, and returns what it prints.
func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	out, err := w.tryGit(dir, nil, args...)
	testkit.OK(w.t, err)
	return out
}

func (w *world) tryGit(dir string, stdin io.Reader, args ...string) (string, error) {
	out, err := w.tryGitBytes(dir, stdin, args...)
	return strings.TrimSpace(string(out)), err
}

func (w *world) tryGitBytes(dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, stdin
	w.ticks++
	date := fmt.Sprintf("%d +0000", 1_700_000_000+w.ticks)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com",
		"GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("git %v: %w: %s", args, err, problem.String())
	}
	return out.Bytes(), nil
}

// blob, tree and commit make objects in the origin.
func (w *world) blob(text string) string {
	w.t.Helper()
	return testkit.Must(w.tryGit(w.origin, strings.NewReader(text), "hash-object", "-w", "--stdin"))(w.t)
}

func (w *world) tree(files map[string]string) string {
	w.t.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "100644 blob %s\t%s\n", w.blob(files[name]), name)
	}
	return testkit.Must(w.tryGit(w.origin, strings.NewReader(b.String()), "mktree"))(w.t)
}

func (w *world) commit(message string, parents ...string) string {
	w.t.Helper()
	args := []string{"commit-tree", "-m", message, w.tree(map[string]string{"README": message, "same": "always"})}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	return w.git(w.origin, args...)
}

// chain is n commits on top of each other; the last.
func (w *world) chain(n int, name string, parents ...string) string {
	for i := range n {
		parents = []string{w.commit(fmt.Sprintf("%s %d", name, i), parents...)}
	}
	return parents[0]
}

// set points a ref of the origin to an object; "": takes it away.
func (w *world) set(ref, id string) {
	w.t.Helper()
	if id == "" {
		w.git(w.origin, "update-ref", "-d", ref)
		return
	}
	w.git(w.origin, "update-ref", ref, id)
}

func (w *world) update() barerepo.Result {
	w.t.Helper()
	result, err := w.tryUpdate(barerepo.Options{})
	testkit.OK(w.t, err)
	return result
}

func (w *world) tryUpdate(o barerepo.Options) (barerepo.Result, error) {
	w.now = w.now.Add(time.Hour)
	o.Now = w.now
	return w.repo.Update(context.Background(), w.remote, o)
}

// refs are those of a repository, with HEAD; ours are not among them.
func (w *world) refs(dir string) map[string]string {
	w.t.Helper()
	refs := map[string]string{}
	for line := range strings.Lines(w.git(dir, "for-each-ref", "--format=%(refname) %(objectname)")) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && !strings.HasPrefix(name, "refs/ghapp/") {
			refs[name] = id
		}
	}
	refs["HEAD"] = w.git(dir, "symbolic-ref", "HEAD")
	return refs
}

// objects are all objects that a repository's refs reach, but ours.
func (w *world) objects(dir string) []string {
	w.t.Helper()
	var list []string
	for line := range strings.Lines(w.git(dir, "--no-replace-objects", "rev-list", "--objects", "--no-object-names",
		"--exclude=refs/ghapp/*", "--exclude=refs/replace/*", "--exclude=refs/other/*", "--all")) {
		list = append(list, strings.TrimSpace(line))
	}
	slices.Sort(list)
	return list
}

// equal checks that the repository here is what git makes of the origin, and whole.
func (w *world) equal() {
	w.t.Helper()
	reference := filepath.Join(w.t.TempDir(), "reference.git")
	w.git(filepath.Dir(reference), "clone", "--quiet", "--bare", "--mirror", "--no-local", w.origin, reference)
	w.git(reference, "fetch", "--quiet", "--prune", "origin", "+refs/*:refs/*")
	want := w.refs(reference)
	maps.DeleteFunc(want, func(name, _ string) bool {
		return strings.HasPrefix(name, "refs/replace/") || strings.HasPrefix(name, "refs/other/")
	})
	testkit.Diff(w.t, w.refs(w.repo.Dir), want)
	if len(want) > 1 {
		testkit.Diff(w.t, w.objects(w.repo.Dir), w.objects(w.origin))
	}
	w.whole()
}

// whole checks that the repository here has all that its refs need, and that nothing is left over.
func (w *world) whole() {
	w.t.Helper()
	out, err := w.tryGit(w.repo.Dir, nil, "fsck", "--full", "--no-dangling")
	testkit.OK(w.t, err)
	testkit.Equal(w.t, strings.ReplaceAll(out, "notice: HEAD points to an unborn branch (main)", ""), "")
	w.tidy()
}

// tidy checks that nothing is left over.
func (w *world) tidy() {
	w.t.Helper()
	for _, path := range []string{w.repo.Temp, filepath.Join(w.repo.Dir, "objects", "incoming-ghapp")} {
		if _, err := os.Lstat(path); err == nil {
			w.t.Errorf("%s is left", path)
		}
	}
	_ = filepath.WalkDir(w.repo.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".lock") || strings.HasPrefix(d.Name(), "tmp_")) {
			w.t.Errorf("%s is left", path)
		}
		return nil
	})
}

// kept are the names of our refs, without the time, and what they stand for.
func (w *world) kept() map[string]string {
	w.t.Helper()
	kept := map[string]string{}
	out := w.git(w.repo.Dir, "for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", "refs/ghapp/kept/")
	for line := range strings.Lines(out) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		kept[name] = id
	}
	return kept
}
