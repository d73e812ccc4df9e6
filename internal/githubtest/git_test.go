package githubtest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// gitWorld is a private repository acme/site with two commits, an App on acme, and a server.
type gitWorld struct {
	gh     *githubtest.GitHub
	server *httptest.Server
	app    *githubtest.App
	inst   *githubtest.Installation
	repo   *githubtest.Repository
	heads  []string
}

func newGitWorld(t *testing.T) *gitWorld {
	t.Helper()
	w := &gitWorld{gh: newGitHub(t)}
	w.server = httptest.NewServer(w.gh)
	t.Cleanup(w.server.Close)
	w.app = newApp(t, w.gh, githubtest.AppOptions{Name: "Deployer", Permissions: map[string]string{"contents": "write"}})
	w.repo = w.gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	w.inst = w.app.Install("acme", githubtest.InstallOptions{All: true})
	for _, text := range []string{"one\n", "two\n"} {
		w.heads = append(w.heads, commit(t, w.repo, "main", map[string]string{"index.html": text, "sub/dir/file": text}))
	}
	return w
}

func commit(t *testing.T, r *githubtest.Repository, branch string, files map[string]string) string {
	t.Helper()
	oid := testkit.Must(r.Commit(branch, "change", files))(t)
	return oid
}

func (w *gitWorld) mint(t *testing.T, body string) string { return mint(t, w.gh, w.app, w.inst, body) }

func TestClone(t *testing.T) {
	w := newGitWorld(t)
	for _, format := range []githubtest.TokenFormat{githubtest.Classic, githubtest.Stateless} {
		w.gh.SetTokenFormat(format)
		secret := w.mint(t, `{"permissions":{"contents":"read"}}`)
		for i, path := range []string{"/acme/site.git", "/acme/site", "/ACME/Site"} {
			dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
			mustGit(t, ".", "clone", "-q", remote(w.server, secret, path), dir)
			testkit.Equal(t, mustGit(t, dir, "rev-parse", "HEAD"), w.heads[1], "%s: HEAD", path)
			testkit.Equal(t, mustGit(t, dir, "symbolic-ref", "--short", "HEAD"), "main", "%s: on branch", path)
		}
	}
	requests := w.gh.Requests()
	if first := requests[1]; first.Credential.Kind != githubtest.NoCredential || first.Status != 401 ||
		first.Path != "/acme/site.git/info/refs" {
		t.Errorf("git's first request: %+v", first)
	}
	if second := requests[2]; second.Credential.Kind != githubtest.BasicCredential ||
		second.Credential.InstallationID != w.inst.ID ||
		second.Credential.Username != "x-access-token" || second.Status != 200 ||
		second.Header.Get("Git-Protocol") != "version=2" {
		t.Errorf("git's second request: %+v", second)
	}
	// A v2 server answers the discovery with its capabilities and no refs.
	r := basic(t, w, w.mint(t, ""), "GET", "/acme/site.git/info/refs?service=git-upload-pack", "Git-Protocol", "version=2")
	testkit.Contains(t, r.text, "version 2")
	testkit.Lacks(t, r.text, "refs/heads")
}

// basic sends a request to the server with a token as git sends it.
func basic(t *testing.T, w *gitWorld, secret, method, path string, headers ...string) reply {
	t.Helper()
	authorization := ""
	if secret != "" {
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+secret))
	}
	return ask(t, w.gh, method, w.server.URL+path, authorization, "", headers...)
}

func TestShallowPartialAndExactFetches(t *testing.T) {
	w := newGitWorld(t)
	url := remote(w.server, w.mint(t, ""), "/acme/site.git")
	shallow := filepath.Join(t.TempDir(), "shallow")
	mustGit(t, ".", "clone", "-q", "--depth", "1", url, shallow)
	testkit.Equal(t, mustGit(t, shallow, "rev-list", "--count", "HEAD"), "1", "a clone of depth 1")
	mustGit(t, shallow, "fetch", "-q", "--deepen", "1")
	testkit.Equal(t, mustGit(t, shallow, "rev-list", "--count", "HEAD"), "2", "deepened it")
	partial := filepath.Join(t.TempDir(), "partial")
	mustGit(t, ".", "clone", "-q", "--no-checkout", "--filter=blob:none", url, partial)
	testkit.Contains(t, mustGit(t, partial, "rev-list", "--objects", "--missing=print", "HEAD"), "\n?")
	mustGit(t, partial, "checkout", "-q", "main")
	if text, err := os.ReadFile(filepath.Join(partial, "index.html")); err != nil || string(text) != "two\n" {
		t.Errorf("the lazy fetch brought %q, %v", text, err)
	}
	// A commit that no ref points to any more.
	orphan, err := w.repo.CommitEntries("main",
		githubtest.CommitOptions{Message: "anew", Orphan: true, Entries: []githubtest.Entry{{Path: "a", Content: "a"}}})
	testkit.OK(t, err)
	exact := t.TempDir()
	mustGit(t, exact, "init", "-q")
	mustGit(t, exact, "fetch", "-q", url, w.heads[0])
	testkit.Equal(t, mustGit(t, exact, "rev-parse", "FETCH_HEAD"), w.heads[0], "an exact fetch brought")
	mustGit(t, exact, "fetch", "-q", url, "main")
	testkit.Equal(t, mustGit(t, exact, "rev-parse", "FETCH_HEAD"), orphan, "after the forced move main")
}

