//go:build unix

package deploy

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// gitlink is a submodule of a commit.
type gitlink struct{ path, url, commit, more string }

// superproject is a commit with submodules, and with other entries.
func superproject(t *testing.T, r *githubtest.Repository, links []gitlink, more ...githubtest.Entry) string {
	t.Helper()
	text := ""
	entries := more
	for i, l := range links {
		text += fmt.Sprintf("[submodule \"m%d\"]\n\tpath = %s\n\turl = %s\n%s", i, l.path, l.url, l.more)
		entries = append(entries, githubtest.Entry{Path: l.path, Mode: githubtest.Submodule, Content: l.commit})
	}
	entries = append(entries, githubtest.Entry{Path: ".gitmodules", Content: text})
	commit := testkit.Must(r.CommitEntries("deployment", githubtest.CommitOptions{Replace: true, Entries: entries}))(t)
	return commit
}

// lib makes a repository with one commit.
func (w *world) lib(name, text string) string {
	w.t.Helper()
	r := w.github.Repository(name)
	if r == nil {
		r = w.repository(name)
	}
	commit := testkit.Must(r.Commit("main", "x", map[string]string{"f": text, "same": "same"}))(w.t)
	return commit
}

// files are those that the directory shows, without .gitmodules.
func (w *world) files() string {
	var list []string
	for _, item := range strings.Split(w.shows(), "; ") {
		if !strings.Contains(item, "[submodule") && !strings.Contains(item, "same: same") {
			list = append(list, item)
		}
	}
	return strings.Join(list, "; ")
}

func TestSubmodulesAreFoundByEveryFormOfTheirAddress(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Submodules = true })
	near, far := w.lib("acme/near", "near"), w.lib("other/far", "far")
	outer := w.repository("acme/outer")
	nested := superproject(t, outer, []gitlink{{path: "in", url: "../near.git", commit: near}})
	host := strings.TrimPrefix(w.server.URL, "http://")
	name, _, _ := strings.Cut(host, ":")
	commit := superproject(t, w.site, []gitlink{
		{path: "relative", url: "../near.git", commit: near},
		{path: "deep/absolute", url: w.server.URL + "/other/far", commit: far},
		{path: "two up", url: "../../other/far.git", commit: far},
		{path: "scp", url: "git@" + name + ":other/far.git", commit: far},
		{path: "ssh", url: "ssh://git@" + name + "/acme/near.git", commit: near},
		{path: "nested", url: "../outer", commit: nested},
		{path: "none", url: "../near.git", commit: near, more: "\tupdate = none\n"},
	}, githubtest.Entry{Path: "a", Content: "1"})
	w.publish(commit)
	want := "a: 1; deep/absolute/f: far; nested/in/f: near; relative/f: near; scp/f: far; ssh/f: near; two up/f: far"
	testkit.Equal(t, w.files(), want)
	if info, err := os.Stat(filepath.Join(w.target.Dir, "none")); err != nil || !info.IsDir() {
		t.Error(err)
	}
	w.target.Submodules = false
	w.publish(commit)
	testkit.Equal(t, w.files(), "a: 1")
}

