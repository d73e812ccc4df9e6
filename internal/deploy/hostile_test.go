//go:build unix

package deploy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// entries makes a commit that has these alone.
func (w *world) entries(list ...githubtest.Entry) string {
	w.t.Helper()
	commit, err := w.site.CommitEntries("deployment", githubtest.CommitOptions{Replace: true, Entries: list})
	testkit.OK(w.t, err)
	return commit
}

func TestNamesThatShellsAndFileSystemsFearAreOnlyNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{
		"new\nline", "-rf", "--help", "$(touch x)", "`x`", "a b", " ", "*", "?", "[a]", "#", "!x",
		"back\\slash", "quote\"'", "tab\tx",
		"\xff\xfe not UTF-8", "\u202egpj.exe", strings.Repeat("n", 255), "dir/-x", "con", "a:b", "~", "~root",
		".gitignore", ".ghapp", "link-000001",
	}
	var list []githubtest.Entry
	for _, name := range names {
		list = append(list, githubtest.Entry{Path: name, Content: "1"},
			githubtest.Entry{Path: "deep/er/" + name, Content: "1"})
	}
	for turn := range 3 {
		list[0].Content = fmt.Sprint(turn)
		w.publish(w.entries(list...))
		for _, name := range names[1:] {
			for _, dir := range []string{"", "deep/er"} {
				if text, err := os.ReadFile(filepath.Join(w.target.Dir, dir, name)); err != nil || string(text) != "1" {
					t.Errorf("%q: %q %v", name, text, err)
				}
			}
		}
	}
	w.target.Sparse = []string{"dir", "*", "#", "!x", "[a]", " ", "a b"}
	w.publish(w.entries(list...))
	testkit.Equal(t, len(testkit.Must(os.ReadDir(w.target.Dir))(t)), len(w.target.Sparse))
}

// What a link leads to is never followed, and never written to.
func TestLinksInTheRepositoryAreNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := t.TempDir()
	file := filepath.Join(outside, "f")
	testkit.OK(t, os.WriteFile(file, []byte("mine"), 0o644))
	link := func(path, to string) githubtest.Entry {
		return githubtest.Entry{Path: path, Mode: githubtest.Symlink, Content: to}
	}
	steps := [][]githubtest.Entry{
		{link("x", outside), link("up", "../../../../etc/passwd"), link("abs", "/etc/passwd"), link("f", file),
			link("self", "self"), link("here", ".")},
		{{Path: "x/f", Content: "1"}, {Path: "f", Content: "2"}, {Path: "abs/a", Content: "3"},
			{Path: "here/x", Content: "4"}},
		{link("x", outside), link("f", file), {Path: "abs", Content: "5"}, link("here", "..")},
		{{Path: "x/f/deep", Content: "6"}, {Path: "f/g", Content: "7"}},
		{{Path: "x", Content: "8"}, {Path: "f", Mode: githubtest.Executable, Content: "9"}},
	}
	for i, step := range steps {
		w.publish(w.entries(step...))
		want := len(step)
		testkit.Equal(t, strings.Count(w.shows(), ";")+1, want, "step %d: %s", i, w.shows())
	}
	testkit.Equal(t, string(testkit.Must(os.ReadFile(file))(t)), "mine", "it was written through a link")
	if list, _ := os.ReadDir(outside); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

func TestEmptyTreeAndEmptyFiles(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		w := newWorld(t, func(g *Target) { g.Mode = mode })
		empty := w.entries()
		w.publish(empty)
		testkit.Equal(t, w.shows(), "")
		if info, err := os.Stat(w.target.Dir); err != nil || !info.IsDir() {
			t.Error(err)
		}
		w.publish(w.commit(map[string]string{"a": "", "b/c": ""}))
		w.publish(w.commit(map[string]string{"b/c": "x"}))
		testkit.Equal(t, w.shows(), "a: ; b/c: x")
		if mode == Link {
			w.publish(empty)
			testkit.Equal(t, len(testkit.Must(os.ReadDir(w.target.Dir))(t)), 0)
		}
	}
}

