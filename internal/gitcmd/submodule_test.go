package gitcmd

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

// superproject makes root/acme/super.git, whose submodules are at the addresses.
// Each of them leads to the contents of acme/lib.
func superproject(t *testing.T, root string, addresses map[string]string) {
	t.Helper()
	testkit.OK(t, repository(root, "acme/lib", map[string]string{"lib.txt": "library\n"}))
	plainGit(t, root, "clone", "--quiet", "--bare", filepath.Join(root, "acme/lib.git"),
		filepath.Join(root, "other/lib.git"))
	commit := strings.TrimSpace(plainGit(t, filepath.Join(root, "acme/lib.git"), "rev-parse", "main"))
	modules, more := "", [][]string(nil)
	for path, address := range addresses {
		modules += fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", path, path, address)
		more = append(more, []string{"update-index", "--add", "--cacheinfo", "160000," + commit + "," + path})
		testkit.OK(t, os.MkdirAll(filepath.Join(root, "work/acme/super", path), 0o777))
	}
	testkit.OK(t, repository(root, "acme/super", map[string]string{".gitmodules": modules}, more...))
}

// Where git goes for a submodule, and with which headers, whatever the machine says.
func TestSubmoduleAddressesOnAHostileMachine(t *testing.T) {
	t.Parallel()
	const header = "Authorization: Basic " + theirs
	tests := map[string]preparation{
		"nothing":                     func(t *testing.T, m *machine, o, evil *origin) {},
		"header unscoped":             ambient("http.extraHeader", header),
		"header on origin":            ambient("http.{origin}.extraHeader", header),
		"header on owner":             ambient("http.{origin}/acme/.extraHeader", header),
		"header on a submodule":       ambient("http.{origin}/acme/lib.git.extraHeader", header),
		"header on a host pattern":    ambient("http.https://*.example.com/acme.extraHeader", header),
		"header on another pattern":   ambient("http.https://g.*.com/acme.extraHeader", header),
		"certificates unchecked":      ambient("http.{origin}/acme.sslVerify", "false"),
		"origin goes to evil":         ambient("url.{evil}/.insteadOf", "{origin}/"),
		"owner goes to evil":          ambient("url.{evil}/acme/.insteadOf", "{origin}/acme/"),
		"short name goes to evil":     ambient("url.{evil}/acme/lib.insteadOf", "{origin}/acme/lib"),
		"beginning goes to evil":      ambient("url.{evil}/ac.insteadOf", "{origin}/ac"),
		"https goes to evil":          ambient("url.{evil}/.insteadOf", "https://"),
		"ssh goes to evil":            ambient("url.{evil}/.insteadOf", "git@g.example.com:"),
		"ssh owner goes to evil":      ambient("url.{evil}/acme/.insteadOf", "git@g.example.com:acme/"),
		"ssh short name goes to evil": ambient("url.{evil}/acme/lib.insteadOf", "git@g.example.com:acme/lib"),
		"ssh url goes to evil":        ambient("url.{evil}/.insteadOf", "ssh://git@g.example.com/"),
		"http goes to evil":           ambient("url.{evil}/.insteadOf", "http://g.example.com/"),
		"origin goes to ssh":          ambient("url.git@g.example.com:.insteadOf", "{origin}/"),
		"ssh goes to origin as is":    ambient("url.{origin}/.insteadOf", "git@g.example.com:"),
		"pushes go to evil":           ambient("url.{evil}/.pushInsteadOf", "{origin}/"),
	}
	o := &origin{Server: &httptest.Server{URL: "https://g.example.com"}}
	evil := &origin{Server: &httptest.Server{URL: "https://evil.example.com"}}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			prepare(t, m, o, evil)
			m.config(t, "http.https://other.example.com/.extraHeader", "X-Other: 1")
			r := m.runner()
			scope := Scope{Origin: o.URL, Helper: m.helper, Submodules: true, SSHUsers: []string{"org-7"}}
			ask := func(args ...string) string {
				out, err := r.Output(t.Context(), scope, args...)
				if e, ok := errors.AsType[*Error](err); err != nil && !(ok && e.ExitCode == 1) {
					t.Fatal(err)
				}
				return string(out)
			}
			const want = "https://g.example.com/acme/lib.git"
			for _, address := range []string{want, "git@g.example.com:acme/lib.git", "ssh://git@g.example.com/acme/lib.git",
				"org-7@g.example.com:acme/lib.git", "http://g.example.com/acme/lib.git", "git://g.example.com/acme/lib.git"} {
				if got := strings.TrimSpace(ask("ls-remote", "--get-url", address)); got != want {
					t.Errorf("%s leads to %s", address, got)
				}
			}
			testkit.Equal(t, strings.TrimSpace(ask("config", "--get-urlmatch", "http.extraHeader", want)), "", "header")
			testkit.Equal(t, ask("config", "--get-urlmatch", "http.sslVerify", want), "true\n", "sslVerify")
			if got := ask("config", "--get-urlmatch", "http.extraHeader", "https://other.example.com/x"); got != "X-Other: 1\n" {
				t.Errorf("another host's header is %q", got)
			}
			env := testkit.Must(r.Environment(t.Context(), scope))(t)
			repository := t.TempDir()
			plainGit(t, repository, "init", "--quiet")
			plainGit(t, repository, "remote", "add", "origin", want)
			push := exec.Command("git", "remote", "get-url", "--push", "origin")
			push.Dir, push.Env = repository, env
			testkit.Equal(t, strings.TrimSpace(string(testkit.Must(push.Output())(t))), want, "a push goes to")
		})
	}
}

