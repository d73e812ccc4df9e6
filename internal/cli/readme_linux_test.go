package cli_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// section is the part of the README under a heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	text := testkit.Must(os.ReadFile("../../README.md"))(t)
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the README has no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// blocks are the texts in it that are fenced as this language.
func blocks(t *testing.T, section, language string) []string {
	t.Helper()
	parts := strings.Split(section, "```"+language+"\n")[1:]
	if len(parts) == 0 {
		t.Fatalf("there is no %s in it", language)
	}
	for i, part := range parts {
		parts[i], _, _ = strings.Cut(part, "```")
	}
	return parts
}

// What the README says of plain git is what a new user's account does, word for word.
func TestReadmeMakesPlainGitWork(t *testing.T) {
	t.Parallel()
	m := newLibraryWorld(t).machine(t)
	m.onGitHub()
	for name, value := range map[string]string{
		"GOENV": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw -mod=mod",
		"GOMODCACHE": filepath.Join(m.home, "modules"), "GOCACHE": filepath.Join(m.home, "builds"),
		"npm_config_cache": filepath.Join(m.home, "packages"), "npm_config_audit": "false",
		"npm_config_update_notifier": "false",
		"npm_config_cafile":          m.environ["GHAPP_CA_FILE"], "npm_config_globalconfig": os.DevNull,
		"npm_config_allow_git": "all",
	} {
		m.environ[name] = value
	}
	m.write(filepath.Join(m.work, "go.mod"), "module example.test/app\n\ngo 1.21\n\nrequire github.com/acme/lib v1.0.0\n")
	m.write(filepath.Join(m.work, "package.json"), `{"name": "app", "version": "1.0.0"}`)
	m.write(filepath.Join(m.work, "Cargo.toml"), "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"+
		"[dependencies]\nlib = { git = \"https://github.com/acme/lib\", tag = \"v1.0.0\" }\n")
	m.write(filepath.Join(m.work, "src/main.rs"), "fn main() {}\n")

	text := section(t, "Make plain git work")
	for _, config := range blocks(t, text, "yaml") {
		config = strings.NewReplacer("Iv23liABCDEFGHIJKLMN", m.environ["GHAPP_APP"]).Replace(config)
		// This GitHub's certificate is signed by nobody whom the system trusts.
		config = strings.Replace(config, "    key: app.pem\n",
			"    key: app.pem\n    ca_file: "+m.environ["GHAPP_CA_FILE"]+"\n", 1)
		m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"), config)
	}
	key := filepath.Join(m.home, ".config/ghapp/app.pem")
	testkit.OK(t, os.Rename(m.environ["GHAPP_KEY"], key))
	m.environ["GHAPP_KEY"] = key // the one place on disk where it may be

	script, commands := "set -eu\n", 0
	for _, block := range blocks(t, text, "console") {
		for line := range strings.Lines(block) {
			line, is := strings.CutPrefix(line, "$ ")
			if !is {
				continue
			}
			if strings.Contains(line, "cargo ") && !m.hasRust() {
				continue // it is not among what the project installs
			}
			commands++
			script += line
			if strings.HasSuffix(line, "&\n") {
				// Whoever types the next line gives it the time to start.
				script += "until ghapp agent status >/dev/null 2>&1; do sleep 0.1; done\n"
			}
		}
	}
	if commands == 0 {
		t.Fatal("there is no command")
	}
	m.write(filepath.Join(m.root, "script"), "set -x\n"+script)
	t.Cleanup(func() { m.ghapp("agent", "stop") }) // where the script has failed before it
	m.client(".", "bash", filepath.Join(m.root, "script"))
	for _, name := range []string{"site/main.txt", "node_modules/lib/index.js"} {
		if m.read(name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
	if m.github.Mints() == 0 {
		t.Error("no token was minted")
	}
	m.noSecretOnDisk()
}

// What the README says of setting up is what a new user does in an empty home, word for
// word; the person in front of the browser is the test.
func TestReadmeSetsUp(t *testing.T) {
	t.Parallel()
	text := section(t, "Set up")
	line, isCommand := strings.CutPrefix(strings.TrimSpace(blocks(t, text, "console")[0]), "$ ")
	command, comment, _ := strings.Cut(line, "#")
	option := regexp.MustCompile(`--org \w+`).FindString(comment)
	inline := map[string]string{} // by subcommand
	for _, code := range regexp.MustCompile("`ghapp (\\w+)([^`]+)`").FindAllStringSubmatch(text, -1) {
		inline[code[1]] = "ghapp " + code[1] + code[2]
	}
	if !isCommand || option == "" || inline["setup"] == "" || inline["doctor"] == "" {
		t.Fatalf("the section has another form: %q, %q, %q", line, option, inline)
	}
	for name, line := range map[string]string{"as it stands": line, "for an organization": command + option} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newNewcomer(t)
			m.reachGitHub()
			r := m.begun("bash", "-c", line)
			p := m.personOnGitHub()
			p.create(r)
			if name == "as it stands" {
				m.github.AddRepository("octocat/hello", githubtest.RepositoryOptions{})
			}
			p.press("install_target=all")
			p.refresh()
			if done := r.result(); done.code != 0 || !strings.Contains(p.text, "is ready") {
				t.Fatalf("exit code %d\n%s\n%s", done.code, done.stderr, p.text)
			}
			if name == "for an organization" {
				m.client(".", "bash", "-c", inline["doctor"])
				m.client(".", "ghapp", "clone", "acme/site")
			}
		})
	}
	t.Run("for an App that exists", func(t *testing.T) {
		t.Parallel()
		m := newNewcomer(t)
		m.reachGitHub()
		m.write(filepath.Join(m.work, "app.pem"), string(m.keyPEM))
		m.client(".", "bash", "-c", strings.Replace(inline["setup"], " ID", " 1234", 1))
		m.client(".", "bash", "-c", inline["doctor"])
		m.client(".", "ghapp", "clone", "acme/site")
	})
}

// reachGitHub leads to the machine's GitHub under its real name, whose authority the
// system trusts.
func (m *machine) reachGitHub() {
	m.t.Helper()
	m.onGitHub()
	m.environ["GIT_SSL_CAINFO"] = m.environ["GHAPP_CA_FILE"]
	delete(m.environ, "GHAPP_CA_FILE")
}

// begun is a program that waits for a person, once it has opened a browser.
func (m *machine) begun(argv ...string) *running {
	m.t.Helper()
	cmd, out := m.start(m.ofUser(), ".", argv...)
	r := &running{m: m, cmd: cmd, out: out}
	opened := make(chan string, 1)
	go func() {
		text, _ := os.ReadFile(filepath.Join(m.home, "opened")) // ends when the opener has
		opened <- string(text)
	}()
	select {
	case text := <-opened:
		r.page = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "1\n"), "/")
	case <-time.After(patience):
		m.t.Fatal("no browser was opened")
	}
	return r
}

// personOnGitHub has a browser that reaches github.com as the machine does.
func (m *machine) personOnGitHub() *person {
	m.t.Helper()
	p := newPerson(m.t)
	authority := testkit.Must(os.ReadFile(m.environ["SSL_CERT_FILE"]))(m.t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	through := testkit.Must(url.Parse(m.environ["https_proxy"]))(m.t)
	p.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots},
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "https" {
				return through, nil
			}
			return nil, nil
		}}
	return p
}
