package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// gitIndex makes an index with real git, of a tree with an executable file, a link, a
// long path and, on demand, the bits of version 3.
func gitIndex(t testing.TB, format string, sparse bool) []byte {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git",
			append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "index.version=2"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		testkit.OK(t, err, "git %q, %s", args, out)
		return string(out)
	}
	git("init", "--quiet", "--object-format="+format)
	long := strings.Repeat("long/", 900) + "name"
	for name, text := range map[string]string{"a": "a", "dir/b": "bb", "dir/c": "", "run": "#!/bin/sh\n", long: "x"} {
		path := filepath.Join(dir, name)
		if len(path) > 4000 {
			continue
		}
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o644))
	}
	testkit.OK(t, os.Chmod(filepath.Join(dir, "run"), 0o755))
	testkit.OK(t, os.Symlink("a", filepath.Join(dir, "link")))
	git("add", "--all")
	if sparse {
		git("update-index", "--skip-worktree", "dir/b")
	}
	data := testkit.Must(os.ReadFile(filepath.Join(dir, ".git", "index")))(t)
	return data
}

func TestIndexIsReadAsGitWroteIt(t *testing.T) {
	for _, test := range []struct {
		format string
		hash   int
		sparse bool
	}{{"sha1", 20, false}, {"sha1", 20, true}, {"sha256", 32, false}} {
		entries := testkit.Must(parseIndex(gitIndex(t, test.format, test.sparse), test.hash))(t)
		var got []string
		for _, e := range entries {
			text := e.path
			switch e.mode {
			case modeProgram:
				text += "*"
			case modeSymlink:
				text += "@"
			}
			if e.absent {
				text += "-"
			}
			got = append(got, text)
			if e.seconds == 0 || e.inode == 0 || len(e.object) != 2*test.hash {
				t.Errorf("%+v", e)
			}
		}
		want := "a dir/b dir/c link@ run*"
		if test.sparse {
			want = "a dir/b- dir/c link@ run*"
		}
		testkit.Equal(t, strings.Join(got, " "), want, "%q", got)
	}
}

func TestIndexWithAPathThatLeadsElsewhereIsRefused(t *testing.T) {
	good := gitIndex(t, "sha1", false)
	for _, path := range []string{"../b5", "/etc5", "d//b5", "./r5", "dir/.", "dir/b"} {
		data := []byte(strings.Replace(string(good), "dir/b\x00", (path + "\x00\x00\x00\x00")[:5]+"\x00", 1))
		_, err := parseIndex(data, 20)
		testkit.Equal(t, (err == nil), (path == "dir/b"), "%q: %v", path, err)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(gitIndex(f, "sha1", false))
	f.Add(gitIndex(f, "sha1", true))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseIndex(data, 20)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !filepath.IsLocal(e.path) {
				t.Errorf("%q", e.path)
			}
		}
	})
}