// GitHub redirects these to https, and git clone follows. Nothing is sent unencrypted.
func TestSubmodulesUnderPlainHTTPOfTheHostAreFetchedByHTTPS(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Submodules = true })
	w.server = httptest.NewTLSServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}),
		0o644); err != nil {
		t.Fatal(err)
	}
	w.target.Scope.Origin, w.target.Scope.CAFile = w.server.URL, ca
	near := w.lib("acme/near", "near")
	w.publish(superproject(t, w.site, []gitlink{
		{path: "http", url: "http://127.0.0.1/acme/near.git", commit: near},
		{path: "git", url: "git://127.0.0.1/acme/near", commit: near},
		{path: "user", url: "http://somebody@127.0.0.1/acme/near.git", commit: near},
		{path: "case", url: "HTTP://127.0.0.1/acme/near.git", commit: near},
		{path: "own", url: strings.Replace(w.server.URL, "https://", "https://somebody@", 1) +
			"/acme/near.git", commit: near},
	}))
	testkit.Equal(t, w.files(), "case/f: near; git/f: near; http/f: near; own/f: near; user/f: near")
	for _, r := range w.published().Parts {
		if !strings.HasPrefix(r.URL, w.server.URL+"/acme/") {
			t.Errorf("%s was fetched from %s", r.Path, r.URL)
		}
	}
	// Another host's stays what it is, and is refused.
	err := w.refused(superproject(t, w.site,
		[]gitlink{{path: "sub", url: "http://127.0.0.1.example/acme/near.git", commit: near}}))
	testkit.Equal(t, gitcmd.ReasonOf(err), gitcmd.ProtocolNotAllowed, "%v", err)
}

// A submodule that is as it was is not fetched, and its files are shared; one that has
// changed is.
func TestUnchangedSubmoduleCostsNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Submodules, g.Share = true, HardLink })
	near, far := w.lib("acme/near", "1"), w.lib("acme/far", "1")
	links := []gitlink{{path: "far", url: "../far", commit: far}, {path: "near", url: "../near", commit: near}}
	w.publish(superproject(t, w.site, links, githubtest.Entry{Path: "a", Content: "1"}))
	first := w.published()
	links[1].commit = w.lib("acme/near", "2")
	// It has another number now, as a part of the release.
	links = append([]gitlink{{path: "another", url: "../far", commit: far}}, links...)
	commit := superproject(t, w.site, links, githubtest.Entry{Path: "a", Content: "2"})
	w.github.ResetRequests()
	w.publish(commit)
	testkit.Equal(t, w.files(), "a: 2; another/f: 1; far/f: 1; near/f: 2")
	asked := map[string]int{}
	for _, r := range w.github.Requests() {
		for _, name := range []string{"site", "near", "far"} {
			if strings.Contains(r.Path, "/acme/"+name) {
				asked[name]++
			}
		}
	}
	// The one that is new is fetched, though its store is there.
	if asked["site"] != 2 && asked["site"] != 3 || asked["far"] > asked["site"] || asked["near"] > asked["site"] {
		t.Errorf("%v", asked)
	}
	w.github.ResetRequests()
	w.publish(superproject(t, w.site, links, githubtest.Entry{Path: "a", Content: "3"}))
	for _, r := range w.github.Requests() {
		testkit.Contains(t, r.Path, "/acme/site")
	}
	for _, name := range []string{"far/f", "near/same"} {
		a, err1 := os.Stat(filepath.Join(w.target.tree(first.ID), name))
		b, err2 := os.Stat(filepath.Join(w.target.Dir, name))
		if err1 != nil || err2 != nil || !os.SameFile(a, b) {
			t.Errorf("%s is not shared: %v %v", name, err1, err2)
		}
	}
	// They are looked at when somebody rolls back, too.
	testkit.OK(t, os.WriteFile(filepath.Join(w.target.tree(first.ID), "near/f"), []byte("x"), 0o644))
	w.rollbackOr(first.ID, Rebuild)
	testkit.Equal(t, w.files(), "a: 1; far/f: 1; near/f: 1")
}

func TestSubmoduleAndFileTakeTurnsAtAPath(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Submodules = true })
	lib := w.lib("acme/lib", "1")
	links := []gitlink{{path: "x", url: "../lib", commit: lib}}
	for _, step := range []struct {
		commit string
		want   string
	}{
		{superproject(t, w.site, links), "x/f: 1"},
		{superproject(t, w.site, nil, githubtest.Entry{Path: "x", Content: "file"}), ".gitmodules: ; x: file"},
		{superproject(t, w.site, links), "x/f: 1"},
		{superproject(t, w.site, nil, githubtest.Entry{Path: "x/y", Content: "dir"}), ".gitmodules: ; x/y: dir"},
		{superproject(t, w.site, nil, githubtest.Entry{Path: "x", Mode: githubtest.Symlink, Content: "/etc"}),
			".gitmodules: ; x -> /etc"},
		{superproject(t, w.site, links), "x/f: 1"},
		{superproject(t, w.site, nil), ".gitmodules: "},
	} {
		w.publish(step.commit)
		testkit.Equal(t, w.files(), step.want)
	}
}

