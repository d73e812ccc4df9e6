package installed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Each layout is that of a package manager: files, and links with what they lead to.
func TestLastingIsTheNameThatOutlastsAnUpgrade(t *testing.T) {
	const hash = "0c5b4xw1l2d8nqvbs9a4z6k3m7y2f1pj"
	for name, layout := range map[string]struct {
		file    string
		links   map[string]string
		path    []string
		invoked string
		want    string
	}{
		"no version": {file: "usr/local/bin/ghapp",
			path: []string{"usr/local/bin"}, want: "usr/local/bin/ghapp"},
		"no version, and a link": {file: "opt/ghapp/bin/ghapp",
			links: map[string]string{"bin/ghapp": "../opt/ghapp/bin/ghapp"}, path: []string{"bin"}, want: "opt/ghapp/bin/ghapp"},
		"Homebrew": {file: "brew/Cellar/ghapp/1.0.0/bin/ghapp", links: map[string]string{
			"brew/bin/ghapp": "../Cellar/ghapp/1.0.0/bin/ghapp"}, path: []string{"brew/bin"}, want: "brew/bin/ghapp"},
		"Homebrew not on PATH": {file: "brew/Cellar/ghapp/1.0.0/bin/ghapp",
			links: map[string]string{"brew/bin/ghapp": "../Cellar/ghapp/1.0.0/bin/ghapp"}, want: "brew/bin/ghapp"},
		"Homebrew, keg only": {file: "brew/Cellar/ghapp/1.0.0/bin/ghapp",
			links: map[string]string{"brew/opt/ghapp": "../Cellar/ghapp/1.0.0"}, want: "brew/opt/ghapp/bin/ghapp"},
		"mise": {file: "mise/installs/ghapp/1.0.0/bin/ghapp", links: map[string]string{
			"mise/installs/ghapp/1": "1.0.0", "mise/installs/ghapp/1.0": "1.0.0", "mise/installs/ghapp/latest": "1.0.0"},
			path: []string{"mise/installs/ghapp/1.0.0/bin"}, want: "mise/installs/ghapp/latest/bin/ghapp"},
		"mise without latest": {file: "mise/installs/ghapp/1.0.0/bin/ghapp", links: map[string]string{
			"mise/installs/ghapp/1": "1.0.0", "mise/installs/ghapp/1.0": "1.0.0"}, want: "mise/installs/ghapp/1/bin/ghapp"},
		"store of Nix": {file: "nix/store/" + hash + "-ghapp/bin/ghapp", links: map[string]string{
			"profile/bin": "../nix/store/" + hash + "-ghapp/bin"}, path: []string{"profile/bin"}, want: "profile/bin/ghapp"},
		"a directory with a link": {file: "opt/ghapp-1.0/bin/ghapp",
			links: map[string]string{"opt/ghapp": "ghapp-1.0"}, want: "opt/ghapp/bin/ghapp"},
		"called by its link": {file: "opt/ghapp-1.0/bin/ghapp", links: map[string]string{
			"my/bin/ghapp": "../../opt/ghapp-1.0/bin/ghapp"}, invoked: "my/bin/ghapp", want: "my/bin/ghapp"},
		"a link to another": {file: "opt/ghapp-1.0/bin/ghapp", links: map[string]string{"bin/ghapp": "/bin/true",
			"opt/ghapp": "other"}, path: []string{"bin"}, want: "opt/ghapp-1.0/bin/ghapp"},
		"nothing better": {file: "opt/ghapp-1.0/bin/ghapp", path: []string{"opt/ghapp-1.0/bin"},
			want: "opt/ghapp-1.0/bin/ghapp"},
		"a relative PATH": {file: "opt/ghapp-1.0/bin/ghapp", links: map[string]string{
			"bin/ghapp": "../opt/ghapp-1.0/bin/ghapp"}, path: []string{"!bin"}, want: "opt/ghapp-1.0/bin/ghapp"},
	} {
		t.Run(name, func(t *testing.T) {
			root := testkit.Must(filepath.EvalSymlinks(t.TempDir()))(t)
			make := func(path string, put func(path string) error) {
				path = filepath.Join(root, path)
				testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
				testkit.OK(t, put(path))
			}
			make(layout.file, func(path string) error { return os.WriteFile(path, nil, 0o755) })
			for link, to := range layout.links {
				make(link, func(path string) error { return os.Symlink(to, path) })
			}
			p := Program{File: filepath.Join(root, layout.file)}
			var path []string
			for _, dir := range layout.path {
				if relative, ok := strings.CutPrefix(dir, "!"); ok {
					path = append(path, relative)
					t.Chdir(root)
					continue
				}
				path = append(path, filepath.Join(root, dir))
			}
			p.Path = strings.Join(path, string(os.PathListSeparator))
			if layout.invoked != "" {
				p.Invoked = filepath.Join(root, layout.invoked)
			}
			testkit.Equal(t, p.Lasting("ghapp"), filepath.Join(root, layout.want), "want %s", layout.want)
		})
	}
}

func TestLastingIsNothingForWhatIsNotThere(t *testing.T) {
	p := Program{File: filepath.Join(t.TempDir(), "ghapp")}
	testkit.Equal(t, p.Lasting("git-credential-ghapp"), "")
}

func TestKeeperTakesAwayWhatHasAVersion(t *testing.T) {
	for path, want := range map[string]string{
		"/opt/homebrew/Cellar/ghapp/1.0.0/bin/ghapp":                  "Homebrew",
		"/opt/homebrew/Cellar/ghapp/1.0.0_1/bin/git-credential-ghapp": "Homebrew",
		"/opt/homebrew/opt/ghapp/bin/ghapp":                           "",
		"/opt/homebrew/bin/ghapp":                                     "",
		"/nix/store/0c5b4xw1l2d8nqvbs9a4z6k3m7y2f1pj-ghapp/bin/ghapp": "Nix",
		"/home/me/.nix-profile/bin/ghapp":                             "",
		"/home/me/.local/share/mise/installs/ghapp/1.0.0/bin/ghapp":   "mise, or asdf,",
		"/home/me/.local/share/mise/installs/ghapp/latest/bin/ghapp":  "",
		"/home/me/.asdf/installs/ghapp/1.0.0/ghapp":                   "mise, or asdf,",
		"/opt/ghapp-1.0/bin/ghapp":                                    "",
		"/tmp/build-1/001/ghapp":                                      "",
		"Cellar":                                                      "", "": "",
	} {
		testkit.Equal(t, Keeper(path), want, "%s", path)
	}
}
