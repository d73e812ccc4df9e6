package cli_test

import (
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Programs that know nothing of ghapp, and start git or ask its helpers themselves,
// use the App after one `ghapp git-setup`. Some know GitHub by its names alone, so
// these machines have https://github.com and its other hosts.

// configFile writes ghapp's config file, where CLIENT, KEY, CA and HOST stand for
// the machine's. From there on nothing else says whose credentials are wanted.
func (m *machine) configFile(apps string) {
	m.t.Helper()
	m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"), strings.NewReplacer(
		"CLIENT", m.environ["GHAPP_APP"], "KEY", m.environ["GHAPP_KEY"], "CA", m.environ["GHAPP_CA_FILE"],
		"HOST", m.environ["GHAPP_HOST"],
	).Replace("apps:\n"+apps))
}

// setUpGit is that, and has git-setup tell git.
func (m *machine) setUpGit(apps string, flags ...string) {
	m.t.Helper()
	m.configFile(apps)
	m.client(".", append([]string{"ghapp", "git-setup"}, flags...)...)
}

// oneApp is the App for acme.
const oneApp = "  deploy: {app: CLIENT, key: KEY, ca_file: CA, owners: [acme]}\n"

// client runs a program to its good end as a user who has no variables of ghapp.
func (m *machine) client(dir string, argv ...string) result {
	m.t.Helper()
	return m.as(m.ofUser(), dir, argv...)
}

// ofUser is the environment of a user who has no variables of ghapp.
func (m *machine) ofUser() []string {
	cmd, _ := m.plain("ghapp")
	return cmd.Env
}

// as runs a program to its good end with this environment and no other.
func (m *machine) as(environ []string, dir string, argv ...string) result {
	m.t.Helper()
	cmd, out := m.start(environ, dir, argv...)
	_ = cmd.Wait() // its exit code is in the result
	r := out.result(cmd)
	if r.code != 0 {
		m.t.Fatalf("%q: exit code %d\n%s%s", argv, r.code, r.stdout, r.stderr)
	}
	m.noSecretIn(strings.Join(argv, " "), r.stdout+r.stderr)
	return r
}

// start starts a program with this environment and no other.
func (m *machine) start(environ []string, dir string, argv ...string) (*exec.Cmd, *outputs) {
	m.t.Helper()
	cmd, out := m.command(argv...)
	// It looks the program up where this environment says.
	cmd.Path, cmd.Args = "/usr/bin/env", append([]string{"env", "--"}, argv...)
	cmd.Env, cmd.Dir = environ, filepath.Join(m.work, dir)
	testkit.OK(m.t, cmd.Start())
	return cmd, out
}

// onGitHub makes the machine's GitHub the one of github.com, with its hosts, which
// are behind a proxy that leads nowhere else.
func (m *machine) onGitHub() *proxy {
	m.t.Helper()
	p, address := newProxy(m.t, m.secure(), "")
	m.host = "github.com"
	delete(m.environ, "GHAPP_HOST")
	m.environ["https_proxy"] = "http://" + address
	// For those that do not ask git, and so do not know what git-setup told it.
	m.environ["SSL_CERT_FILE"] = m.environ["GHAPP_CA_FILE"]
	return p
}

// agentAnswered fails unless it was the agent that git's helpers had their answers of.
func (m *machine) agentAnswered() {
	m.t.Helper()
	if s := m.status(); s.Requests.Answered == 0 {
		m.t.Errorf("the agent was not asked: %+v", s)
	}
}

