package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// keyInVariable hands the key over in a variable.
func (m *machine) keyInVariable(text string) {
	m.t.Helper()
	testkit.OK(m.t, os.Remove(m.environ["GHAPP_KEY"]))
	delete(m.environ, "GHAPP_KEY")
	m.environ["GHAPP_PRIVATE_KEY"] = text
}

// Arguments are for every user of the machine to read, the environment for those of
// one's own (proc_pid_cmdline(5), proc_pid_environ(5)).
func TestNoSecretInArgumentsEnvironmentOrFilesWhileACloneRuns(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	w.github.SetTokenFormat(githubtest.Stateless)
	oneLine := strings.ReplaceAll(string(w.keyPEM), "\n", `\n`)
	for _, test := range []struct{ moment, key string }{
		{"git's request with the token", string(w.keyPEM)},
		{"middle of the pack", ""},
		{"middle of the pack", oneLine},
		{"middle of a large file", string(w.keyPEM)},
		{"submodule's pack", ""},
		{"submodule's pack", string(w.keyPEM)},
	} {
		t.Run(fmt.Sprintf("%s, %d lines of key", test.moment, strings.Count(test.key, "\n")), func(t *testing.T) {
			t.Parallel()
			m := w.large(t)
			if test.key != "" {
				m.keyInVariable(test.key)
			}
			at, known := moments()[test.moment]
			if !known {
				t.Fatalf("a clone does not come to %s", test.moment)
			}
			c := m.started(at)
			processes := m.processes()
			if len(processes) < 3 {
				t.Errorf("only these run: %v", processes)
			}
			for _, p := range processes {
				m.noSecretIn("the arguments of "+p.String(), strings.Join(p.args, "\n"))
				if p.pid != c.pid { // the user's own variable is in that
					m.noSecretIn("the environment of "+p.String(), p.environ)
				}
			}
			m.noSecretOnDisk()
			m.traffic.release()
			if c.wait(); c.code != 0 {
				t.Fatalf("exit code %d\n%s", c.code, c.stderr)
			}
			m.complete("deep/large")
			m.noSecretOnDisk()
			m.noSecretIn("the output", c.stdout+c.stderr)
		})
	}
}

func TestNoSecretInTraces(t *testing.T) {
	t.Parallel()
	for format, name := range map[githubtest.TokenFormat]string{githubtest.Classic: "classic",
		githubtest.Stateless: "stateless"} {
		w := newLargeWorld(t)
		w.github.SetTokenFormat(format)
		for _, to := range []string{"1", "2", "files"} {
			t.Run(name+", "+to, func(t *testing.T) {
				t.Parallel()
				m := w.large(t)
				m.keyInVariable(string(w.keyPEM))
				if to == "files" {
					to = filepath.Join(m.home, "traces")
					m.write(filepath.Join(to, "begin"), "")
				}
				m.trace(to)
				r := m.must(append([]string{"-v"}, cloneLarge()...)...)
				m.complete("deep/large")
				m.noSecretIn("stdout", r.stdout)
				m.noSecretIn("stderr", r.stderr)
				m.noSecretOnDisk()
				told := r.stderr
				if filepath.IsAbs(to) {
					files, err := filepath.Glob(filepath.Join(to, "git_trace*"))
					if err != nil || len(files) < 5 {
						t.Fatalf("traces in %q: %v", files, err)
					}
					told = m.read("../home/traces/git_trace_curl")
				}
				if !strings.Contains(strings.ToLower(told), "authorization: basic") {
					t.Errorf("there is no trace of a credential, so this test sees nothing:\n%s", told)
				}
			})
		}
	}
}

// repeating answers a request of a kind with a status and a text that has in it what
// the request came with: the worst that a server, or a proxy before it, can do.
func repeating(match func(*http.Request) bool, status int, kind string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !match(r) || r.Header.Get("Authorization") == "" {
			next.ServeHTTP(w, r)
			return
		}
		_, password, _ := r.BasicAuth()
		if password == "" {
			_, password, _ = strings.Cut(r.Header.Get("Authorization"), " ")
		}
		// Of the refusals, one that is not waited out.
		text := "IP allow list: " + password + " and " + r.Header.Get("Authorization") + "\n"
		w.Header().Set("X-GitHub-Request-Id", password)
		w.Header().Set("Content-Type", "text/plain")
		if kind == "json" {
			w.Header().Set("Content-Type", "application/json")
			text = `{"message":"` + strings.TrimSpace(text) + `","documentation_url":"https://x/` + password + `"}`
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	})
}