func TestPush(t *testing.T) {
	w := newGitWorld(t)
	url := remote(w.server, w.mint(t, ""), "/acme/site")
	dir := filepath.Join(t.TempDir(), "clone")
	mustGit(t, ".", "clone", "-q", url, dir)
	// More than http.postBuffer, so that git sends it chunked.
	noise := make([]byte, 3<<20)
	source := rand.NewChaCha8([32]byte{})
	source.Read(noise)
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "big"), noise, 0o600))
	mustGit(t, dir, "add", "big")
	mustGit(t, dir, "commit", "-q", "-m", "big")
	w.gh.SetClockOffset(30 * time.Minute)
	mustGit(t, dir, "push", "-q", "origin", "main", "main:other")
	requests := w.gh.Requests()
	if last := requests[len(requests)-1]; last.Path != "/acme/site/git-receive-pack" ||
		last.Status != 200 || last.Body != "" {
		t.Errorf("the last request: %+v", last)
	}
	head := mustGit(t, dir, "rev-parse", "HEAD")
	for _, branch := range []string{"main", "other"} {
		testkit.Equal(t, testkit.Must(w.repo.Head(branch))(t), head, "%s is", branch)
	}
	r := ask(t, w.gh, "GET", "/repos/acme/site", "Bearer "+w.mintLater(t), "")
	pushed, err := time.Parse(time.RFC3339, fmt.Sprint(r.field("pushed_at")))
	if err != nil || time.Until(pushed) < 29*time.Minute {
		t.Errorf("pushed_at is %v after a push at the end of the clock offset", r.field("pushed_at"))
	}
}

// mintLater mints with a JWT for the moved clock.
func (w *gitWorld) mintLater(t *testing.T) string {
	t.Helper()
	w.gh.SetClockOffset(0)
	return w.mint(t, "")
}

