package gitcmd

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

// failing is a way to make the git at hand fail.
type failing struct {
	reason  Reason
	message string // a piece of the message
	remote  string
	status  int    // the server's answer to every request
	text    string // its text
	answer  func(http.ResponseWriter, *http.Request) bool
	prepare preparation
	change  func(*CloneOptions)
}

// addressed is for failures that come before any server.
func addressed(address string) func(*CloneOptions) {
	return func(o *CloneOptions) {
		o.URL = address + "/acme/site.git"
		o.Origin = address
	}
}

// The words are git's own, of whatever version is on PATH, not remembered ones.
func TestReasonsOfRealGit(t *testing.T) {
	t.Parallel()
	after := func(part string, then func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			then(w)
			return true
		}
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { http.Error(w, http.StatusText(code), code) }
	}
	hijack := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}
	filter := func(command string) preparation {
		return func(t *testing.T, m *machine, o, evil *origin) {
			write(t, filepath.Join(m.home, "attributes"), "* filter=lfs\n")
			m.config(t, "core.attributesFile", filepath.Join(m.home, "attributes"))
			m.config(t, "filter.lfs.process", command)
			m.config(t, "filter.lfs.required", "true")
		}
	}
	closed := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	refused := closed.Addr().String()
	_ = closed.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = quiet()
	t.Cleanup(untrusted.Close)
	garbage := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(garbage.Close)
	stalled := after("info/refs", func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.Copy(io.Discard, conn) // until git gives up
			_ = conn.Close()
		}
	})

	tests := map[string]failing{
		"401": {reason: Unauthorized, message: "Authentication failed for",
			remote: "Invalid username or token.", prepare: wrongToken},
		"no credential": {reason: PromptDisabled, prepare: noHelper},
		"403": {reason: Forbidden, message: "403", status: 403,
			text: "Write access to repository not granted.", remote: "Write access to repository not granted."},
		"404": {reason: RepositoryNotFound, message: "not found", status: 404, text: "Repository not found.",
			remote: "Repository not found."},
		"301": {reason: Redirected, message: "301", answer: moved(http.StatusMovedPermanently)},
		"307": {reason: Redirected, message: "307", answer: moved(http.StatusTemporaryRedirect)},
		"308": {reason: Redirected, message: "308", answer: moved(http.StatusPermanentRedirect)},
		"429": {reason: RateLimited, answer: tooMany},
		"500": {reason: ServerError, message: "500", status: 500, text: "Internal Server Error",
			remote: "Internal Server Error"},
		"502":              {reason: ServerError, message: "502", status: 502},
		"503 to the fetch": {reason: ServerError, message: "503", answer: after("git-upload-pack", status(503))},
		"403 to the fetch": {reason: Forbidden, message: "403", answer: after("git-upload-pack", status(403))},
		"branch": {reason: BranchNotFound, message: "nosuch",
			change: func(o *CloneOptions) { o.Branch = "nosuch" }},
		"host": {reason: HostUnresolved, message: "Could not resolve host",
			change: addressed("https://" + strings.Repeat("x", 64) + ".example")},
		"refused":   {reason: ConnectionRefused, message: refused[:9], change: addressed("http://" + refused)},
		"untrusted": {reason: CertificateRefused, change: addressed(untrusted.URL)},
		"no TLS":    {reason: TLSFailed, change: addressed(strings.Replace(garbage.URL, "http:", "https:", 1))},
		"proxy wants a login": {reason: ProxyFailed, message: "407", prepare: variable("https_proxy", proxy.URL),
			change: addressed("https://git.example.com")},
		"proxy not resolved": {reason: ProxyFailed, prepare: variable("https_proxy",
			"http://"+strings.Repeat("x", 64)+".example:1"), change: addressed("https://git.example.com")},
		"proxy refused": {reason: ConnectionRefused, prepare: variable("https_proxy", "http://"+refused),
			change: addressed("https://git.example.com")},
		"reset": {reason: ConnectionLost, answer: after("info/refs", hijack(""))},
		"reset in the fetch": {reason: ConnectionLost, answer: after("git-upload-pack",
			hijack("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/x-git-upload-pack-result\r\n\r\n"))},
		"cut pack": {reason: ConnectionLost, answer: cutPack},
		"too slow": {reason: TimedOut, prepare: both2(variable("GIT_HTTP_LOW_SPEED_LIMIT", "1000"),
			variable("GIT_HTTP_LOW_SPEED_TIME", "1")), answer: stalled},
		"ssh":           {reason: ProtocolNotAllowed, message: "ssh", prepare: rewrittenAll},
		"no git-lfs":    {reason: LFSMissing, prepare: filter("/nonexistent/git-lfs filter-process")},
		"git-lfs fails": {reason: LFSFailed, message: "batch response", prepare: brokenLFS},
		"disk full":     {reason: DiskFull, prepare: logOfHEAD("/dev/full")},
		"disk broken":   {reason: DiskFailed, prepare: logOfHEAD("/proc/self/mem")},
		"broken configuration": {reason: ConfigurationBroken, prepare: func(t *testing.T, m *machine, o, evil *origin) {
			write(t, filepath.Join(m.home, ".gitconfig"), "[user\n")
		}},
		"proxy cannot be read": {reason: ProxyUnreadable, message: "(the address of the proxy)", prepare: func(t *testing.T,
			m *machine, o, evil *origin) {
			write(t, filepath.Join(m.home, ".gitconfig"), "[http]\nproxy = \"http://corp:s3#cret@127.0.0.1:1\"\n")
		}},
		"bad count": {reason: ConfigurationBroken, prepare: variable("GIT_CONFIG_COUNT", "1")},
		"git dir taken": {reason: DestinationExists, message: "already exists", change: func(o *CloneOptions) {
			o.Extra = []string{"--reference-if-able", "/nonexistent"}
		}, prepare: takenMeanwhile},
		"killed": {reason: Killed, prepare: killedGit},
		"unknown": {reason: Unknown,
			change: func(o *CloneOptions) { o.Extra = []string{"--shallow-exclude=x", "--depth=y"} }},
	}
	// By tests of their own; those about objects are where they are fetched, in internal/deploy and
	// internal/barerepo.
	covered := []Reason{NotInstalled, TooOld, Stopped, Rewritten, DestinationClosed, SSHFailed, ObjectRefused,
		ObjectTooLarge, CommitNotFound,
		NoRepository, NoRemote, OwnedByAnother}
	for _, test := range tests {
		covered = append(covered, test.reason)
	}
	for _, reason := range Reasons() {
		if !slices.Contains(covered, reason) {
			t.Errorf("no test of %q", reason)
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, func(o *origin) {
				o.answer = test.answer
				if test.status != 0 {
					o.answer = func(w http.ResponseWriter, r *http.Request) bool {
						http.Error(w, test.text, test.status)
						return true
					}
				}
			})
			m := newMachine(t)
			options := m.options(o, "acme/site")
			if test.change != nil {
				test.change(&options)
			}
			r := m.runner()
			if test.prepare != nil {
				test.prepare(t, m, o, o)
				r, options.Extra = m.runner(), slices.Concat(options.Extra, m.extra)
				if fake := filepath.Join(m.home, "git"); exists(fake) {
					r.Git = fake
				}
			}
			err := r.Clone(t.Context(), options)
			e := asError(t, err)
			if e.Reason != test.reason || !strings.Contains(e.Message, test.message) || e.Remote != test.remote {
				t.Errorf("reason %q, message %q, remote %q\n%s", e.Reason, e.Message, e.Remote, e.Stderr)
			}
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("not one line: %q", err)
			}
			mustNotHold(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, e), token)
			if name != "git dir taken" {
				mustBeEmpty(t, m.dir)
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func both2(first, second preparation) preparation {
	return func(t *testing.T, m *machine, o, evil *origin) {
		first(t, m, o, evil)
		second(t, m, o, evil)
	}
}

func wrongToken(t *testing.T, m *machine, o, evil *origin) {
	write(t, m.helper, "#!/bin/sh\necho username=x\necho password=wrong\n")
}

func noHelper(t *testing.T, m *machine, o, evil *origin) { write(t, m.helper, "#!/bin/sh\n") }

// moved leads to a repository that is there, on the same host even.
func moved(status int) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		rest, first := strings.CutPrefix(r.URL.Path, "/acme/site.git/")
		if first {
			http.Redirect(w, r, "/acme/site/"+rest+"?"+r.URL.RawQuery, status)
		}
		return first
	}
}