// A directory that has lost its files in the published release is none in the next one,
// where the commit has none.
func TestDirectoryWithoutFilesIsNotMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1", "d/e/x": "1", "d/y": "1"}))
	if err := errors.Join(os.Remove(filepath.Join(w.target.Dir, "d/e/x")),
		os.Remove(filepath.Join(w.target.Dir, "d/y"))); err != nil {
		t.Fatal(err)
	}
	w.publish(w.entries(githubtest.Entry{Path: "a", Content: "1"}))
	testkit.Equal(t, len(testkit.Must(os.ReadDir(w.target.Dir))(t)), 1)
}

// The attributes of the commit count, as in any work tree, and the filters of the user's
// git do not; export-ignore is git archive's, and has no say here.
func TestAttributesCountAsInAWorkTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	filter := filepath.Join(w.target.Environ[1][len("HOME="):], ".gitconfig")
	if err := os.WriteFile(filter, []byte("[filter \"up\"]\n\tsmudge = tr a-z A-Z\n\tclean = cat\n[filter \"lfs\"]\n"+
		"\tsmudge = git-lfs smudge -- %f\n\tprocess = git-lfs filter-process\n\trequired = true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for turn := range 2 {
		w.publish(w.entries(
			githubtest.Entry{Path: ".gitattributes",
				Content: "crlf eol=crlf text\nid ident\nhidden export-ignore\nsubst export-subst\nup filter=up\nlfs filter=lfs\n"},
			githubtest.Entry{Path: "crlf", Content: "a\nb\n"}, githubtest.Entry{Path: "id", Content: "$Id$"},
			githubtest.Entry{Path: "hidden", Content: "1"},
			githubtest.Entry{Path: "subst", Content: "$Format:%H$"}, githubtest.Entry{Path: "up", Content: "loud"},
			githubtest.Entry{Path: "lfs", Content: "version https://git-lfs.github.com/spec/v1\noid sha256:" +
				strings.Repeat("0", 64) + "\nsize 1\n"},
			githubtest.Entry{Path: "turn", Content: fmt.Sprint(turn)},
		))
		for name, want := range map[string]string{"crlf": "a\r\nb\r\n", "hidden": "1", "subst": "$Format:%H$", "up": "loud"} {
			testkit.Equal(t, w.file(name), want, "%s", name)
		}
		if got := w.file("id"); !strings.HasPrefix(got, "$Id: ") {
			t.Errorf("%q", got)
		}
		if got := w.file("lfs"); !strings.HasPrefix(got, "version ") {
			t.Errorf("%q", got)
		}
	}
	testkit.Equal(t, testkit.Must(w.target.Status())(t).Damage, nil)
}

// The modes are those of the umask of whoever runs it, as with git: with 077 a web
// server that is another user reads nothing. It stands in the documentation.
func TestModesFollowTheUmask(t *testing.T) {
	for _, umask := range []int{0o077, 0o022} {
		w := newWorld(t)
		commit := w.commit(map[string]string{"dir/a": "1"})
		before := syscall.Umask(umask)
		w.publish(commit)
		syscall.Umask(before)
		for name, all := range map[string]os.FileMode{"": 0o777, "dir": 0o777, "dir/a": 0o666} {
			info, err := os.Stat(filepath.Join(w.target.Dir, name))
			if err != nil || info.Mode().Perm() != all&^os.FileMode(umask) {
				t.Errorf("umask %o: %q is %v %v", umask, name, info.Mode(), err)
			}
		}
		for _, name := range []string{w.target.records(), w.target.mainStore("").dir} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("umask %o: %s is %v %v", umask, name, info.Mode(), err)
			}
		}
	}
}

// tree makes a commit of a tree as it stands, whatever is in it.
func (a *author) tree(entries string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), "git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
	cmd.Dir, cmd.Env, cmd.Stdin = a.dir, a.environ, strings.NewReader(entries)
	out := testkit.Must(cmd.Output())(a.t)
	commit := a.run("git", "commit-tree", "-m", "x", strings.TrimSpace(string(out)))
	a.run("git", "update-ref", "refs/heads/deployment", commit)
	return commit
}

func TestObjectsThatGitHubWouldNotServeAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.author()
	w.served(a)
	w.publish(a.commit("1"))
	blob := a.run("git", "rev-parse", "HEAD:a")
	raw := ""
	for i := 0; i < len(blob); i += 2 {
		var b byte
		_, _ = fmt.Sscanf(blob[i:i+2], "%x", &b)
		raw += string([]byte{b})
	}
	for _, name := range []string{".git", ".GIT", "git~1", ".g\u200cit", "..", ".", "a/b"} {
		commit := a.tree("100644 " + name + "\x00" + raw)
		err := w.refused(commit)
		e, ok := errors.AsType[*gitcmd.Error](err)
		if !ok || e.Reason != gitcmd.ObjectRefused || !strings.HasPrefix(e.Message, "object ") ||
			strings.Count(e.Message, ": ") < 2 {
			t.Errorf("%q: %v", name, err)
		}
	}
	// Old histories have these, and they harm nobody.
	w.publish(a.tree("0100644 padded\x00" + raw))
	testkit.Equal(t, w.shows(), "padded: 1")
	w.publish(a.tree("100664 old\x00" + raw))
	testkit.Equal(t, w.shows(), "old: 1")
}

// literal makes an object of the text as it stands.
func (a *author) literal(kind, text string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), "git", "hash-object", "-t", kind, "-w", "--literally", "--stdin")
	cmd.Dir, cmd.Env, cmd.Stdin = a.dir, a.environ, strings.NewReader(text)
	out := testkit.Must(cmd.Output())(a.t)
	return strings.TrimSpace(string(out))
}

// Each of these stands in histories that GitHub serves, and git clone takes them.
func TestCommitsThatCloneAcceptsArePublished(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t)
	a := w.author()
	w.served(a)
	a.commit("1")
	tree := a.run("git", "rev-parse", "HEAD^{tree}")
	const well = "A <a@example.com> 1700000000 +0000"
	for what, person := range map[string]string{
		"a date with a zero before it": "A <a@example.com> 01700000000 +0000",
		"a date that is too far away":  "A <a@example.com> 99999999999999999999 +0000",
		"a date that is none":          "A <a@example.com> soon +0000",
		"a time zone that is none":     "A <a@example.com> 1700000000 +051800",
		"no date":                      "A <a@example.com>",
		"no address":                   "A 1700000000 +0000",
		"two addresses in one":         "A <a@example.com> <b@example.com> 1700000000 +0000",
		"no name":                      "<a@example.com> 1700000000 +0000",
		"no blank before the address":  "A<a@example.com> 1700000000 +0000",
		"a bracket in the name":        "A> <a@example.com> 1700000000 +0000",
		"two authors":                  well + "\nauthor " + well,
	} {
		commit := a.literal("commit", "tree "+tree+"\nauthor "+person+"\ncommitter "+well+"\n\n"+what+"\n")
		a.run("git", "update-ref", "refs/heads/deployment", commit)
		dir := filepath.Join(t.TempDir(), "clone")
		a.run("git", "clone", "--quiet", "--no-local", a.dir, dir)
		if outcome, err := w.target.Publish(t.Context(), w.want(commit)); err != nil || outcome.Release.Commit != commit {
			t.Errorf("%s: %v", what, err)
		}
	}
	commit := a.literal("commit", "tree "+tree+"\nauthor "+well+"\ncommitter "+well+"\n\nNUL: \x00\n")
	a.run("git", "update-ref", "refs/heads/deployment", commit)
	w.publish(commit)
}

func TestCheckOfGitsIsLeftOutWhereTheUserSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.author()
	w.served(a)
	w.publish(a.commit("1"))
	raw, err := hex.DecodeString(a.run("git", "rev-parse", "HEAD:a"))
	testkit.OK(t, err)
	unsorted := a.tree("100644 b\x00" + string(raw) + "100644 a\x00" + string(raw))
	err = w.refused(unsorted)
	if err == nil || !strings.Contains(err.Error(), ": treeNotSorted: ") || strings.Contains(err.Error(), "connection") {
		t.Error(err)
	}
	w.target.FsckIgnore = []string{"treeNotSorted"}
	w.publish(unsorted)
	testkit.Equal(t, w.shows(), "a: 1; b: 1")
	// It is no damage either, when something else fails.
	if s := w.target.mainStore(w.want(unsorted).URL); !s.sound(t.Context()) {
		t.Error("the store is taken for damaged")
	}
	for _, name := range []string{"", "a b", "x\ny", "x]", "nulinheader"} {
		w.target.FsckIgnore = []string{name}
		if _, err := w.target.Publish(t.Context(), w.want(unsorted)); err == nil {
			t.Errorf("%q is taken for the name of a check", name)
		}
	}
}