func TestGitRefusals(t *testing.T) {
	w := newGitWorld(t)
	w.gh.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	w.gh.AddRepository("octo/open", githubtest.RepositoryOptions{Public: true})
	w.gh.AddRepository("acme/shelved", githubtest.RepositoryOptions{Archived: true})
	commit(t, w.gh.Repository("octo/open"), "main", nil)
	full := w.mint(t, "")
	readOnly := w.mint(t, `{"permissions":{"contents":"read"}}`)
	noContents := w.mint(t, `{"permissions":{"metadata":"read"}}`)
	narrow := w.mint(t, `{"repositories":["site"]}`)
	dead := w.mint(t, "")
	ask(t, w.gh, "DELETE", "/installation/token", "Bearer "+dead, "")
	const (
		bad      = "Invalid username or token. Password authentication is not supported for Git operations."
		notFound = "Repository not found."
		read     = "?service=git-upload-pack"
		write    = "?service=git-receive-pack"
	)
	for _, test := range []struct {
		name, secret, path string
		status             int
		text               string
	}{
		{"read", full, "/acme/site/info/refs" + read, 200, ""},
		{"write", full, "/acme/site/info/refs" + write, 200, ""},
		{"read with a token for reading", readOnly, "/acme/site/info/refs" + read, 200, ""},
		{"write with a token for reading", readOnly, "/acme/site/info/refs" + write, 403,
			"Permission to acme/site.git denied to deployer[bot]."},
		{"post with a token for reading", readOnly, "/acme/site/git-receive-pack", 403,
			"Permission to acme/site.git denied to deployer[bot]."},
		{"read without contents", noContents, "/acme/site/info/refs" + read, 403, "Write access to repository not granted."},
		{"outside the token", narrow, "/acme/hidden/info/refs" + read, 404, notFound},
		{"post outside the token", narrow, "/acme/hidden/git-upload-pack", 404, notFound},
		{"no such repository", full, "/acme/nowhere/info/refs" + read, 404, notFound},
		{"revoked", dead, "/acme/site/info/refs" + read, 401, bad},
		{"made up", "ghs_x", "/acme/site/info/refs" + read, 401, bad},
		{"made up, public repository", "ghs_x", "/octo/open/info/refs" + read, 401, bad},
		{"anonymous", "", "/acme/site/info/refs" + read, 401, notFound},
		{"anonymous, no such repository", "", "/acme/nowhere/info/refs" + read, 401, notFound},
		{"anonymous, public", "", "/octo/open/info/refs" + read, 200, ""},
		{"anonymous write, public", "", "/octo/open/info/refs" + write, 401, "No anonymous write access."},
		{"foreign public", full, "/octo/open.git/info/refs" + read, 200, ""},
		{"write to a foreign public one", full, "/octo/open.git/info/refs" + write, 403,
			"Permission to octo/open.git denied to deployer[bot]."},
		{"write to an archived one", full, "/acme/shelved/info/refs" + write, 403,
			"This repository was archived so it is read-only."},
		{"dumb protocol", full, "/acme/site/info/refs", 403, "Please upgrade your git client."},
	} {
		t.Run(test.name, func(t *testing.T) {
			method := "GET"
			if !strings.Contains(test.path, "info/refs") {
				method = "POST"
			}
			r := basic(t, w, test.secret, method, test.path)
			if r.status != test.status || test.text != "" && r.text != test.text {
				t.Errorf("got %d %q, want %d %q", r.status, r.text, test.status, test.text)
			}
			if asked := r.header.Get("WWW-Authenticate") == `Basic realm="GitHub"`; asked != (r.status == 401) {
				t.Errorf("WWW-Authenticate: %q with %d", r.header.Get("WWW-Authenticate"), r.status)
			}
		})
	}
	for name, authorization := range map[string]string{
		"Bearer": "Bearer " + full, "token": "token " + full, "a JWT": bearer(t, w.app), "nonsense": "Negotiate x",
	} {
		r := ask(t, w.gh, "GET", "/acme/site/info/refs"+read, authorization, "")
		testkit.Equal(t, r.status, 401, "%s", name)
		testkit.Equal(t, r.text, "invalid credentials", "%s", name)
	}
	for name, userinfo := range map[string]string{
		"in the username": full + ":", "with x-oauth-basic": full + ":x-oauth-basic",
		"another name": "git:" + full, "no name": ":" + full,
	} {
		r := ask(t, w.gh, "GET", "/acme/site/info/refs"+read,
			"Basic "+base64.StdEncoding.EncodeToString([]byte(userinfo)), "")
		testkit.Equal(t, r.status, 401, "token %s", name)
		testkit.Equal(t, r.text, bad, "token %s", name)
	}

	change := func(do, undo func(), status int, text string) {
		t.Helper()
		do()
		if r := basic(t, w, full, "GET", "/acme/site/info/refs"+read); r.status != status || !strings.Contains(r.text, text) {
			t.Errorf("got %d %q, want %d %q", r.status, r.text, status, text)
		}
		undo()
	}
	change(w.inst.Suspend, w.inst.Unsuspend, 403, "This installation has been suspended")
	change(func() { w.gh.SetPropagationDelay(time.Minute) }, func() { w.gh.SetPropagationDelay(0) }, 404, notFound)
	change(func() { w.gh.SetIPAllowList("acme", true) },
		func() { w.gh.SetIPAllowList("acme", false) }, 403, "IP allow list enabled")
	change(func() { w.gh.SetIPAllowList("octo", true) }, func() { w.gh.SetIPAllowList("octo", false) }, 200, "")
	change(func() { w.gh.SetPropagationDelay(2 * time.Hour); w.gh.SetClockOffset(time.Hour) },
		func() { w.gh.SetPropagationDelay(0); w.gh.SetClockOffset(0) }, 401, bad)
	change(func() { w.gh.SetClockOffset(time.Hour) }, func() { w.gh.SetClockOffset(0) }, 401, bad)
	change(func() { w.inst.Select("hidden") }, w.inst.SelectAll, 404, notFound)
	change(func() { w.inst.SetPermissions(map[string]string{"metadata": "read"}) },
		func() { w.inst.SetPermissions(map[string]string{"contents": "write"}) }, 403, "not granted")
	change(func() {}, func() {}, 200, "")
	w.gh.SetIPAllowList("octo", true)
	if r := basic(t, w, full, "GET", "/octo/open/info/refs"+read); r.status != 403 {
		t.Errorf("a public repository behind an IP allow list, with a token: %d", r.status)
	}
	if r := basic(t, w, "", "GET", "/octo/open/info/refs"+read); r.status != 200 {
		t.Errorf("a public repository behind an IP allow list, without a token: %d", r.status)
	}
	change(w.inst.Uninstall, func() {}, 401, bad)
}