// tooMany is what GitHub answers to a flood. The time to wait is longer than git
// waits.
func tooMany(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Retry-After", "3600")
	http.Error(w, "", http.StatusTooManyRequests)
	return true
}

// cutPack ends in the middle of a pack.
func cutPack(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
		return false
	}
	body, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(body), "command=fetch") {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return false
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	_, _ = io.WriteString(w, "000dpackfile\n0011\x01PACK\x00\x00\x00\x02\x00\x00\x00\x03")
	return true
}

// rewrittenAll sends all spellings of the repository to ssh.
func rewrittenAll(t *testing.T, m *machine, o, evil *origin) {
	r := filepath.Join(m.home, "git")
	write(t, r, "#!/bin/sh\ntest \"$2\" = ls-remote && exit 1\nexec git \"$@\"\n")
	ambient("url.ssh://127.0.0.1/.insteadOf", "{origin}/acme/site.git")(t, m, o, evil)
}

// brokenLFS is a git-lfs that is there and gives up.
func brokenLFS(t *testing.T, m *machine, o, evil *origin) {
	lfs := write(t, filepath.Join(m.home, "bin", "git-lfs"),
		"#!/bin/sh\necho 'batch response: Repository or object not found' >&2\nexit 2\n")
	write(t, filepath.Join(m.home, "attributes"), "* filter=lfs\n")
	m.config(t, "core.attributesFile", filepath.Join(m.home, "attributes"))
	m.config(t, "filter.lfs.smudge", lfs+" smudge -- %f")
	m.config(t, "filter.lfs.required", "true")
}

