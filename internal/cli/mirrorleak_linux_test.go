package cli_test

import (
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The ways of ghapp mirror: it speaks git's protocol itself, but with a server that does not speak version 2, of
// which git has to fetch.
const (
	byMirror    = "ghapp mirror"
	byMirrorGit = "ghapp mirror, by git fetch"
)

// mirrorWays are those of ghapp mirror. It goes nowhere but to GitHub: not to submodules, not to a store of
// large files,
// not where a configuration of anybody's leads.
func mirrorWays() map[string]way {
	mirror := func(m *machine, repository, dir string, more ...string) (*exec.Cmd, *outputs) {
		_, name, _ := strings.Cut(repository, "/")
		return m.command(append([]string{"-v", "mirror", "acme", "--to", dir, "--include", name + "," + name + "-now"},
			more...)...)
	}
	kept := func(dir, repository string) string { return filepath.Join(dir, repository+".git") }
	of := way{
		keeps: true, eager: true, programs: []string{"ghapp"},
		prepare: func(*machine) func() { return nil },
		clone: func(m *machine, c cloning) (*exec.Cmd, *outputs) {
			m.configuredBy(c.options)
			if !strings.HasPrefix(c.address, "http://"+m.host+"/") {
				return m.command("-v", "mirror", c.address, "--to", c.dir) // for an owner, an address
			}
			return mirror(m, c.repository, c.dir)
		},
		git: func(m *machine, repository string, args ...string) (*exec.Cmd, *outputs) {
			if dir, rest := args[1], args[2:]; rest[0] == "config" {
				return m.redactedGit(append([]string{"-C", kept(dir, repository)}, rest...)...)
			} else if rest[0] != "fetch" {
				m.t.Fatalf("ghapp mirror does not %s", rest)
			}
			// There is something to fetch.
			r := m.github.Repository(repository)
			if r == nil {
				r = m.github.Repository(repository + "-now")
			}
			testkit.Must(r.Commit("later", "Later", map[string]string{"later": repository}))(m.t)
			return mirror(m, repository, args[1], "--full")
		},
	}
	by := of
	by.behind, by.programs = ofVersion0, []string{"ghapp", "git-remote-http"}
	return map[string]way{byMirror: of, byMirrorGit: by}
}

// ofVersion0 is a server that knows of no newer version of git's protocol.
func ofVersion0(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Git-Protocol")
		next.ServeHTTP(w, r)
	})
}

// Mirrors are made as the App, from GitHub, and nothing of another identity reaches it, nor does anything of ours.
func TestMirrorIsMadeAsTheAppOnAnyMachine(t *testing.T) {
	t.Parallel()
	shared := newWorldFor(t)
	tests := identities()
	maps.Copy(tests, habits())
	for name, prepare := range tests {
		for by, way := range mirrorWays() {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				m := shared.machine(t)
				if way.behind != nil {
					m.traffic.lead(way.behind(m.github))
				}
				e := newEvil(t)
				e.open(t)
				prepare(m, e)
				before := m.credentialStore()
				r := m.must("-v", "mirror", "acme", "--to", "m")
				head := testkit.Must(gitIn(filepath.Join(m.work, "m/acme/site.git"), "rev-parse", "main"))(t)
				testkit.Equal(t, strings.TrimSpace(string(head)), testkit.Must(m.github.Repository("acme/site").Head("main"))(t))
				m.onlyOurs(3, another)
				testkit.Equal(t, len(e.Requests()), 0, "requests to evil")
				e.sentNothing(m)
				testkit.Equal(t, m.credentialStore(), before, ".git-credentials")
				m.noProgramRan()
				m.noSecretIn("the output", r.stdout+r.stderr)
				m.noSecretOnDisk()
			})
		}
	}
}

// Whatever a server repeats of what it was sent: nothing of it stands in what is told, nor in what is remembered of the
// failure, nor in what a monitoring system reads.
func TestNoSecretInAnyFailureOfAMirror(t *testing.T) {
	t.Parallel()
	shared := newWorldFor(t)
	shared.github.SetTokenFormat(githubtest.Stateless)
	discovery, pack := isCall("GET", "/acme/site.git/info/refs"), isCall("POST", "/acme/site.git/git-upload-pack")
	api := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }
	for name, test := range map[string]struct {
		repeat func(*http.Request) bool
		status int
		kind   string
	}{
		"API 403": {api, 403, "json"}, "API 404": {api, 404, "json"}, "API 200 in plain text": {api, 200, ""},
		"listing 403": {isCall("GET", "/installation/repositories"), 403, "json"},
		"mint 422":    {isCall("POST", "/access_tokens"), 422, "json"},
		"GraphQL 403": {isCall("POST", "/graphql"), 403, "json"},
		"git 403":     {anyOf(discovery, pack), 403, ""}, "git 404": {anyOf(discovery, pack), 404, ""},
		"git 500": {anyOf(discovery, pack), 500, ""}, "git 200": {anyOf(discovery, pack), 200, ""},
		"pack 403": {pack, 403, ""}, "pack 200": {pack, 200, ""},
	} {
		for by, way := range mirrorWays() {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				m := shared.machine(t)
				github := http.Handler(m.github)
				if way.behind != nil {
					github = way.behind(github)
				}
				m.traffic.lead(github)
				m.must("mirror", "--to", "m", "--exclude", "site")
				m.traffic.lead(repeating(test.repeat, test.status, test.kind, github))
				m.trace("1")
				for _, flags := range [][]string{{"-v"}, {"--json"}} {
					r := m.ghapp(append(flags, "mirror", "--to", "m", "--full")...)
					if r.code == 0 && !strings.HasPrefix(name, "GraphQL") {
						t.Errorf("it did not fail:\n%s", r.stderr)
					}
					m.noSecretIn("the output", r.stdout+r.stderr)
				}
				if m.credentialsSent() == 0 {
					t.Error("no credential was sent, so this test sees nothing")
				}
				for _, flags := range [][]string{nil, {"--json"}} {
					r := m.ghapp(append(flags, "mirror", "status", "./m")...)
					m.noSecretIn("the status", r.stdout+r.stderr)
				}
				testkit.Contains(t, m.read("m/.ghapp/state.db"), "acme/web")
				m.read("m/.ghapp/lock")
				m.noSecretOnDisk()
			})
		}
	}
}

// Nor is there one in a watch's log, its metrics, its page, and the journals.
func TestNoSecretInWhatAWatchOfMirrorsTells(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.github.SetTokenFormat(githubtest.Stateless)
	s, status := m.watchesMirrors("--to", "m", "-v", "--log-format", "json")
	m.ready(status)
	m.traffic.lead(repeating(isCall("POST", "/acme/site.git/git-upload-pack"), 403, "", m.github))
	for _, name := range []string{"acme/web", "acme/site"} {
		testkit.Must(m.github.Repository(name).Commit("main", "Change", map[string]string{"a": "1"}))(t)
	}
	m.measures(status, `ghapp_mirror_failing{name="m"} 1`)
	m.mirrored("m/acme/web.git", "refs/heads/main", testkit.Must(m.github.Repository("acme/web").Head("main"))(t))
	for _, path := range []string{"/metrics", "/", "/readyz", "/healthz"} {
		_, text := m.get(status, path)
		m.noSecretIn(path, text)
	}
	testkit.Contains(t, m.read("m/acme/web.git/ghapp-journal"), "refs/heads/main")
	if m.credentialsSent() == 0 {
		t.Error("no credential was sent, so this test sees nothing")
	}
	m.noSecretOnDisk()
	s.ends()
	m.noSecretIn("the log", s.log())
	m.noSecretOnDisk()
}
