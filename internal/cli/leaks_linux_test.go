package cli_test

import (
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// way is a way to hand our credential to git.
type way struct {
	// prepare is what the user does once; end, which may be nil, is called at the end
	// of the test.
	prepare func(*machine) (end func())
	// git is git on the machine, about a repository.
	git func(m *machine, repository string, args ...string) (*exec.Cmd, *outputs)
	// clone is git clone.
	clone func(m *machine, c cloning) (*exec.Cmd, *outputs)
	// variables are those that a token is in on purpose.
	variables []string
	// keeps is whether a directory is kept, in which git has nothing to do.
	keeps bool
	// eager is whether GitHub is sent a token whatever lies around its repository, and nobody else is asked at all.
	eager bool
	// behind, which may be nil, is what stands before GitHub.
	behind func(http.Handler) http.Handler
	// programs are those that must have been seen; nil: git's, git-lfs and ghapp.
	programs []string
}

// cloning is what a clone is told.
type cloning struct {
	repository string // acme/NAME
	address    string
	dir        string
	options    []string // of git clone
}

// The ways.
const (
	byClone    = "ghapp clone"
	byGitSetup = "git-setup"
	byAgent    = "agent"
	byExec     = "exec"
	bySync     = "ghapp sync"
)

// everyWay has those too that leave no clone.
func everyWay() map[string]way {
	all := ways()
	sync := func(m *machine, address, dir string, more ...string) (*exec.Cmd, *outputs) {
		return m.command(append([]string{"-v", "sync", address, "--to", dir, "--submodules", "--lfs"}, more...)...)
	}
	all[bySync] = way{
		keeps:   true,
		prepare: func(*machine) func() { return nil },
		clone: func(m *machine, c cloning) (*exec.Cmd, *outputs) {
			m.configuredBy(c.options)
			return sync(m, c.address, c.dir)
		},
		// What a clone is told later: to fetch again, or to be configured otherwise, as the
		// store can be by whoever may write to it.
		git: func(m *machine, repository string, args ...string) (*exec.Cmd, *outputs) {
			if dir, rest := args[1], args[2:]; rest[0] == "config" {
				return m.redactedGit(append([]string{"config", "--file", "." + dir + ".ghapp/store.git/config"}, rest[1:]...)...)
			} else if rest[0] != "fetch" {
				m.t.Fatalf("ghapp sync does not %s", rest)
			}
			return sync(m, repository, args[1], "--force")
		},
	}
	maps.Copy(all, mirrorWays())
	return all
}

// configuredBy does with the user's configuration what options of git clone do to one
// clone; submodules are checked out anyway.
func (m *machine) configuredBy(options []string) {
	n := 0
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "--config":
			name, value, _ = strings.Cut(value, "=")
		case "--bundle-uri":
			name = "fetch.bundleURI"
		case "--recurse-submodules":
			continue
		default:
			m.t.Fatalf("%s is no option of which ghapp sync has a counterpart", option)
		}
		m.environ[fmt.Sprint("GIT_CONFIG_KEY_", n)], m.environ[fmt.Sprint("GIT_CONFIG_VALUE_", n)] = name, value
		n++
		m.environ["GIT_CONFIG_COUNT"] = strconv.Itoa(n)
	}
}

func ways() map[string]way {
	nothing := func(*machine) func() { return nil }
	plain := func(m *machine, _ string, args ...string) (*exec.Cmd, *outputs) { return m.redactedGit(args...) }
	plainClone := func(m *machine, c cloning) (*exec.Cmd, *outputs) { return m.redactedGit(c.args()...) }
	inExec := func(m *machine, repository string, args ...string) (*exec.Cmd, *outputs) {
		return m.command(append([]string{"exec", repository, "--", "git"}, args...)...)
	}
	return map[string]way{
		byClone: {
			prepare: nothing,
			git:     plain, // by what stays in the clone
			clone: func(m *machine, c cloning) (*exec.Cmd, *outputs) {
				return m.command(append([]string{"-v", "clone", c.address, c.dir, "--"}, c.options...)...)
			},
		},
		byGitSetup: {
			prepare: func(m *machine) func() { m.setUpGit(noOwner); return nil },
			git:     plain,
			clone:   plainClone,
		},
		byAgent: {
			prepare: func(m *machine) func() {
				m.gitSetUp() // for an owner
				m.agent()
				return m.agentAnswered
			},
			git:   plain,
			clone: plainClone,
		},
		byExec: {
			prepare: nothing,
			git:     inExec,
			clone: func(m *machine, c cloning) (*exec.Cmd, *outputs) {
				return inExec(m, c.repository, c.args()...)
			},
			variables: []string{"GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"},
		},
	}
}