// logOfHEAD gives the clone a log of HEAD that cannot be written, from a template.
func logOfHEAD(device string) func(t *testing.T, m *machine, o, evil *origin) {
	return func(t *testing.T, m *machine, o, evil *origin) {
		logs := filepath.Join(m.home, "template", "logs")
		testkit.OK(t, os.MkdirAll(logs, 0o777))
		testkit.OK(t, os.Symlink(device, filepath.Join(logs, "HEAD")))
		m.extra = []string{"--template", filepath.Join(m.home, "template")}
	}
}

func takenMeanwhile(t *testing.T, m *machine, o, evil *origin) {
	write(t, filepath.Join(m.home, "git"), "#!/bin/sh\ntest \"$2\" = clone && touch site/x\nexec git \"$@\"\n")
}

func killedGit(t *testing.T, m *machine, o, evil *origin) {
	write(t, filepath.Join(m.home, "git"), "#!/bin/sh\ntest \"$2\" = clone && kill -9 $$\nexec git \"$@\"\n")
}

// ssh comes in by submodules; its own words count.
func TestReasonOfSSH(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	o := newOrigin(t, func(o *origin) { o.root = root })
	superproject(t, root, map[string]string{"sub": "git@elsewhere.example:acme/lib.git"})
	m := newMachine(t)
	ssh := write(t, filepath.Join(m.home, "ssh"),
		"#!/bin/sh\necho 'git@elsewhere.example: Permission denied (publickey).' >&2\nexit 255\n")
	m.set("GIT_SSH", ssh)
	options := m.options(o, "acme/super")
	options.Extra = []string{"--recurse-submodules"}
	e := asError(t, m.runner().Clone(t.Context(), options))
	if e.Reason != SSHFailed || e.Submodule != "git@elsewhere.example:acme/lib.git" {
		t.Errorf("reason %q, submodule %q\n%s", e.Reason, e.Submodule, e.Stderr)
	}
}

