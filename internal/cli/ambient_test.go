package cli_test

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// another is the credential of another identity that the machine has.
const another = "ghp_AnotherIdentityOfThisMachine0123456789"

// anothersHeader is it in a header, as actions/checkout leaves it behind.
func anothersHeader() string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+another))
}

// identities are what a machine may have of its own that changes who git is, or where it
// goes.
func identities() map[string]func(*machine, *evil) {
	setting := func(key, value string) func(*machine, *evil) {
		return func(m *machine, e *evil) { m.gitConfig(m.fill(key, e), m.fill(value, e)) }
	}
	variable := func(name, value string) func(*machine, *evil) {
		return func(m *machine, e *evil) { m.environ[name] = m.fill(value, e) }
	}
	return map[string]func(*machine, *evil){
		"store as helper of the user": setting("credential.helper", "store"),
		"store as helper of the system": func(m *machine, e *evil) {
			m.configure(filepath.Join(m.root, "gitconfig"), "credential.helper", "store")
			m.environ["GIT_CONFIG_SYSTEM"] = filepath.Join(m.root, "gitconfig")
			delete(m.environ, "GIT_CONFIG_NOSYSTEM")
		},
		"store with another credential": func(m *machine, e *evil) {
			m.gitConfig("credential.helper", "store")
			m.write(filepath.Join(m.home, ".git-credentials"), strings.Replace(m.server.URL, "://", "://u:"+another+"@", 1)+"\n")
		},
		"helper of the origin":      setting("credential.{origin}.helper", "!echo username=u; echo password="+another+"; :"),
		"header for everybody":      setting("http.extraHeader", anothersHeader()),
		"header for the origin":     setting("http.{origin}/.extraHeader", anothersHeader()),
		"header for the repository": setting("http.{origin}/acme/site.extraHeader", anothersHeader()),
		"header from the caller":    counted("http.{origin}/.extraHeader", anothersHeader()),
		"netrc":                     netrc("machine 127.0.0.1 login u password " + another),
		"netrc for everybody":       netrc("default login x-access-token password " + another),
		"origin goes to ssh":        setting("url.git@127.0.0.1:.insteadOf", "{origin}/"),
		"origin goes to evil":       setting("url.{evil}/.insteadOf", "{origin}/"),
		"repository goes to evil":   setting("url.{evil}/acme/site.insteadOf", "{origin}/acme/site"),
		"everything goes to evil":   setting("url.{evil}/.insteadOf", "http"),
		"rewrite with a credential": setting("url.http://u:"+another+"@{address}/.insteadOf", "{origin}/"),
		"rewrite from the caller":   counted("url.{evil}/.insteadOf", "{origin}/"),
		"askpass setting":           setting("core.askPass", "{program}"),
		"askpass variable":          variable("GIT_ASKPASS", "{program}"),
		"askpass of ssh": func(m *machine,
			e *evil) {
			variable("SSH_ASKPASS", "{program}")(m, e)
			variable("DISPLAY", ":0")(m, e)
		},
		"token of the GitHub CLI": func(m *machine, e *evil) {
			variable("GH_TOKEN", another)(m, e)
			variable("GITHUB_TOKEN", another)(m, e)
		},
	}
}

// habits are what a machine may do besides.
func habits() map[string]func(*machine, *evil) {
	return map[string]func(*machine, *evil){
		"hooks of the user":          hooks("core.hooksPath", ""),
		"hooks in the template":      hooks("init.templateDir", "hooks"),
		"inside a hook of another's": insideAHook,
	}
}

// A clone is made as the App, from GitHub, and nothing of another identity reaches it,
// nor does anything of ours.
func TestCloneIsMadeAsTheAppOnAnyMachine(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	tests := identities()
	maps.Copy(tests, habits())
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What stays in the clone's own configuration would guard it as well.
			w.machine(t).actsAsTheApp(prepare, "clone", "acme/site", "--no-persist")
		})
	}
}

