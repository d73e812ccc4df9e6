package cli_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// Whichever way git gets our token, no arrangement makes it leave for a host that is
// not ours, and nobody else of the machine sees it.
func TestNoLureGetsTheToken(t *testing.T) {
	t.Parallel()
	minor := gitMinor(t)
	for name, w := range everyWay() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTalkativeMachine(t)
			w.meetAll(m, minor, avoided()[name])
		})
		if minor < 46 || name == byAgent {
			continue // to the agent git-setup has brought it about already
		}
		t.Run(name+", proactive", func(t *testing.T) {
			t.Parallel()
			m := newTalkativeMachine(t)
			m.gitConfig("http.http://"+m.host+"/.proactiveAuth", "basic")
			w.meetAll(m, minor, avoided()[name])
		})
	}
}

// avoided are the arrangements in which ghapp keeps git away from evil.
func avoided() map[string][]string {
	return map[string][]string{
		byClone: {"redirect of the first request", "redirect of the request with the token",
			"redirect of the pack, to be followed",
			"bundle of the server", "bundle of the user",
			"another port", "a longer name", "a name with a prefix", "our name as a user"},
		byExec: {"rewrite in the clone"},
		// It asks for itself, and for nothing of another host or in another spelling; git
		// gets an address that it has seen the answer of, and a configuration in which nobody
		// else has a say.
		bySync: {"relative submodule", "redirect of the first request", "redirect of the request with the token",
			"redirect of the pack, to be followed",
			"bundle of the server", "bundle of the user", "rewrite in the clone",
			"another port", "a longer name", "a name with a prefix", "our name as a user"},
	}
}

// newTalkativeMachine is one with habits that could tell a secret: it has everything
// traced, and helpers that save what they hear.
func newTalkativeMachine(t *testing.T) *machine {
	t.Helper()
	m := newOpenWorld(t).machine(t)
	m.host = localhost(m.host)
	m.environ["GHAPP_HOST"] = "http://" + m.host
	m.environ["GIT_TERMINAL_PROMPT"] = "0"
	m.installLFS()
	m.gitConfig("lfs.transfer.maxRetries", "1")
	m.gitConfig("credential.helper", "store")
	m.gitConfig("credential.helper", `!f() { test "$1" = get || cat >>"$HOME/told"; }; f`)
	m.trace(filepath.Join(m.home, "traces"))
	m.write(filepath.Join(m.home, "traces", "begin"), "")
	m.environ["LFS_DEBUG_HTTP"] = "1" // is no place
	return m
}

// localhost is a loopback address by its name.
func localhost(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }

// meetAll follows a lure of every kind, and looks for the token everywhere.
func (w way) meetAll(m *machine, minor int, avoided []string) {
	seen, github := &observer{}, http.Handler(m.github)
	if w.behind != nil {
		github = w.behind(github)
	}
	m.traffic.lead(seen.before(m, anyOf(isCall("POST", "/access_tokens"), isCall("POST", "/objects/batch"),
		authorized(isCall("GET", "/info/refs"))), github))
	end := w.prepare(m)
	m.t.Run("lures", func(t *testing.T) {
		for name, a := range arrangements() {
			if a.since > minor {
				continue
			}
			if w.keeps && a.notKept != "" {
				t.Run(name, func(t *testing.T) { t.Skip(a.notKept) })
				continue
			}
			demands := demanding()
			if a.harmless || a.unseen || w.eager {
				delete(demands, "open") // it is never seen
			}
			for demand, answers := range demands {
				t.Run(name+", "+demand, func(t *testing.T) {
					t.Parallel()
					e := newEvilBehind(t, func(next http.Handler) http.Handler { return seen.before(m, anyOf(), next) })
					answers(t, e)
					e.url = localhost(e.url)
					slug := regexp.MustCompile(`[^a-z]+`).ReplaceAllString(name+" "+demand, "-")
					m := m.within(t)
					if demand == "asking" {
						m.environ["GIT_CURL_VERBOSE"] = "1" // goes before GIT_TRACE_CURL
					}
					l := &lure{m: m, evil: e, cloning: cloning{repository: "acme/" + slug, dir: slug}}
					l.address = "http://" + m.host + "/" + l.repository + ".git"
					a.set(l)
					w.meet(l, a, w.eager || slices.Contains(avoided, name))
				})
			}
		}
	})
	m.onlyOurs(1)
	for _, r := range m.github.Requests() {
		if r.Host != m.host && r.Credential.Token != "" {
			m.t.Errorf("%s %s came with a credential for %s", r.Method, r.Path, r.Host)
		}
	}
	programs := w.programs
	if programs == nil {
		programs = []string{"git-remote-http", "git-lfs", "ghapp"}
	}
	seen.sawNoSecret(m, programs, w.variables...)
	m.noSecretOnDisk()
	for _, name := range []string{".git-credentials", "told"} {
		if _, err := os.Stat(filepath.Join(m.home, name)); err == nil {
			m.t.Errorf("a helper of the user's was told: there is %s", name)
		}
	}
	if end != nil {
		end()
	}
}

// meet follows a lure, and does what comes later.
func (w way) meet(l *lure, a arrangement, avoided bool) {
	m, t := l.m, l.m.t
	ended := func(cmd *exec.Cmd, out *outputs) result {
		_ = cmd.Run() // its exit code is in the result
		r := out.result(cmd)
		m.noSecretIn("the output", r.stdout+r.stderr)
		if r.code == -1 || a.works && r.code != 0 {
			t.Errorf("%q: exit code %d\n%s", cmd.Args, r.code, r.stderr)
		}
		return r
	}
	r := ended(w.clone(m, l.cloning))
	for _, args := range l.later {
		ended(w.git(m, l.repository, append([]string{"-C", l.dir}, args...)...))
	}
	l.evil.sentNothing(m)
	if asked := len(l.evil.Requests()) > 0; asked == (avoided || a.unseen || a.harmless) {
		t.Errorf("evil was asked: %t\n%s", asked, r.stderr)
	}
	sent := slices.ContainsFunc(m.github.Requests(), func(r githubtest.Request) bool {
		return strings.HasPrefix(r.Path, "/"+l.repository) && slices.Contains(m.tokens(), r.Credential.Token)
	})
	if ours := strings.HasPrefix(l.address, "http://"+m.host+"/"); !sent && (!a.before && !avoided || w.eager && ours) {
		t.Error("GitHub was sent no token, so this test sees nothing")
	}
}