// The same on the way of a clone, where git starts itself many times.
func TestSubmodulesOnAHostileMachine(t *testing.T) {
	t.Parallel()
	const header = "Authorization: Basic " + theirs
	tests := map[string][]preparation{
		"https": {
			ambient("http.{origin}/other/.extraHeader", header),
			ambient("http.{origin}/acme/lib.git.extraHeader", header),
			ambient("url.{evil}/.insteadOf", "{origin}/"),
			ambient("url.{evil}/other/.insteadOf", "{origin}/other/"),
			store, hooksPath,
		},
		"ssh": {
			ambient("url.{evil}/.insteadOf", "git@127.0.0.1:"),
			ambient("url.git@127.0.0.1:.insteadOf", "{origin}/"),
			netrc("machine 127.0.0.1 login u password " + theirs),
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			o, evil := newOrigin(t, func(o *origin) { o.root = root }), newOrigin(t,
				func(o *origin) { o.public, o.root = true, root })
			m := newMachine(t)
			addresses := map[string]string{"relative": "../../other/lib.git", "absolute": o.URL + "/acme/lib.git",
				"deep/ssh": "git@127.0.0.1:acme/lib.git"}
			superproject(t, root, addresses)
			for _, f := range prepare {
				f(t, m, o, evil)
			}
			options := m.options(o, "acme/super")
			options.Extra = []string{"--recurse-submodules", "-j", "2"}
			testkit.OK(t, m.runner().Clone(t.Context(), options), "%s", m.stderr.String())
			for path := range addresses {
				if text := read(t, filepath.Join(m.dir, "super", path, "lib.txt")); text != "library\n" {
					t.Errorf("%s: cloned %q", path, text)
				}
			}
			for _, request := range o.seen() {
				if request.Login != "" && request.Login != username+":"+token {
					t.Errorf("%s %s came with another login", request.Method, request.Path)
				}
			}
			testkit.Equal(t, len(evil.seen()), 0, "evil was asked")
			testkit.Fails(t, testkit.ErrorOf(os.Stat(filepath.Join(m.home, "ran"))), "a hook was run")
			mustNotHold(t, "stderr", m.stderr.String()+m.stdout.String(), token, theirs)
			mustNotBeUnder(t, m.dir, token, theirs)
		})
	}
}

// A submodule on another host is that host's affair.
func TestSubmoduleElsewhereGetsNoToken(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	o := newOrigin(t, func(o *origin) { o.root = root })
	evil := newOrigin(t, func(o *origin) { o.root = root })
	superproject(t, root, map[string]string{"sub": evil.URL + "/acme/lib.git"})
	m := newMachine(t)
	options := m.options(o, "acme/super")
	options.Extra = []string{"--recurse-submodules"}
	err := m.runner().Clone(t.Context(), options)
	e := asError(t, err)
	if e.Reason != PromptDisabled || e.Submodule != evil.URL+"/acme/lib.git" {
		t.Errorf("reason %q, submodule %q\n%s", e.Reason, e.Submodule, e.Stderr)
	}
	if seen := evil.seen(); len(seen) == 0 {
		t.Error("the submodule was not asked for")
	}
	for _, request := range evil.seen() {
		testkit.Equal(t, request.Login, "", "it was sent a login")
	}
	mustBeEmpty(t, m.dir)
}

func TestCloneNamesTheHelperInSubmodules(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string][]string{
		"in .git":   {"--recurse-submodules"},
		"elsewhere": {"--recursive", "--separate-git-dir=git dir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			o := newOrigin(t, func(o *origin) { o.root = root })
			superproject(t, root, map[string]string{"deep/one": "../lib.git", "two": "git@127.0.0.1:acme/lib.git"})
			m := newMachine(t)
			options := m.options(o, "acme/super")
			const helper = "!'/opt/my ghapp' credential"
			options.Extra, options.Persist = extra, asking(o.URL, helper)
			testkit.OK(t, m.runner().Clone(t.Context(), options), "%s", m.stderr.String())
			key := "credential." + o.URL + "."
			want := "\n" + helper + "\n"
			for _, dir := range []string{"super", "super/deep/one", "super/two"} {
				dir = filepath.Join(m.dir, dir)
				if got := plainGit(t, dir, "config", "--local", "--get-all", key+"helper"); got != want {
					t.Errorf("%s: helper %q", dir, got)
				}
				if got := plainGit(t, dir, "config", "--local", key+"useHttpPath"); got != "true\n" {
					t.Errorf("%s: useHttpPath %q", dir, got)
				}
			}
			for dir, want := range map[string]string{"super/deep/one": o.URL + "/acme/lib.git\n",
				"super/two": o.URL + "/acme/lib.git\n"} {
				if diff := cmp.Diff(want, plainGit(t, filepath.Join(m.dir, dir), "ls-remote", "--get-url")); diff != "" {
					t.Errorf("%s: a later fetch goes to (-want +got):\n%s", dir, diff)
				}
			}
		})
	}
}