// So is git in a command, also in repositories that exec was not told of, by an address
// of GitHub's or by that of ssh.
func TestGitInACommandIsTheAppOnAnyMachine(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	tests := identities()
	tests["header for another repository"] = func(m *machine, _ *evil) {
		m.gitConfig("http."+m.server.URL+"/acme/web.extraHeader", anothersHeader())
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			address := m.server.URL + "/acme/site"
			if name == "repository goes to evil" {
				// A rewrite of a whole address, letter by letter, cannot be outdone.
				address += ".git"
			}
			m.actsAsTheApp(prepare, "exec", "acme/site", "--", "git", "clone", address)
			for _, address := range []string{m.server.URL + "/acme/web", "git@127.0.0.1:acme/web.git"} {
				m.must("exec", "acme/site", "--", "git", "-C", "site", "fetch", address)
			}
			m.onlyOurs(9, another)
		})
	}
}

// actsAsTheApp fails unless a command of ghapp's clones acme/site as the App, on a
// machine with something of its own.
func (m *machine) actsAsTheApp(prepare func(*machine, *evil), args ...string) {
	m.t.Helper()
	e := newEvil(m.t)
	e.open(m.t)
	prepare(m, e)
	before := m.credentialStore()
	r := m.must(args...)
	testkit.Equal(m.t, m.read("site/main.txt"), "main\n", "cloned")
	m.onlyOurs(3, another)
	if asked := e.Requests(); len(asked) > 0 {
		m.t.Errorf("evil was asked %d times", len(asked))
	}
	e.sentNothing(m)
	testkit.Equal(m.t, m.credentialStore(), before, ".git-credentials")
	m.noProgramRan()
	m.noSecretIn("the output", r.stdout+r.stderr)
	m.noSecretOnDisk()
}

// fill replaces {origin} and its like.
func (m *machine) fill(text string, e *evil) string {
	program := filepath.Join(m.root, "program")
	if strings.Contains(text, "{program}") {
		m.program(program)
	}
	return strings.NewReplacer("{origin}", m.server.URL, "{address}", m.host,
		"{evil}", e.url, "{program}", program).Replace(text)
}

// program writes a program that answers with another's credential and can be noticed.
func (m *machine) program(path string) {
	m.t.Helper()
	m.write(path, "#!/bin/sh\ntouch '"+m.root+"/ran'\necho "+another+"\n")
	testkit.OK(m.t, os.Chmod(path, 0o700))
}

// noProgramRan fails if such a program was run.
func (m *machine) noProgramRan() {
	m.t.Helper()
	if _, err := os.Stat(filepath.Join(m.root, "ran")); err == nil {
		m.t.Error("a program was run that has no business here")
	}
}

// credentialStore is what git-credential-store has.
func (m *machine) credentialStore() string {
	text, err := os.ReadFile(filepath.Join(m.home, ".git-credentials"))
	if err != nil {
		return "not there"
	}
	return string(text)
}

// counted is configuration that the caller hands to git in the environment.
func counted(key, value string) func(*machine, *evil) {
	return func(m *machine, e *evil) {
		m.environ["GIT_CONFIG_COUNT"] = "1"
		m.environ["GIT_CONFIG_KEY_0"], m.environ["GIT_CONFIG_VALUE_0"] = m.fill(key, e), m.fill(value, e)
	}
}

func netrc(text string) func(*machine, *evil) {
	return func(m *machine, e *evil) { m.write(filepath.Join(m.home, ".netrc"), text+"\n") }
}

// hooks are in a directory that git's configuration names, or in one below it.
func hooks(key, below string) func(*machine, *evil) {
	return func(m *machine, e *evil) {
		dir := filepath.Join(m.root, "habits")
		for _, name := range []string{"post-checkout", "reference-transaction", "post-index-change", "post-merge"} {
			m.program(filepath.Join(dir, below, name))
		}
		m.gitConfig(key, dir)
	}
}

// insideAHook is how it looks to a command that a hook of another repository runs.
func insideAHook(m *machine, e *evil) {
	other := filepath.Join(m.root, "other")
	for name, value := range map[string]string{
		"GIT_DIR": filepath.Join(other, ".git"), "GIT_WORK_TREE": other, "GIT_INDEX_FILE": filepath.Join(other, ".git/index"),
		"GIT_OBJECT_DIRECTORY": filepath.Join(other, ".git/objects"), "GIT_PREFIX": "below/",
		"GIT_COMMON_DIR":        filepath.Join(other, ".git"),
		"GIT_CONFIG_PARAMETERS": "'http." + m.server.URL + "/.extraheader'='" + anothersHeader() + "'",
		"GIT_QUARANTINE_PATH":   "x", "GIT_NAMESPACE": "y",
	} {
		m.environ[name] = value
	}
}
