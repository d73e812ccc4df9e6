package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestGoModulesComeAsTheApp(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct {
		setUp  func(*machine)
		before []string // the command
		mints  int
		agent  bool
	}{
		"after git-setup":                {func(m *machine) { m.setUpGit(oneApp) }, nil, 1, false},
		"after git-setup, with an agent": {func(m *machine) { m.setUpGit(oneApp); m.agentRuns() }, nil, 1, true},
		"by exec alone": {func(m *machine) { m.configFile(oneApp) },
			[]string{"ghapp", "exec", "acme/lib", "--"}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newLibraryWorld(t).machine(t)
			p := m.onGitHub()
			way.setUp(m)
			cache := filepath.Join(m.home, "modules")
			for name, value := range map[string]string{
				"GOENV": "off", "GOTOOLCHAIN": "local", "GOPRIVATE": "github.com/acme/*", "GOFLAGS": "-modcacherw -mod=mod",
				"GOMODCACHE": cache, "GOCACHE": filepath.Join(m.home, "builds"),
			} {
				m.environ[name] = value
			}
			m.write(filepath.Join(m.work, "app/go.mod"),
				"module example.test/app\n\ngo 1.21\n\nrequire github.com/acme/lib v1.0.0\n")
			m.write(filepath.Join(m.work, "app/app.go"),
				"package app\n\nimport \"github.com/acme/lib\"\n\nconst Name = lib.Name\n")
			m.client("app", append(way.before, "go", "mod", "download")...)
			m.client("app", append(way.before, "go", "build", "./...")...)
			if text, err := os.ReadFile(filepath.Join(cache, "github.com/acme/lib@v1.0.0/lib.go")); err != nil ||
				!strings.Contains(string(text), `"lib"`) {
				t.Errorf("the module's file is %q, %v", text, err)
			}
			testkit.Equal(t, strings.Count(m.read("app/go.sum"), "github.com/acme/lib v1.0.0"), 2, "go.sum")
			if way.agent {
				m.agentAnswered()
			}
			m.used(nil, way.mints, "acme/lib")
			p.onlyHosts(t, "github.com", "api.github.com")
		})
	}
}

// npm knows github.com: it asks for a tarball without a credential first, and clones
// when there is none. Its lock file names an ssh address, which is not what it uses.
func TestPackagesOfNpmComeAsTheApp(t *testing.T) {
	t.Parallel()
	m := newLibraryWorld(t).machine(t)
	p := m.onGitHub()
	m.setUpGit(oneApp)
	for name, value := range map[string]string{
		"npm_config_cache": filepath.Join(m.home, "packages"), "npm_config_audit": "false",
		"npm_config_update_notifier": "false",
		"npm_config_cafile":          m.environ["GHAPP_CA_FILE"], "npm_config_globalconfig": os.DevNull,
		"npm_config_allow_git": "all", // from npm 12 on it must be said
	} {
		m.environ[name] = value
	}
	m.write(filepath.Join(m.work, "app/package.json"), `{"name": "app", "version": "1.0.0"}`)
	for _, args := range [][]string{{"install", "git+https://github.com/acme/lib.git"}, {"ci"}} {
		m.client("app", append([]string{"npm"}, args...)...)
		if shown := m.client("app", "node", "-p", "require('lib')").stdout; shown != "the library\n" {
			t.Errorf("npm %s: the package is %q", args[0], shown)
		}
		testkit.OK(t, os.RemoveAll(filepath.Join(m.work, "app/node_modules")))
	}
	m.used(nil, 1, "acme/lib")
	p.onlyHosts(t, "github.com", "api.github.com", "codeload.github.com")
}

func TestCratesComeAsTheApp(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct {
		setUp  func(m *machine) (origin string)
		before []string // the command
	}{
		"by git, after git-setup": {func(m *machine) string {
			m.onGitHub()
			m.setUpGit(oneApp)
			m.environ["CARGO_NET_GIT_FETCH_WITH_CLI"] = "true"
			return "https://github.com"
		}, nil},
		"by git, in exec": {func(m *machine) string {
			m.onGitHub()
			m.configFile(oneApp)
			m.environ["CARGO_NET_GIT_FETCH_WITH_CLI"] = "true"
			return "https://github.com"
		}, []string{"ghapp", "exec", "acme/lib", "--"}},
		// It logs in nowhere behind a proxy, and looks for a host's helper under the
		// name of the host without its port.
		"by libgit2, after git-setup": {func(m *machine) string {
			m.host = strings.Replace(m.host, "127.0.0.1", "localhost", 1)
			m.environ["GHAPP_HOST"] = "http://" + m.host
			m.setUpGit("  deploy: {app: CLIENT, key: KEY, host: 'HOST', owners: [acme]}\n")
			m.gitConfig("credential.http://localhost.helper", "ghapp")
			m.gitConfig("credential.http://localhost.useHttpPath", "true")
			return "http://" + m.host
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newLibraryWorld(t).machine(t)
			m.rust()
			origin := way.setUp(m)
			m.write(filepath.Join(m.work, "app/Cargo.toml"),
				"[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"+
					"[dependencies]\nlib = { git = \""+origin+"/acme/lib\", tag = \"v1.0.0\" }\n")
			m.write(filepath.Join(m.work, "app/src/main.rs"), "fn main() { println!(\"{}\", lib::NAME) }\n")
			if shown := m.client("app", append(way.before, "cargo", "run", "--quiet")...).stdout; shown != "lib\n" {
				t.Errorf("the crate says %q", shown)
			}
			m.used(nil, 1, "acme/lib")
		})
	}
}

// rust is hasRust for a test that needs it.
func (m *machine) rust() {
	m.t.Helper()
	if !m.hasRust() {
		m.t.Skip("there is no cargo with a toolchain")
	}
}

// hasRust reports whether there is a cargo, and puts it first on PATH. What is on PATH
// so far may be a mere door to a toolchain, which it looks for in the user's home.
func (m *machine) hasRust() bool {
	m.t.Helper()
	root, err := exec.Command("rustc", "--print", "sysroot").Output()
	if err != nil {
		return false
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "bin")
	if _, err := exec.LookPath(filepath.Join(dir, "cargo")); err != nil {
		return false
	}
	m.environ["PATH"] = dir + string(os.PathListSeparator) + m.environ["PATH"]
	m.environ["CARGO_HOME"] = filepath.Join(m.home, "crates")
	return true
}
