package cli_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// commit makes a commit in a repository of the world, which is made if it is not
// there, and returns it.
func (w *world) commit(t *testing.T, repository string, entries ...githubtest.Entry) string {
	t.Helper()
	oid := testkit.Must(w.github.AddRepository(repository, githubtest.RepositoryOptions{}).
		CommitEntries("main", githubtest.CommitOptions{Message: "Change", Entries: entries}))(t)
	return oid
}

// newOpenWorld has an installation that reaches all repositories of acme.
func newOpenWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldFor(t)
	w.app.Install("acme", githubtest.InstallOptions{All: true})
	return w
}

// submodule are the entries of a submodule at PATH.
func submodule(path, address, commit string) []githubtest.Entry {
	return []githubtest.Entry{
		{Path: ".gitmodules", Content: "[submodule \"" + path + "\"]\n\tpath = " + path + "\n\turl = " + address + "\n"},
		{Path: path, Mode: githubtest.Submodule, Content: commit},
	}
}

// ghapp itself goes nowhere else either, with a credential or without.
func TestRedirectLeadsToNoOtherHost(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	for where, match := range map[string]func(*http.Request) bool{
		"look-up":    isCall("GET", "/installation"),
		"mint":       isCall("POST", "/access_tokens"),
		"question":   isSettle,
		"all of git": func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/api/") },
	} {
		for name, demand := range demanding() {
			t.Run(where+", "+name, func(t *testing.T) {
				t.Parallel()
				m, e := w.machine(t), newEvil(t)
				demand(t, e)
				m.traffic.divert(match, movedTo(e.url))
				r := m.ghapp("-v", "clone", "acme/site")
				if asked := len(e.Requests()); asked > 0 {
					t.Errorf("evil was asked %d times", asked)
				}
				e.sentNothing(m)
				m.noSecretIn("the output", r.stdout+r.stderr)
				m.noSecretOnDisk()
				if r.code != 0 {
					m.nothingLeft()
				}
			})
		}
	}
}

func TestSubmoduleElsewhereIsNamedAndNobodyIsAskedForItsPassword(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	for where, repository := range map[string]func(address string) []githubtest.Entry{
		"direct": func(address string) []githubtest.Entry { return submodule("sub", address, evilHead(t)) },
		"nested": func(address string) []githubtest.Entry {
			return submodule("sub", "../inner.git", w.commit(t, "acme/inner", submodule("deeper", address, evilHead(t))...))
		},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m, e := w.machine(t), newEvil(t)
			e.AskPassword()
			w.commit(t, "acme/"+where, repository(e.url+"/acme/site")...)
			m.program(filepath.Join(m.root, "askpass"))
			m.gitConfig("core.askPass", filepath.Join(m.root, "askpass"))
			m.environ["SSH_ASKPASS"] = filepath.Join(m.root, "askpass")
			r := m.ghapp("clone", "acme/"+where, "--", "--recurse-submodules")
			r.ends(t, 4, "submodule ", strings.TrimPrefix(e.url, "http://")+"/acme/site")
			e.sentNothing(m)
			m.noProgramRan()
			m.onlyOurs(3)
			m.nothingLeft()
		})
	}
}

// A submodule may name files and programs of the machine, or another transport.
func TestSubmoduleByAnotherTransportIsRefused(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	for i, address := range []string{"ext::sh -c touch% {ran}", "file:///etc", "/etc", "git://127.0.0.1/acme/web",
		"ftp://127.0.0.1/x", "--upload-pack=touch {ran}"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			m, repository := w.machine(t), fmt.Sprintf("acme/transport-%d", i)
			w.commit(t, repository,
				submodule("sub", strings.ReplaceAll(address, "{ran}", m.root+"/ran"), strings.Repeat("1", 40))...)
			m.environ["GIT_ALLOW_PROTOCOL"] = "https:http:ext:file:git:ftp:ssh"
			if r := m.ghapp("clone", repository, "--", "--recurse-submodules"); r.code == 0 {
				t.Error("the clone did not fail")
			}
			m.nothingLeft()
			m.noProgramRan()
		})
	}
}