// What a person sees.
func TestGitShowsTheRefusal(t *testing.T) {
	w := newGitWorld(t)
	for name, test := range map[string]struct {
		secret string
		want   []string
	}{
		"dead token": {"ghs_x", []string{"remote: Invalid username or token.", "fatal: Authentication failed for"}},
		"no contents": {w.mint(t, `{"permissions":{"metadata":"read"}}`),
			[]string{"remote: Write access to repository not granted.", "error: 403"}},
	} {
		out, err := git(t, ".", "ls-remote", remote(w.server, test.secret, "/acme/site"))
		testkit.Fails(t, err, "%s", name)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: git says %q, want %q", name, out, want)
			}
		}
	}
	w.gh.SetPropagationDelay(time.Minute)
	if out, err := git(t, ".", "ls-remote", remote(w.server, w.mint(t, ""), "/acme/site")); err == nil ||
		!strings.Contains(out, "remote: Repository not found.") {
		t.Errorf("during the lag git says %q", out)
	}
	if out, err := git(t, ".", "ls-remote", w.server.URL+"/acme/site"); err == nil ||
		!strings.Contains(out, "could not read Username") {
		t.Errorf("without a credential git says %q", out)
	}
}

func TestCloneOfARenamedRepository(t *testing.T) {
	w := newGitWorld(t)
	url := remote(w.server, w.mint(t, ""), "/acme/site.git")
	testkit.OK(t, w.gh.Rename("acme/site", "web"))
	dir := filepath.Join(t.TempDir(), "clone")
	out := mustGit(t, ".", "clone", url, dir)
	testkit.Contains(t, out, "warning: redirecting to", "/acme/web.git")
	if r := basic(t, w, "", "GET", "/acme/site.git/info/refs?service=git-upload-pack"); r.status != 401 {
		t.Errorf("who may not see it is told of a move: %d", r.status)
	}
	mustGit(t, dir, "push", "-q", "origin", "main:pushed")
	if at, _ := w.repo.Head("pushed"); at != w.heads[1] {
		t.Errorf("a push to the old name went to %q", at)
	}
}

func TestSubmodules(t *testing.T) {
	w := newGitWorld(t)
	lib := w.gh.AddRepository("acme/lib", githubtest.RepositoryOptions{})
	at := commit(t, lib, "main", map[string]string{"lib.c": "int x;\n"})
	testkit.Must(w.repo.CommitEntries("main", githubtest.CommitOptions{Message: "with lib", Entries: []githubtest.Entry{
		{Path: ".gitmodules", Content: "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n"},
		{Path: "lib", Mode: githubtest.Submodule, Content: at},
	}}))(t)
	dir := filepath.Join(t.TempDir(), "clone")
	mustGit(t, ".", "clone", "-q", "--recurse-submodules", remote(w.server, w.mint(t, ""), "/acme/site.git"), dir)
	testkit.Equal(t, mustGit(t, filepath.Join(dir, "lib"), "rev-parse", "HEAD"), at, "the submodule is")
}

