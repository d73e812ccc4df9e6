//go:build unix

package deploy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// hostile is what people, distributions and attackers have in git's configuration. MARK
// is a file that a program makes which runs.
const hostile = `
[core]
	autocrlf = true
	eol = crlf
	safecrlf = true
	symlinks = false
	fileMode = false
	ignoreCase = true
	quotePath = true
	attributesFile = ATTRIBUTES
	excludesFile = ATTRIBUTES
	hooksPath = HOOKS
	fsmonitor = HOOKS/post-checkout
	sshCommand = HOOKS/post-checkout
	gitProxy = HOOKS/post-checkout
	alternateRefsCommand = HOOKS/post-checkout
	sparseCheckout = true
	sparseCheckoutCone = true
	worktree = /nonexistent
	compression = 11
	protectNTFS = false
	protectHFS = false
	checkRoundtripEncoding = nonsense
	bigFileThreshold = 1
	commitGraph = true
[init]
	templateDir = TEMPLATE
	defaultBranch = trunk
	defaultRefFormat = reftable
	defaultObjectFormat = sha256
[extensions]
	objectFormat = sha256
	worktreeConfig = true
[filter "up"]
	smudge = "touch MARK; tr a-z A-Z"
	clean = "touch MARK; cat"
	required = true
[filter "lfs"]
	smudge = "touch MARK; echo smudged"
	process = "touch MARK; false"
	required = true
[merge "up"]
	driver = touch MARK
[diff "up"]
	textconv = touch MARK
[fetch]
	fsckObjects = true
	parallel = 7
	prune = true
	negotiationAlgorithm = nonsense
[fetch "fsck"]
	missingTaggerEntry = error
[transfer]
	fsckObjects = true
	advertiseSID = true
	hideRefs = refs
	credentialsInUrl = die
[fsck]
	skipList = /nonexistent
[protocol]
	version = 0
	allow = never
[protocol "https"]
	allow = never
[protocol "http"]
	allow = never
[url "https://evil.invalid/"]
	insteadOf = http://
	insteadOf = https://
[http]
	extraHeader = X-Evil: 1
	userAgent = evil
	cookieFile = /nonexistent
	followRedirects = false
	postBuffer = 1
	lowSpeedLimit = 1000000000
	lowSpeedTime = 1
	maxRequests = 1
	sslVerify = false
[credential]
	helper = "!touch MARK; cat >/dev/null; echo username=evil; echo password=evil"
	useHttpPath = false
[remote "origin"]
	url = https://evil.invalid/
	uploadpack = touch MARK
	vcs = evil
	fetch = +refs/*:refs/*
	tagOpt = --tags
	proxy = http://127.0.0.1:1
[uploadpack]
	packObjectsHook = touch MARK
[pack]
	window = 0
	threads = 1
[gc]
	auto = 1
[maintenance]
	auto = true
[submodule]
	recurse = true
	fetchJobs = 9
[fetch]
	recurseSubmodules = true
[safe]
	bareRepository = explicit
	directory =
[feature]
	manyFiles = true
[index]
	version = 4
	sparse = true
	skipHash = true
[checkout]
	defaultRemote = evil
	workers = 9
[i18n]
	commitEncoding = nonsense
	logOutputEncoding = nonsense
[lfs]
	skipdownloaderrors = true
	url = https://evil.invalid/
	storage = /nonexistent
	fetchexclude = *
[alias]
	fetch = !touch MARK
[hook "evil"]
	command = touch MARK
	event = post-checkout
	event = reference-transaction
	event = post-index-change
[advice]
	detachedHead = true
[gpg]
	program = HOOKS/post-checkout
`

// besieged is a world whose user, system and environment have all that.
func besieged(t *testing.T, w *world) (mark string) {
	t.Helper()
	root := t.TempDir()
	mark = filepath.Join(root, "mark")
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(root, name)
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o755))
		return path
	}
	run := "#!/bin/sh\ntouch '" + mark + "'\n"
	for _, hook := range []string{"post-checkout", "reference-transaction", "post-index-change",
		"pre-auto-gc", "post-update"} {
		write("hooks/"+hook, run)
		write("template/hooks/"+hook, run)
	}
	attributes := write("attributes", "* text eol=crlf filter=up ident\n*.bin filter=up\n")
	write("template/info/attributes", "* text eol=crlf filter=up ident\n")
	write("template/config", "[core]\n\tautocrlf = true\n")
	text := strings.NewReplacer("MARK", mark, "HOOKS", filepath.Join(root, "hooks"), "TEMPLATE",
		filepath.Join(root, "template"), "ATTRIBUTES", attributes).Replace(hostile)
	system := write("system", text)
	home := filepath.Join(root, "home")
	write("home/.gitconfig", text)
	write("home/.config/git/config", text)
	write("home/.config/git/attributes", "* text eol=crlf filter=up ident\n")
	var environ []string
	for _, entry := range w.target.Environ {
		if !strings.HasPrefix(entry, "GIT_") && !strings.HasPrefix(entry, "HOME=") {
			environ = append(environ, entry)
		}
	}
	w.target.Git.Environ = append(environ, "HOME="+home, "GIT_CONFIG_SYSTEM="+system,
		"GIT_TEMPLATE_DIR="+filepath.Join(root, "template"),
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=core.autocrlf", "GIT_CONFIG_VALUE_0=true", "GIT_CONFIG_KEY_1=core.hooksPath",
		"GIT_CONFIG_VALUE_1="+filepath.Join(root, "hooks"),
		"GIT_CONFIG_PARAMETERS='core.eol'='crlf'", "GIT_ATTR_SOURCE=HEAD", "GIT_DEFAULT_HASH=sha256",
		"GIT_DEFAULT_REF_FORMAT=reftable",
		"GIT_LFS_SKIP_SMUDGE=1", "GIT_LFS_SKIP_DOWNLOAD_ERRORS=1", "GIT_DIR=/nonexistent", "GIT_WORK_TREE=/nonexistent",
		"GIT_INDEX_FILE=/nonexistent",
		"GIT_NAMESPACE=evil", "GIT_LITERAL_PATHSPECS=1", "GIT_EXTERNAL_DIFF=touch "+mark,
		"GIT_ASKPASS=touch "+mark, "GIT_PROTOCOL=version=0",
	)
	return mark
}