// narrow fails unless each request that came with a credential came with the right
// one: with an installation access token, alive, for the one repository that it was
// about, which may read its contents, or what is said here of the repository. It
// returns how many there were of each repository.
func (m *machine) narrow(permissions map[string]string) map[string]int {
	m.t.Helper()
	tokens := map[string]githubtest.TokenInfo{}
	for _, token := range m.github.Tokens() {
		tokens[token.Token] = token
	}
	asked := map[string]int{}
	for _, r := range m.requests() {
		what := fmt.Sprintf("%s %s%s by %s", r.Method, r.Host, r.Path, r.UserAgent)
		switch r.Credential.Kind {
		case githubtest.NoCredential:
			continue
		case githubtest.JWTCredential:
			if r.Credential.AppID == 0 {
				m.t.Errorf("%s came with a JSON Web Token that is none", what)
			}
			continue
		case githubtest.BasicCredential:
			testkit.Equal(m.t, r.Credential.Username, "x-access-token", "%s came with the user name", what)
		}
		token, ours := tokens[r.Credential.Token]
		if !ours || len(token.Repositories) != 1 {
			m.t.Errorf("%s came with another credential, or one for %q", what, token.Repositories)
			continue
		}
		name := token.Repositories[0]
		if about := repositoryOf(r.Path); about != "" && about != name {
			m.t.Errorf("%s came with a token for %s", what, name)
		}
		if r.Status == http.StatusUnauthorized {
			m.t.Errorf("%s came with a token that is dead", what)
		}
		want := permissions[name]
		if want == "" {
			want = "contents:read metadata:read"
		}
		var may []string
		for permission, value := range token.Permissions {
			may = append(may, permission+":"+value)
		}
		if slices.Sort(may); strings.Join(may, " ") != want {
			m.t.Errorf("%s came with a token that may %v, want %s", what, may, want)
		}
		asked[name]++
	}
	return asked
}

// repositoryOf is the repository that a request is about, or "".
func repositoryOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/api/v3"), "/")
	switch {
	case len(parts) < 4:
	case parts[1] == "repos":
		return parts[2] + "/" + parts[3]
	case parts[3] == "info", strings.HasPrefix(parts[3], "git-"):
		return parts[1] + "/" + strings.TrimSuffix(parts[2], ".git")
	}
	return ""
}

// used fails unless so many tokens were minted, one for each of these repositories,
// each of them came with requests, and none is on disk.
func (m *machine) used(permissions map[string]string, mints int, repositories ...string) {
	m.t.Helper()
	asked := m.narrow(permissions)
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, repositories) {
		m.t.Errorf("with tokens it was asked for %v, want %v", got, repositories)
	}
	testkit.Equal(m.t, m.github.Mints(), mints, "mints")
	m.noSecretOnDisk()
}

// mayMuch is an installation that may do more than is asked for.
func mayMuch(repositories ...string) githubtest.InstallOptions {
	return githubtest.InstallOptions{
		Repositories: repositories, Permissions: map[string]string{"contents": "write",
			"issues": "write", "pull_requests": "write"},
	}
}

// newLibraryWorld has acme/lib, which is a Go module, an npm package and a crate.
func newLibraryWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldFor(t)
	lib := w.github.AddRepository("acme/lib", githubtest.RepositoryOptions{})
	oid, err := lib.Commit("main", "Begin", map[string]string{
		"go.mod": "module github.com/acme/lib\n\ngo 1.21\n", "lib.go": "package lib\n\nconst Name = \"lib\"\n",
		"package.json": `{"name": "lib", "version": "1.0.0", "main": "index.js"}`,
		"index.js":     "module.exports = 'the library'\n",
		"Cargo.toml":   "[package]\nname = \"lib\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
		"src/lib.rs":   "pub const NAME: &str = \"lib\";\n",
	})
	testkit.OK(t, err)
	testkit.OK(t, lib.Tag("v1.0.0", oid))
	w.app.Install("acme", mayMuch("acme/lib", "acme/site", "acme/web"))
	return w
}

// onlyHosts fails if the proxy was asked for other hosts.
func (p *proxy) onlyHosts(t *testing.T, hosts ...string) {
	t.Helper()
	for who := range p.asked() {
		if _, host, _ := strings.Cut(who, " to "); !slices.Contains(hosts, strings.TrimSuffix(host, ":443")) {
			t.Errorf("the proxy was asked: %s", who)
		}
	}
}