func TestCommitEntries(t *testing.T) {
	w := newGitWorld(t)
	add := func(branch string, o githubtest.CommitOptions) string {
		t.Helper()
		o.Message = "m"
		oid := testkit.Must(w.repo.CommitEntries(branch, o))(t)
		return oid
	}
	odd := "a \"b\"\\\nc\r"
	add("odd", githubtest.CommitOptions{Entries: []githubtest.Entry{
		{Path: odd, Content: "x"},
		{Path: "run", Mode: githubtest.Executable, Content: "#!/bin/sh\n"},
		{Path: "link", Mode: githubtest.Symlink, Content: "run"},
		{Path: "index.html", Delete: true},
	}})
	replaced := add("odd", githubtest.CommitOptions{Replace: true,
		Entries: []githubtest.Entry{{Path: "only", Content: ""}}})
	back := add("main", githubtest.CommitOptions{Parent: w.heads[0],
		Entries: []githubtest.Entry{{Path: "z", Content: "z"}}})
	orphan := add("alone", githubtest.CommitOptions{Orphan: true})
	testkit.OK(t, w.repo.Tag("v1", w.heads[0]))
	dir := filepath.Join(t.TempDir(), "clone")
	mustGit(t, ".", "clone", "-q", "--mirror", remote(w.server, w.mint(t, ""), "/acme/site.git"), dir)
	for rev, want := range map[string]map[string]string{
		replaced + "^": {odd: "100644", "link": "120000", "run": "100755", "sub/dir/file": "100644"},
		replaced:       {"only": "100644"},
		back:           {"index.html": "100644", "sub/dir/file": "100644", "z": "100644"},
		orphan:         {},
	} {
		got := map[string]string{}
		for line := range strings.SplitSeq(strings.TrimSuffix(mustGit(t, dir, "ls-tree", "-r", "-z", rev), "\x00"), "\x00") {
			if entry, path, ok := strings.Cut(line, "\t"); ok {
				got[path], _, _ = strings.Cut(entry, " ")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rev, diff)
		}
	}
	for rev, want := range map[string]string{replaced + "~2": w.heads[1], "refs/heads/main": back,
		back + "^": w.heads[0], "refs/tags/v1": w.heads[0]} {
		testkit.Equal(t, mustGit(t, dir, "rev-parse", rev), want, "%s", rev)
	}
	testkit.Equal(t, mustGit(t, dir, "rev-list", "--count", orphan), "1", "an orphan")
	testkit.OK(t, w.repo.DeleteBranch("odd"))
	testkit.Equal(t, testkit.Must(w.repo.Head("odd"))(t), "", "a deleted branch is")
	if _, err := w.repo.CommitEntries("main", githubtest.CommitOptions{Parent: "nonsense"}); err == nil {
		t.Error("a commit on nonsense was made")
	}
}

func TestCommitsAreTheSameInEveryRun(t *testing.T) {
	one, two := newGitWorld(t), newGitWorld(t)
	testkit.Diff(t, two.heads, one.heads)
	dir := filepath.Join(t.TempDir(), "clone")
	mustGit(t, ".", "clone", "-q", remote(one.server, one.mint(t, ""), "/acme/site"), dir)
	testkit.Equal(t, mustGit(t, dir, "log", "--format=%ct"), "1112912053\n1112911993", "the commits were made")
}

func TestDefaultBranchCanBeChanged(t *testing.T) {
	w := newGitWorld(t)
	commit(t, w.repo, "trunk", nil)
	w.gh.AddRepository("acme/site", githubtest.RepositoryOptions{DefaultBranch: "trunk"})
	if out := mustGit(t, ".", "ls-remote", "--symref", remote(w.server, w.mint(t, ""), "/acme/site"),
		"HEAD"); !strings.Contains(out, "ref: refs/heads/trunk") {
		t.Errorf("HEAD: %s", out)
	}
}

func TestGzippedRequestBody(t *testing.T) {
	w := newGitWorld(t)
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	io.WriteString(z, "0014command=ls-refs\n00010009peel\n0000")
	z.Close()
	req := testkit.Must(http.NewRequest("POST", w.server.URL+"/acme/site.git/git-upload-pack", &body))(t)
	req.SetBasicAuth("x-access-token", w.mint(t, ""))
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("Git-Protocol", "version=2")
	res := testkit.Must(http.DefaultClient.Do(req))(t)
	if r := read(t, res); r.status != 200 || !strings.Contains(r.text, w.heads[1]+" refs/heads/main") {
		t.Errorf("got %d %q", r.status, r.text)
	}
}

func TestCallersGitConfigurationHasNoSay(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "uploadpack.hideRefs")
	t.Setenv("GIT_CONFIG_VALUE_0", "refs")
	hostile := "[http]\n\tuploadpack = false\n[init]\n\tdefaultObjectFormat = sha256\n\ttemplateDir = /nonexistent\n" +
		"[transfer]\n\thideRefs = refs\n"
	for _, name := range []string{".gitconfig", "git/config"} {
		file := filepath.Join(home, name)
		testkit.OK(t, os.MkdirAll(filepath.Dir(file), 0o700))
		testkit.OK(t, os.WriteFile(file, []byte(hostile), 0o600))
	}
	w := newGitWorld(t)
	testkit.Contains(t, mustGit(t, ".", "ls-remote", remote(w.server, w.mint(t, ""), "/acme/site")), w.heads[1])
}

