package lfsconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestFileIsFoundWhereGitWorksAndNowhereElse(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o644))
	}
	const names = "[lfs]\n\tURL = https://github.com/acme/store\n"
	write(".lfsconfig", names) // above all repositories
	write("repo/.git/HEAD", "")
	write("repo/.lfsconfig", names)
	write("repo/deep/er/f", "")
	write("repo/inner/.git", "gitdir: elsewhere\n") // a submodule
	write("repo/other/.git/HEAD", "")
	write("repo/other/.lfsconfig", "[lfs]\n\tlocksverify = false\n")
	write("repo/large/.git/HEAD", "")
	write("repo/large/.lfsconfig", names+strings.Repeat("#", most))
	write("repo/link/.git/HEAD", "")
	testkit.OK(t, os.Symlink("../.lfsconfig", filepath.Join(root, "repo/link/.lfsconfig")))
	write("bare/HEAD", "")
	write("tree/.lfsconfig", names)
	for _, test := range []struct {
		dir, want string
		environ   map[string]string
	}{
		{"repo", "repo/.lfsconfig", nil},
		{"repo/deep/er", "repo/.lfsconfig", nil},
		{"repo/inner", "", nil},
		{"repo/other", "", nil},
		{"repo/large", "", nil},
		{"repo/link", "", nil},
		{"bare", "", nil},
		{"bare", "", map[string]string{"GIT_DIR": "."}},
		{"tree", "tree/.lfsconfig", map[string]string{"GIT_DIR": "../bare"}},
		{"bare", "tree/.lfsconfig", map[string]string{"GIT_DIR": ".", "GIT_WORK_TREE": "../tree"}},
		{"bare", "tree/.lfsconfig", map[string]string{"GIT_DIR": ".", "GIT_WORK_TREE": filepath.Join(root, "tree")}},
	} {
		want := ""
		if test.want != "" {
			want = filepath.Join(root, test.want)
		}
		got := Near(filepath.Join(root, test.dir), func(name string) (string, bool) {
			value, ok := test.environ[name]
			return value, ok
		})
		testkit.Equal(t, got, want, "in %s with %v", test.dir, test.environ)
	}
}