func TestSHA256Repository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "sha1"}))
	a := w.author("GIT_DEFAULT_HASH=sha256")
	w.served(a)
	for _, text := range []string{"1", "2", "3"} {
		commit := a.commit(text)
		if len(commit) != 64 {
			t.Fatal(commit)
		}
		w.publish(commit)
		testkit.Equal(t, w.shows(), "a: "+text)
	}
	w.rollback("")
	testkit.Equal(t, w.shows(), "a: 2")
}

func TestLargeFilesOfLFS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	big := func(content string) []githubtest.Entry {
		return []githubtest.Entry{
			{Path: ".gitattributes", Content: "*.bin filter=lfs diff=lfs merge=lfs -text\n"},
			{Path: "big.bin", Content: w.site.AddObject(content)}, {Path: "same.bin", Content: w.site.AddObject("same")},
			{Path: "a", Content: content},
		}
	}
	first := w.entries(big("1")...)
	w.publish(first)
	if got := w.file("big.bin"); !strings.HasPrefix(got, "version https://git-lfs") {
		t.Errorf("without the option it is %q", got)
	}
	w.target.LFS = true
	w.publish(first)
	testkit.Equal(t, w.file("big.bin"), "1")
	testkit.Equal(t, w.file("same.bin"), "same")
	w.github.ResetRequests()
	w.publish(w.entries(big("2")...))
	testkit.Equal(t, w.file("big.bin"), "2")
	testkit.Equal(t, w.file("same.bin"), "same")
	downloads := 0
	for _, r := range w.github.Requests() {
		if r.Method == "GET" && strings.Contains(r.Path, "/lfs/") {
			downloads++
		}
	}
	testkit.Equal(t, downloads, 1, "files were downloaded, and one is new")
	list := big("3")
	list[1].Content = fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 7\n",
		strings.Repeat("ab", 32))
	err := w.refused(w.entries(list...))
	testkit.Equal(t, testkit.ErrorAs[*gitcmd.Error](t, err).Reason, gitcmd.LFSFailed)
	w.rollback("")
	testkit.Equal(t, w.file("big.bin"), "1")
}

func TestVeryManyFiles(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t)
	many := map[string]string{}
	for i := range 3000 {
		many[fmt.Sprintf("d%d/e%d/f%d", i%7, i%50, i)] = fmt.Sprint(i)
	}
	w.publish(w.commit(many))
	w.publish(w.commit(map[string]string{"d1/e1/f1": "x"}))
	r := w.published()
	if _, list, err := w.target.index(r, 0); err != nil || len(list) != 3000 {
		t.Errorf("%d files, %v", len(list), err)
	}
	testkit.Equal(t, w.file("d1/e1/f1"), "x")
	testkit.Equal(t, w.file("d2/e2/f2"), "2")
}

// The user's environment and configuration do not change what the package relies on.
func TestIndexIsOfTheVersionThatIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) {
		g.Git.Environ = append(g.Git.Environ[:len(g.Git.Environ):len(g.Git.Environ)], "GIT_INDEX_VERSION=4")
	})
	home := w.target.Environ[1][len("HOME="):]
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"),
		[]byte("[feature]\n\tmanyFiles = true\n[index]\n\tskipHash = true\n\tversion = 4\n[core]\n\tsplitIndex = true\n"+
			"\tfsmonitor = true\n\tbare = false\n\tcheckStat = default\n[fetch]\n\tprune = true\n\twriteCommitGraph = true\n"+
			"[init]\n\tdefaultObjectFormat = sha256\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1", "2"} {
		w.publish(w.commit(map[string]string{"a": text, "b": "1"}))
		testkit.Equal(t, w.shows(), "a: "+text+"; b: 1")
	}
}