func TestSubmoduleThatCannotBeHadLeavesTheOldRelease(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	var foreign []*http.Request
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		foreign = append(foreign, r)
		rw.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		http.Error(rw, "no", http.StatusUnauthorized)
	}))
	t.Cleanup(elsewhere.Close)
	w := newWorld(t, func(g *Target) { g.Submodules = true })
	// Whoever is asked for a credential says so.
	asked := filepath.Join(t.TempDir(), "asked")
	w.target.Scope.Helper = "!sed -n s/^host=//p >> " + asked + "; printf 'username=x\\npassword=canary\\n'; :"
	lib := w.lib("acme/lib", "1")
	w.publish(w.commit(map[string]string{"a": "1"}))
	for name, test := range map[string]struct {
		url  string
		more []githubtest.Entry
		says string
	}{
		"ext":           {url: "ext::sh -c touch% " + asked, says: "'ext' not allowed"},
		"file":          {url: "file:///etc", says: "'file' not allowed"},
		"a path":        {url: "/etc", says: "'file' not allowed"},
		"ssh elsewhere": {url: "ssh://git@elsewhere.example/x", says: "'ssh' not allowed"},
		"out":           {url: "../../../etc", says: "leads out of the host"},
		"foreign host":  {url: strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1) + "/x", says: "no credential"},
		"gone":          {url: "../nothing", says: "credential refused"},
	} {
		commit := superproject(t, w.site, []gitlink{{path: "x", url: test.url, commit: lib}}, test.more...)
		if err := w.refused(commit); !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(foreign) == 0 {
		t.Error("the foreign host was not asked, so nothing is shown")
	}
	for _, r := range foreign {
		testkit.Equal(t, r.Header.Get("Authorization"), "", "it was given")
	}
	if text, _ := os.ReadFile(asked); strings.Contains(string(text), "localhost") {
		t.Errorf("a credential was asked for, for\n%s", text)
	}

	missing, err := w.site.CommitEntries("deployment", githubtest.CommitOptions{Replace: true,
		Entries: []githubtest.Entry{{Path: "x", Mode: githubtest.Submodule, Content: lib}}})
	testkit.OK(t, err)
	testkit.ErrorIs(t, w.refused(missing), ErrSubmodule)
	lost := superproject(t, w.site, []gitlink{{path: "x", url: "../lib", commit: strings.Repeat("12", 20)}})
	if e, ok := errors.AsType[*gitcmd.Error](w.refused(lost)); !ok || !strings.HasSuffix(e.Submodule, "/acme/lib") {
		t.Errorf("%+v", e)
	}
	// git's server refuses such a thing in .gitmodules; the check of what is fetched does too.
	option := superproject(t, w.site, []gitlink{{path: "x", url: "-u./evil", commit: lib}})
	testkit.Fails(t, w.refused(option), "an option was taken for an address")
}

func TestSubmodulesThatLieInEachOtherHaveAnEnd(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Submodules = true })
	inner := w.lib("acme/m0", "1")
	for i := range deepest + 1 {
		r := w.repository(fmt.Sprintf("acme/m%d", i+1))
		inner = superproject(t, r, []gitlink{{path: "m", url: fmt.Sprintf("../m%d", i), commit: inner}})
	}
	commit := superproject(t, w.site, []gitlink{{path: "m", url: fmt.Sprintf("../m%d", deepest+1), commit: inner}})
	if err := w.refused(commit); !errors.Is(err, ErrSubmodule) || !strings.Contains(err.Error(), "deep") {
		t.Error(err)
	}
}