// noOwner is an App for no owner in particular. For one that is named, git-setup has git
// bring a credential at once, from 2.46 on.
const noOwner = "  deploy: {app: CLIENT, key: KEY, host: 'HOST'}\n"

// args are those of git.
func (c cloning) args() []string {
	return slices.Concat([]string{"clone"}, c.options, []string{"--", c.address, c.dir})
}

// redactedGit is git of a user who has no variables of ghapp. It is git alone that keeps its
// traces clean then, unless it is told not to.
func (m *machine) redactedGit(args ...string) (*exec.Cmd, *outputs) {
	m.t.Helper()
	cmd, out := m.userGit(".", args...)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(entry string) bool {
		return strings.HasPrefix(entry, "GIT_TRACE_REDACT=") || strings.HasPrefix(entry, "LFS_DEBUG_HTTP=")
	})
	return cmd, out
}

// within is the machine in a part of its test, with variables of its own.
func (m *machine) within(t *testing.T) *machine {
	part := *m
	part.t, part.environ = t, maps.Clone(m.environ)
	return &part
}

// gitMinor is the second number of git's version, whose first is 2.
func gitMinor(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("git", "version").Output()
	found := regexp.MustCompile(`^git version 2\.(\d+)`).FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("%q, %v", out, err)
	}
	minor := testkit.Must(strconv.Atoi(string(found[1])))(t)
	return minor
}

// newWorkingMachine is one on which a way works: there is a clone of acme/site, made by
// it, in site.
func (w way) newWorkingMachine(t *testing.T, prepare ...func(*machine)) *machine {
	t.Helper()
	m := newMachine(t)
	m.host = localhost(m.host) // a name has more spellings than a number
	m.environ["GHAPP_HOST"] = "http://" + m.host
	m.environ["GIT_TERMINAL_PROMPT"] = "0"
	for _, prepare := range prepare {
		prepare(m)
	}
	if end := w.prepare(m); end != nil {
		t.Cleanup(end)
	}
	cmd, out := w.clone(m, cloning{repository: "acme/site", address: "http://" + m.host + "/acme/site", dir: "site"})
	testkit.OK(t, cmd.Run(), "%s", out.stderr.String())
	return m
}

// What asks git for a credential, as git-lfs does, gets ours for our host, spelled as it
// is, and nothing for another.
func TestGitFillsInACredentialForOurHostAlone(t *testing.T) {
	t.Parallel()
	for name, w := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.newWorkingMachine(t)
			fill := func(t *testing.T, protocol, host string) result {
				t.Helper()
				cmd, out := w.git(m.within(t), "acme/site", "-C", "site", "credential", "fill")
				cmd.Stdin = strings.NewReader("protocol=" + protocol + "\nhost=" + host + "\npath=acme/site.git\n\n")
				_ = cmd.Run() // its exit code is in the result
				return out.result(cmd)
			}
			ours := func() {
				t.Helper()
				if r := fill(t, "http", m.host); r.code != 0 || search([]byte(r.stdout), m.tokens()) == "" {
					t.Errorf("for our host: %+v", r)
				}
			}
			ours()
			if name == byGitSetup || name == byClone {
				// And once more for the answer to be kept, since it is old enough now.
				m.agedCache()
				ours()
			}
			_, port, _ := strings.Cut(m.host, ":")
			evil := newEvil(t)
			for _, host := range []string{
				localhost(evil.url), "http://LOCALHOST:" + port, "http://localhost.:" + port,
				"http://localhost:0" + port, "http://localhost",
				"http://127.0.0.1:" + port, "http://[::1]:" + port, "https://" + m.host, "ssh://" + m.host,
				"http://" + m.host + "@evil.test",
				"http://localhost.evil.test:" + port, "http://evil-localhost:" + port, "http://evil.test:" + port,
				"https://github.com", "https://xn--gthub-n4a.com",
			} {
				t.Run(host, func(t *testing.T) {
					protocol, host, _ := strings.Cut(host, "://")
					if r := fill(t, protocol, host); r.code == 0 || strings.Contains(r.stdout, "password") ||
						search([]byte(r.stdout+r.stderr), m.secrets()) != "" {
						t.Errorf("%+v", r)
					}
				})
			}
			evil.sentNothing(m)
		})
	}
}