func TestReasonOfAMissingRef(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	plainGit(t, m.dir, "init", "--quiet")
	scope := Scope{Origin: o.URL, Helper: m.helper, URLs: []string{o.URL + "/acme/site.git"}}
	err := m.runner().Run(t.Context(), scope, "fetch", "--", o.URL+"/acme/site.git", "refs/heads/nosuch")
	if e := asError(t, err); e.Reason != BranchNotFound || e.Op != "fetch" || e.ExitCode != 128 {
		t.Errorf("%+v", e)
	}
	err = m.runner().Run(t.Context(), scope, "fetch", "--", o.URL+"/acme/site.git", strings.Repeat("01", 20))
	if e := asError(t, err); e.Reason != CommitNotFound {
		t.Errorf("%+v", e)
	}
}

// All spellings of the address lead elsewhere: then it is said, and nothing stays.
func TestReasonOfARewrittenAddress(t *testing.T) {
	t.Parallel()
	o, evil := newOrigin(t), newOrigin(t, evil)
	m := newMachine(t)
	for _, name := range []string{"", ".git", ".git/"} {
		ambient("url.{evil}/acme/site"+name+".insteadOf", "{origin}/acme/site"+name)(t, m, o, evil)
	}
	e := asError(t, m.runner().Clone(t.Context(), m.options(o, "acme/site")))
	testkit.Equal(t, e.Reason, Rewritten)
	testkit.Contains(t, e.Message, evil.URL)
	mustBeEmpty(t, m.dir)
	for _, request := range evil.seen() {
		mustNotHold(t, "evil", fmt.Sprint(request), token)
	}
}

// A given file of certificates is used for the origin.
func TestCloneWithACAFile(t *testing.T) {
	t.Parallel()
	o := unstarted(t)
	o.Config.ErrorLog = quiet()
	o.EnableHTTP2 = true
	o.StartTLS()
	m := newMachine(t)
	for _, name := range []string{"GIT_TRACE_CURL", "GIT_TRACE2_EVENT"} {
		m.set(name, filepath.Join(m.home, name))
	}
	m.set("GIT_TRACE_REDACT", "0")
	m.set("GIT_SSL_NO_VERIFY", "1")
	m.config(t, "http."+o.URL+"/acme/site.git.sslVerify", "false")
	m.config(t, "http.sslVerify", "false")
	options := m.options(o, "acme/site")
	if e := asError(t, m.runner().Clone(t.Context(), options)); e.Reason != CertificateRefused {
		t.Errorf("without the file: reason %q\n%s", e.Reason, e.Stderr)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw})
	testkit.Must(x509.ParseCertificate(o.Certificate().Raw))(t)
	options.CAFile = write(t, filepath.Join(m.home, "ca.pem"), string(certificate))
	testkit.OK(t, m.runner().Clone(t.Context(), options), "%s", m.stderr.String())
	mustNotBeUnder(t, m.home, token)
}