func TestNoSecretInAnyFailure(t *testing.T) {
	t.Parallel()
	api := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/v3/") }
	shared := newWorldFor(t)
	shared.github.SetTokenFormat(githubtest.Stateless)
	tests := map[string]struct {
		fault  *githubtest.Fault
		repeat func(*http.Request) bool
		status int
		kind   string
	}{
		"API 401":               {repeat: api, status: 401, kind: "json"},
		"API 403":               {repeat: api, status: 403, kind: "json"},
		"API 404":               {repeat: api, status: 404, kind: "json"},
		"API 404 in plain text": {repeat: api, status: 404},
		"API 200 in plain text": {repeat: api, status: 200},
		"mint 422":              {repeat: isCall("POST", "/access_tokens"), status: 422, kind: "json"},
		"mint 201, no token":    {repeat: isCall("POST", "/access_tokens"), status: 201, kind: "json"},
		"mint cut off":          {fault: &githubtest.Fault{Match: githubtest.MintPattern, CutAfter: 60}},
		"mint of too much": {fault: &githubtest.Fault{Match: githubtest.MintPattern,
			Overgrant: &githubtest.Overgrant{AllRepositories: true}}},
		"git and question 403": {repeat: orSettle(isDiscovery("acme/site")), status: 403},
		"git 401":              {repeat: isDiscovery("acme/site"), status: 401},
		"git 403":              {repeat: isDiscovery("acme/site"), status: 403},
		"git 404":              {repeat: isDiscovery("acme/site"), status: 404},
		"git 500":              {repeat: isDiscovery("acme/site"), status: 500},
		"git 200":              {repeat: isDiscovery("acme/site"), status: 200},
		"pack 403":             {repeat: isUploadPack("acme/site"), status: 403},
		"pack 200":             {repeat: isUploadPack("acme/site"), status: 200},
		"pack cut off":         {fault: &githubtest.Fault{Match: "POST /acme/site/git-upload-pack", Skip: 1, CutAfter: 30}},
		"pack reset":           {fault: &githubtest.Fault{Match: "POST /acme/site/git-upload-pack", Reset: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shared
			if test.fault != nil {
				w = newWorldFor(t)
				w.github.SetTokenFormat(githubtest.Stateless)
				testkit.OK(t, w.github.Fault(*test.fault))
			}
			m := w.machine(t)
			if test.repeat != nil {
				m.traffic.lead(repeating(test.repeat, test.status, test.kind, w.github))
			}
			m.trace("1")
			r := m.ghapp("-v", "clone", "acme/site")
			if r.code == 0 {
				t.Fatal("the clone did not fail")
			}
			if m.credentialsSent() == 0 {
				t.Error("no credential was sent, so this test sees nothing")
			}
			m.noSecretIn("the output", r.stdout+r.stderr)
			m.noSecretOnDisk()
			m.nothingLeft()
		})
	}
}

// What a helper tells of a failure, git shows as it is.
func TestNoSecretInAFailureThatPlainGitShows(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	w.github.SetTokenFormat(githubtest.Stateless)
	for name, test := range map[string]struct {
		repeat func(*http.Request) bool
		status int
		kind   string
	}{
		"look-up 403":        {isCall("GET", "/installation"), 403, "json"},
		"mint 422":           {isCall("POST", "/access_tokens"), 422, "json"},
		"mint 201, no token": {isCall("POST", "/access_tokens"), 201, "json"},
		"question 403":       {isSettle, 403, ""},
	} {
		for _, by := range []string{byGitSetup, byAgent, byExec} {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				way, m := ways()[by], w.machine(t)
				m.traffic.lead(repeating(test.repeat, test.status, test.kind, w.github))
				m.environ["GIT_TERMINAL_PROMPT"] = "0"
				m.trace("2")
				delete(m.environ, "GIT_CURL_VERBOSE")
				way.prepare(m)
				cmd, out := way.git(m, "acme/site", "ls-remote", m.server.URL+"/acme/site")
				testkit.Fails(t, cmd.Run(), "it did not fail")
				if m.credentialsSent() == 0 {
					t.Error("no credential was sent, so this test sees nothing")
				}
				m.noSecretIn("the output", out.stdout.String()+out.stderr.String())
				m.noSecretOnDisk()
			})
		}
	}
}

// A redirect to another host is refused, and the host is named: that, too, can
// repeat a token.
func TestNoSecretInTheNameOfAHost(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	token := m.must("token", "acme/site").stdout
	m.traffic.lead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		http.Redirect(w, r, "http://"+sent+".evil.test/", http.StatusTemporaryRedirect)
	}))
	for _, args := range [][]string{{"-v", "revoke"}, {"-v", "revoke", "--json"}} {
		cmd, out := m.command(args...)
		cmd.Stdin = strings.NewReader(token)
		testkit.Fails(t, cmd.Run(), "it was redirected and did not fail")
		testkit.Contains(t, out.stderr.String(), "redirects (307) to http://[redacted]")
		m.noSecretIn("the output", out.stdout.String()+out.stderr.String())
	}
}