// git tells every helper that it knows of which credential worked, and some save it. From
// 2.46 on it is told that ours is not to be saved; before that it must know of no other.
func TestNoHelperOfTheUserSavesTheToken(t *testing.T) {
	t.Parallel()
	minor := gitMinor(t)
	store := func(key string) func(*machine) {
		return func(m *machine) { m.gitConfig(strings.ReplaceAll(key, "{origin}", "http://"+m.host), "store") }
	}
	for where, prepare := range map[string]func(*machine){
		"user":   store("credential.helper"),
		"origin": store("credential.{origin}.helper"),
		"system": func(m *machine) {
			m.environ["GIT_CONFIG_SYSTEM"] = filepath.Join(m.root, "gitconfig")
			delete(m.environ, "GIT_CONFIG_NOSYSTEM")
			m.configure(m.environ["GIT_CONFIG_SYSTEM"], "credential.helper", "store")
		},
		"clone": func(*machine) {},
	} {
		for name, w := range ways() {
			t.Run(where+", "+name, func(t *testing.T) {
				t.Parallel()
				m := w.newWorkingMachine(t, prepare)
				saved := false
				if where == "clone" {
					m.configure(filepath.Join(m.work, "site", ".git", "config"), "credential.helper", "store")
					// Which git-setup warns of.
					saved = minor < 46 && name != byExec
				}
				cmd, out := w.git(m, "acme/site", "-C", "site", "fetch")
				testkit.OK(t, cmd.Run(), "%s", out.stderr.String())
				if (m.credentialStore() != "not there") != saved {
					t.Errorf(".git-credentials is %q", m.credentialStore())
				}
			})
		}
	}
}

// What plain git cannot be kept from by its configuration, git-setup tells, and it tells
// nothing else.
func TestGitSetupTellsWhatKeepsPlainGitFromTheApp(t *testing.T) {
	t.Parallel()
	tests := identities()
	setting := func(key, value string) func(*machine, *evil) {
		return func(m *machine, e *evil) { m.gitConfig(m.fill(key, e), m.fill(value, e)) }
	}
	tests["another name"] = setting("credential.{origin}.username", "u")
	tests["no path"] = setting("credential.useHttpPath", "false")
	tests["header of another kind"] = setting("http.extraHeader", "X-Trace: 1")
	tests["login in the remote's address"] = func(m *machine, e *evil) {
		if init, out := m.userGit(".", "init", "--quiet"); init.Run() != nil {
			m.t.Fatal(out.stderr.String())
		}
		m.configure(filepath.Join(m.work, ".git", "config"), "remote.origin.url",
			m.fill("http://u:"+another+"@{address}/acme/site", e))
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, e := newMachine(t), newEvil(t)
			e.open(t)
			m.environ["GIT_TERMINAL_PROMPT"] = "0"
			m.configFile(noOwner)
			prepare(m, e)
			setup, told := m.plain("ghapp", "git-setup")
			testkit.OK(t, setup.Run(), "%s", told.stderr.String())
			args := []string{"clone", m.server.URL + "/acme/site"}
			if name == "login in the remote's address" {
				args = []string{"fetch"}
			}
			cmd, out := m.redactedGit(args...)
			err := cmd.Run()
			asTheApp := err == nil && len(e.Requests()) == 0
			for _, r := range m.requests() {
				asTheApp = asTheApp && r.Credential.Token != another
			}
			warned := strings.Contains(told.stderr.String(), "warning: ")
			if asTheApp == warned {
				t.Errorf("as the App: %t, and git-setup said: %s\n%s", asTheApp, told.stderr.String(), out.stderr.String())
			}
			testkit.Lacks(t, told.stderr.String(), another)
			e.sentNothing(m)
		})
	}
}

// Nor can it keep them from showing the token, or from handing it to anybody, where the
// user's variables say so.
func TestGitSetupTellsOfVariablesThatLayTheTokenOpen(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"GIT_TRACE_REDACT": "0", "LFS_DEBUG_HTTP": "1", "GIT_SSL_NO_VERIFY": "1"} {
		m := newMachine(t)
		m.environ[name] = value
		if r := m.must("git-setup"); !strings.Contains(r.stderr, "warning: the environment") ||
			!strings.Contains(r.stderr, "hint: unset "+name) {
			t.Errorf("%s: %s", name, r.stderr)
		}
	}
}