// A repository that brings hooks for its clone (CVE-2024-32002 and its kind): they do
// not run, even where git itself can be led to write them.
func TestHookOfARepositoryDoesNotRun(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	m := w.machine(t)
	hook := "#!/bin/sh\ntouch '" + m.root + "/ran'\n"
	inner := w.commit(t, "acme/web", githubtest.Entry{Path: "y/hooks/post-checkout",
		Mode: githubtest.Executable, Content: hook})
	entries := append(submodule("A/modules/x", "../web.git", inner),
		githubtest.Entry{Path: "a", Mode: githubtest.Symlink, Content: ".git"},
		githubtest.Entry{Path: ".githooks/post-checkout", Mode: githubtest.Executable, Content: hook})
	w.commit(t, "acme/site", entries...)
	r := m.ghapp("clone", "acme/site", "--", "--recurse-submodules", "--config", "core.hooksPath=.githooks")
	m.noProgramRan()
	m.noSecretIn("the output", r.stdout+r.stderr)
}

func TestSubmoduleOfAnotherOwnerGetsATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	head := testkit.Must(w.github.Repository("octo/lib").Head("main"))(t)
	w.commit(t, "acme/site", submodule("lib", "../../octo/lib.git", head)...)
	m := w.machine(t)

	r := m.ghapp("clone", "acme/site", "--", "--recurse-submodules")
	r.ends(t, 4, "ghapp: error: cannot find the installation of octo", "hint: install the App on this owner")
	m.nothingLeft()

	w.app.Install("octo", githubtest.InstallOptions{Repositories: []string{"lib"}})
	m.must("clone", "acme/site", "--", "--recurse-submodules")
	testkit.Equal(t, m.read("site/lib/name.txt"), "octo/lib\n", "cloned")
	m.onlyOurs(6)
	var reach [][]string
	for _, token := range w.github.Tokens() {
		reach = append(reach, token.Repositories)
		testkit.Equal(t, token.Permissions["contents"], "read", "a token may %v", token.Permissions)
	}
	testkit.Diff(t, reach, [][]string{{"acme/site"}, {"octo/lib"}})

	// Tomorrow too, with plain git.
	w.commit(t, "octo/lib", githubtest.Entry{Path: "new.txt", Content: "new\n"})
	git := m.git("-C", "site/lib", "pull", "origin", "main")
	if out, err := git.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	testkit.Equal(t, m.read("site/lib/new.txt"), "new\n", "pulled")
}

// git is plain git on the machine.
func (m *machine) git(args ...string) *exec.Cmd {
	ghapp, _ := m.command()
	git := exec.Command("git", args...)
	git.Dir, git.Env = ghapp.Dir, ghapp.Env
	return git
}

// Objects of git-lfs lie on another host than the repository, under links that need
// no credential.
func TestStoreOfLargeFilesGetsNoCredential(t *testing.T) {
	t.Parallel()
	w, store := newWorldFor(t), newEvil(t)
	store.Serve(w.github)
	w.github.SetStorageURL(store.url)
	w.commit(t, "acme/site",
		githubtest.Entry{Path: ".gitattributes", Content: "*.lfs filter=lfs -text\n"},
		githubtest.Entry{Path: "film.lfs", Content: w.github.Repository("acme/site").AddObject("film\n")})
	m := w.machine(t)
	m.installLFS()
	m.must("clone", "acme/site")
	testkit.Equal(t, m.read("site/film.lfs"), "film\n", "cloned")
	if !slices.ContainsFunc(store.Requests(), func(r githubtest.Request) bool { return r.Method == "GET" }) {
		t.Error("the store was not asked")
	}
	store.sentNothing(m)
}