// What the user's git, the system's and the environment's are told has no say in what is
// published, and does not stop it.
func TestConfigurationOfUserAndSystemDoesNotChangeWhatIsPublished(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	commits := func(w *world) [][]githubtest.Entry {
		lib := w.repository("acme/lib")
		oid := testkit.Must(lib.Commit("main", "x", map[string]string{"lf": "a\nb\n", "low.up": "low"}))(t)
		list := [][]githubtest.Entry{{
			{Path: ".gitattributes", Content: "*.up filter=up\n*.bin filter=lfs diff=lfs merge=lfs -text\n" +
				"auto text=auto\ncr eol=crlf text\n"},
			{Path: "lf", Content: "a\nb\n"}, {Path: "crlf", Content: "a\r\nb\r\n"}, {Path: "auto", Content: "a\nb\n"},
			{Path: "cr", Content: "a\nb\n"},
			{Path: "low.up", Content: "low"}, {Path: "id", Content: "$Id$"},
			{Path: "Case", Content: "1"}, {Path: "case", Content: "2"},
			{Path: "big.bin", Content: w.site.AddObject("large")},
			{Path: "run", Mode: githubtest.Executable, Content: "#!/bin/sh\n"},
			{Path: "link", Mode: githubtest.Symlink, Content: "lf"},
			{Path: ".gitmodules", Content: "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n"},
			{Path: "lib", Mode: githubtest.Submodule, Content: oid},
		}}
		next := slices.Clone(list[0])
		next[1].Content = "c\nd\n"
		return append(list, next)
	}
	for _, lfs := range []bool{true, false} {
		plain := newWorld(t, func(g *Target) { g.Submodules, g.LFS = true, lfs })
		w := newWorld(t, func(g *Target) { g.Submodules, g.LFS = true, lfs })
		mark := besieged(t, w)
		steps, same := commits(plain), commits(w)
		for i := range steps {
			plain.publish(plain.entries(steps[i]...))
			w.publish(w.entries(same[i]...))
			if got, want := w.shows(), plain.shows(); got != want || !strings.Contains(want, "low.up: low; ") {
				t.Errorf("lfs %t: with that configuration it is\n%q, without\n%q", lfs, got, want)
			}
			for _, name := range []string{"lf", "crlf", "cr", "run"} {
				if got, want := w.file(name), plain.file(name); got != want {
					t.Errorf("%s: %q, without that configuration %q", name, got, want)
				}
			}
		}
		// The same where the stores are packed anew.
		apart := w.target.isolated(t.Context())
		apart.gc(t.Context(), map[string]bool{w.published().ID: true})
		if _, err := os.Stat(mark); err == nil {
			text, _ := os.ReadFile(mark)
			t.Errorf("lfs %t: a program ran that the configuration names: %s", lfs, text)
		}
	}
}

// What is needed to reach a host is the machine's affair: a proxy of the system's
// configuration, here.
func TestProxyOfTheSystemsConfigurationIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		r.RequestURI = ""
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		for name, values := range answer.Header {
			rw.Header()[name] = values
		}
		rw.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(rw, answer.Body)
	}))
	t.Cleanup(proxy.Close)
	system := filepath.Join(t.TempDir(), "system")
	testkit.OK(t, os.WriteFile(system, []byte("[core]\n\tautocrlf = true\n[http]\n\tproxy = "+proxy.URL+"\n"), 0o644))
	w.target.Git.Environ = append(slices.DeleteFunc(slices.Clone(w.target.Git.Environ),
		func(entry string) bool { return strings.HasPrefix(entry, "GIT_CONFIG") }), "GIT_CONFIG_SYSTEM="+system)
	w.publish(w.commit(map[string]string{"a": "1\n2\n"}))
	if asked.Load() == 0 || strings.Contains(w.file("a"), "\r") {
		t.Errorf("%d requests through the proxy; %q", asked.Load(), w.file("a"))
	}
}

// A configuration with a mistake in it stops every call of plain git, and none here.
func TestBrokenConfigurationStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := w.target.Environ[1][len("HOME="):]
	testkit.OK(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[user\n"), 0o644))
	w.target.Git.Environ = append(slices.Clone(w.target.Git.Environ), "GIT_CONFIG_COUNT=many")
	w.publish(w.commit(map[string]string{"a": "1"}))
	testkit.Contains(t, w.log.String(), "git's configuration cannot be read")
}