// The token must not be in the environment of the processes that serve git: other users' tools may show it.
func TestBackendDoesNotSeeTheCredential(t *testing.T) {
	dir := t.TempDir()
	spy := filepath.Join(dir, "git")
	script := "#!/bin/sh\nenv >>" + dir + "/env; printf '%s\\n' \"$@\" >>" + dir + "/args\nexec git \"$@\"\n"
	testkit.OK(t, os.WriteFile(spy, []byte(script), 0o700))
	gh := testkit.Must(githubtest.New(githubtest.Options{Git: spy}))(t)
	defer gh.Close()
	server := httptest.NewServer(gh)
	defer server.Close()
	app := newApp(t, gh, githubtest.AppOptions{})
	commit(t, gh.AddRepository("acme/site", githubtest.RepositoryOptions{}), "main", nil)
	secret := mint(t, gh, app, app.Install("acme", githubtest.InstallOptions{All: true}), "")
	mustGit(t, ".", "ls-remote", remote(server, secret, "/acme/site"))
	seen := testkit.Must(os.ReadFile(filepath.Join(dir, "env")))(t)
	args := testkit.Must(os.ReadFile(filepath.Join(dir, "args")))(t)
	if !bytes.Contains(args, []byte("http-backend")) || !bytes.Contains(seen, []byte("\nGIT_PROTOCOL=version=2\n")) {
		t.Fatalf("the spy did not see the backend asked in protocol version 2: %s\n%s", args, seen)
	}
	for _, own := range []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0"} {
		if !bytes.Contains(seen, []byte("\n"+own+"\n")) {
			t.Errorf("the backend has no %s", own)
		}
	}
	for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte("x-access-token:" + secret)),
		"HTTP_AUTHORIZATION"} {
		if bytes.Contains(seen, []byte(form)) || bytes.Contains(args, []byte(form)) {
			t.Errorf("the backend saw the credential, in: %s", seen)
		}
	}
}

func TestCloseWaitsForGit(t *testing.T) {
	dir := t.TempDir()
	slow := filepath.Join(dir, "git")
	script := "#!/bin/sh\nif [ \"$1\" = http-backend ]; then : >" + dir + "/begun; sleep 0.2; : >" + dir +
		"/done; fi\nexec git \"$@\"\n"
	testkit.OK(t, os.WriteFile(slow, []byte(script), 0o700))
	gh := testkit.Must(githubtest.New(githubtest.Options{Git: slow}))(t)
	commit(t, gh.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true}), "main", nil)
	server := httptest.NewServer(gh)
	defer server.Close()
	go http.Get(server.URL + "/acme/open/info/refs?service=git-upload-pack")
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	for !there("begun") {
		time.Sleep(time.Millisecond)
	}
	testkit.OK(t, gh.Close())
	if !there("done") {
		t.Error("Close came back while git was running")
	}
}

// A client that goes away in the middle of a pack must not leave a git process behind.
func TestBackendEndsWithTheRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("long: make test runs it")
	}
	w := newGitWorld(t)
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	head := commit(t, w.repo, "main", map[string]string{"big": string(noise)})
	secret := w.mint(t, "")
	want := fmt.Sprintf("0032want %s\n00000009done\n", head)
	ends := func(why string, end func()) {
		t.Helper()
		done := make(chan struct{})
		go func() { end(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal(why)
		}
	}
	fetch(t, w, secret, want).Body.Close()
	ends("git still runs although its client has gone away", w.gh.AwaitGit)
	res := fetch(t, w, secret, want)
	defer res.Body.Close()
	ends("Close waits for a client that does not read", func() { must(t, w.gh.Close()) })
}

// fetch asks for a pack and returns when it begins.
func fetch(t *testing.T, w *gitWorld, secret, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequest("POST", w.server.URL+"/acme/site.git/git-upload-pack", strings.NewReader(body))
	testkit.OK(t, err)
	req.SetBasicAuth("x-access-token", secret)
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	res := testkit.Must(http.DefaultClient.Do(req))(t)
	testkit.Must(io.ReadFull(res.Body, make([]byte, 100)))(t)
	return res
}