func TestClassifyListensToGitAlone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stderr    string
		reason    Reason
		message   string
		remote    string
		submodule string
	}{
		"nothing": {"", Unknown, "", "", ""},
		"the server lies": {"remote: fatal: Authentication failed for 'x'\nfatal: odd\n", Unknown, "odd",
			"fatal: Authentication failed for 'x'", ""},
		"the server returns": {"remote: x\rremote: No space left on device\rfatal: odd\n", Unknown, "odd",
			"x; No space left on device", ""},
		"progress": {"remote: Enumerating objects: 3, done.        \nremote: Total 3 (delta 0)\n" +
			"fatal: early EOF\n", ConnectionLost, "early EOF", "", ""},
		"a check of git's": {"error: object 1234: zeroPaddedDate: invalid author/committer line - zero-padded date\n" +
			"fatal: fsck error in packed object\nfatal: fetch-pack: invalid index-pack output\n", ObjectRefused,
			"object 1234: zeroPaddedDate: invalid author/committer line - zero-padded date", "", ""},
		"a check, and no more": {"fatal: fsck error in pack objects\nfatal: fetch-pack: invalid index-pack output\n",
			ObjectRefused, "fsck error in pack objects", "", ""},
		"a bomb": {"fatal: attempting to allocate 107374182401 over limit 1073741824\nfatal: early EOF\n", ObjectTooLarge,
			"attempting to allocate 107374182401 over limit 1073741824", "", ""},
		"a name": {"Cloning into 'early EOF'...\nfatal: odd\n", Unknown, "odd", "", ""},
		"a trace": {"11:22:33.456789 run-command.c:655 git-lfs filter-process\nfatal: odd\n",
			Unknown, "odd", "", ""},
		"what follows": {"error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503\nfatal: " +
			"expected 'packfile'\n", ServerError, "RPC failed; HTTP 503 curl 22 The requested URL returned error: 503", "", ""},
		"submodule": {"remote: Repository not found.\nfatal: repository 'https://h/a/b/' not found\n" +
			"fatal: clone of 'https://h/a/b' into submodule path '/x/early EOF' failed\n", RepositoryNotFound,
			"repository 'https://h/a/b/' not found", "Repository not found.", "https://h/a/b"},
		"nothing is given up":  {"one\ntwo\n", Unknown, "two", "", ""},
		"errors after another": {"error: first\nfatal: second\n", Unknown, "second", "", ""},
	}
	for name, test := range tests {
		reason, message, remote, submodule := classify(test.stderr)
		got := []any{reason, message, remote, submodule}
		if diff := cmp.Diff([]any{test.reason, test.message, test.remote, test.submodule}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestErrorIsOneLine(t *testing.T) {
	t.Parallel()
	tests := map[string]*Error{
		"git clone: repository not found: repository 'x' not found (the server says: Repository not found.)": {
			Op: "clone", Reason: RepositoryNotFound, ExitCode: 128, Message: "repository 'x' not found",
			Remote: "Repository not found."},
		"git clone: submodule https://h/x: forbidden: the server says: no": {Op: "clone", Reason: Forbidden,
			Submodule: "https://h/x", Remote: "no"},
		"git fetch: odd (exit status 1)": {Op: "fetch",
			Reason: Unknown, ExitCode: 1, Message: "odd"},
		"git fetch (exit status 1)": {Op: "fetch", Reason: Unknown, ExitCode: 1},
		"git clone: stopped: context canceled": {Op: "clone", Reason: Stopped, ExitCode: -1,
			Err: errors.New("context canceled")},
	}
	for want, e := range tests {
		testkit.Equal(t, e.Error(), want, "%q", e)
	}
}

func FuzzClassify(f *testing.F) {
	f.Add("remote: x\nfatal: clone of 'a' into\rerror: early EOF\n")
	f.Add("11:22:33.456789 x\n")
	f.Fuzz(func(t *testing.T, stderr string) {
		reason, message, remote, submodule := classify(stderr)
		if !slices.Contains(Reasons(), reason) || strings.ContainsAny(message+remote+submodule, "\r\n") {
			t.Errorf("%q: %q %q %q %q", stderr, reason, message, remote, submodule)
		}
	})
}

func TestReasonsWhyGitDoesNotTellARemote(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	ask := func(environ ...string) Reason {
		t.Helper()
		r := m.runner()
		r.Dir, r.Environ = dir, append(r.Environ, environ...)
		_, err := r.Output(t.Context(), Scope{}, "remote", "get-url", "origin")
		failed := testkit.ErrorAs[*Error](t, err)
		return failed.Reason
	}
	testkit.Equal(t, ask("GIT_CEILING_DIRECTORIES="+filepath.Dir(dir)), NoRepository, "outside of a repository")
	r := m.runner()
	r.Dir = dir
	testkit.OK(t, r.Run(t.Context(), Scope{}, "init", "-q"))
	testkit.Equal(t, ask(), NoRemote, "without the remote")
	testkit.Equal(t, ask("GIT_TEST_ASSUME_DIFFERENT_OWNER=1"), OwnedByAnother, "of another user")
}
