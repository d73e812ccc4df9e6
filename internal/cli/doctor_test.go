package cli_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// diagnosis is what `ghapp doctor --json` tells.
type diagnosis struct {
	Repository string `json:"repository"`
	Findings   []struct {
		Link, About, State, Text, Cause, Hint, Kind, Request string
		ExitCode                                             int `json:"exit_code"`
	} `json:"findings"`
	ExitCode int `json:"exit_code"`
}

// ailment is a set-up in which one thing is not as it should be.
type ailment struct {
	prepare func(*machine)
	args    []string // default: acme/site
	link    string   // the one that is not; "": all are
	state   string   // warn or broken
	kind    string   // of the cause
	says    string   // in text, cause or hint
	exit    int
}

const (
	warned = "warn"
	broken = "broken"
)

// ailments are set-ups with one thing wrong each.
func ailments() map[string]ailment {
	github := func(script string) func(*machine) {
		return func(m *machine) { m.script(script) }
	}
	variable := func(name, value string) func(*machine) { return func(m *machine) { m.environ[name] = value } }
	return map[string]ailment{
		"nothing": {prepare: func(*machine) {}},

		// The machine's programs.
		"old git": {prepare: fakeGit("2.25.1"), link: "git", state: broken, kind: "git-too-old",
			says: "2.31 or later", exit: 6},
		"unsupported git": {prepare: fakeGit("2.35.0"), link: "git", state: warned, kind: "git-unsupported", says: "2.35.0"},
		"no git": {prepare: variable("PATH", "/nonexistent"), link: "git", state: broken,
			kind: "git-missing", says: "install git", exit: 6},

		// The configuration.
		"no configuration": {prepare: func(m *machine) { m.forgetApp() }, link: "configuration", state: broken,
			kind: "configuration", says: "no App is configured", exit: 3},
		"key of the file misspelled": {prepare: config("apps:\n  deploy: {app: {app}, kei: app.pem}\n"),
			link: "configuration", state: broken, kind: "configuration", says: "did you mean \"key\"", exit: 3},
		"two Apps for one owner": {prepare: config("apps:\n  one: {app: {app}, key: {key}, owners: [acme]}\n  two: {app: " +
			"99, key: {key}, owners: [Acme]}\n"),
			link: "configuration", state: broken, kind: "configuration", says: "claimed by two Apps", exit: 3},
		"host of no App": {prepare: func(*machine) {}, args: []string{"https://github.com/acme/site"}, link: "configuration",
			state: broken, kind: "configuration", says: "--host github.com", exit: 3},
		"file open to others": {prepare: func(m *machine) {
			config("apps:\n  deploy: {app: {app}, key: {key}, host: \"{host}\"}\n")(m)
			chmod(m, filepath.Join(m.home, ".config/ghapp/config.yaml"), 0o666)
		}, link: "configuration", state: warned, kind: "configuration-open-to-others", says: "chmod go-w"},
		"cache open to others": {prepare: func(m *machine) {
			m.must("token", "acme/site")
			chmod(m, filepath.Join(m.cache, "ghapp"), 0o755)
		}, link: "cache", state: warned, kind: "cache-unusable", says: "chmod 700"},

		// The key.
		"no key file": {prepare: variable("GHAPP_KEY", "/nonexistent/app.pem"), link: "key file", state: broken,
			kind: "key-missing", says: "/nonexistent/app.pem", exit: 3},
		"truncated key": {prepare: func(m *machine) { m.write(m.environ["GHAPP_KEY"], string(m.keyPEM[:600])) },
			link: "key", state: broken, kind: "key-incomplete", says: "copy the whole file", exit: 3},
		"key open to others": {prepare: func(m *machine) { chmod(m, m.environ["GHAPP_KEY"], 0o644) }, link: "key file",
			state: warned, kind: "key-open-to-others", says: "chmod 600"},
		"key in a work tree": {prepare: func(m *machine) {
			m.repository()
			m.environ["GHAPP_KEY"] = filepath.Join(m.work, "app.pem")
			m.write(m.environ["GHAPP_KEY"], string(m.keyPEM))
		}, link: "key file", state: warned, kind: "key-not-ignored", says: "out of the work tree"},
		"wrong key": {prepare: github("rotate-key deployer"), link: "App", state: broken, kind: "key-mismatch",
			says: "could not be decoded", exit: 3},
		"App without a key": {prepare: github("remove-keys deployer"), link: "App", state: broken, kind: "key-mismatch",
			says: "must generate a public key", exit: 3},
		"newest key not taken": {prepare: func(m *machine) {
			key := m.keyOf(m.github.AddApp(githubtest.AppOptions{Name: "Second", ClientID: "Iv23liSecondApp00000"}))
			config("apps:\n  deploy: {app: {app}, key: [" + key + ", {key}], host: \"{host}\"}\n")(m)
		}, link: "App", state: warned, kind: "newest-key-not-taken", says: "by the key before the newest one"},
		"key before gone": {prepare: config("apps:\n  deploy: {app: {app}, key: [{key}, " +
			"/nonexistent/old.pem], host: \"{host}\"}\n"),
			link: "key before", state: warned, kind: "key-missing", says: "/nonexistent/old.pem"},
		"key before open to others": {prepare: func(m *machine) {
			key := m.keyOf(m.github.AddApp(githubtest.AppOptions{Name: "Second", ClientID: "Iv23liSecondApp00000"}))
			chmod(m, key, 0o644)
			config("apps:\n  deploy: {app: {app}, key: [{key}, " + key + "], host: \"{host}\"}\n")(m)
		}, link: "key before", state: warned, kind: "key-open-to-others", says: "chmod 600"},
		"key of another App": {prepare: anothersKey, link: "App", state: broken, kind: "key-of-another-app",
			says: "signs for the App Second", exit: 3},

		// Plain git, where it is to ask ghapp.
		"plain git": {prepare: func(m *machine) { m.must("git-setup") }},
		"helper with a key that is gone": {prepare: func(m *machine) {
			m.must("git-setup")
			moved := filepath.Join(m.home, "moved.pem")
			testkit.OK(m.t, os.Rename(m.environ["GHAPP_KEY"], moved))
			m.environ["GHAPP_KEY"] = moved
		}, link: "plain git", state: broken, kind: "plain-git-fails", says: "app.pem: missing", exit: 6},
		"helper that only PATH leads to": {prepare: func(m *machine) {
			m.gitConfig("credential."+m.server.URL+".helper", "ghapp")
			m.gitConfig("credential."+m.server.URL+".useHttpPath", "true")
		}, link: "git under cron", state: warned, kind: "plain-git-fails",
			says: "what differs is GHAPP_APP, GHAPP_HOST, GHAPP_KEY, PATH"},

		// The App.
		"App ID that nobody has": {prepare: variable("GHAPP_APP", "4711"), link: "App", state: broken,
			kind: "app-unknown", says: "--host", exit: 3},
		"installation ID for an App ID": {prepare: variable("GHAPP_APP", "30000001"), link: "App", state: broken,
			kind: "app-unknown", says: "Integration not found", exit: 3},
		"App of another host": {prepare: onGitHubCom, link: "App", state: broken, kind: "app-unknown",
			says: "an App is known on one host only", exit: 3},

		"App whose name repeats the JWT": {prepare: func(m *machine) {
			m.traffic.lead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v3/app" {
					m.github.ServeHTTP(w, r)
					return
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"id": 1234, "name": commanding + r.Header.Get("Authorization"),
					"owner":       map[string]string{"login": "acme"},
					"permissions": map[string]string{"contents": "read", "metadata": "read"}})
			}))
		}},

		// The installation.
		"suspended": {prepare: github("suspend acme"), link: "installation", state: broken,
			kind: "suspended", says: "Unsuspend", exit: 4},
		"uninstalled": {prepare: github("uninstall acme\ncreate octo/x\ninstall deployer octo all"),
			link: "installation", state: broken,
			kind: "not-installed", says: "but on octo", exit: 4},
		"App ID for an installation ID": {prepare: variable("GHAPP_INSTALLATION", "1234"),
			link: "installation", state: broken,
			kind: "installation-is-app-id", says: "environment GHAPP_INSTALLATION", exit: 3},
		"installed anew, the old one configured": {prepare: func(m *machine) {
			m.environ["GHAPP_INSTALLATION"] = "30000001"
			m.script("uninstall acme\ninstall deployer acme site")
		}, link: "installation", state: broken, kind: "installed-anew", says: "30000002", exit: 3},
		"installed anew, the old one remembered": {prepare: func(m *machine) {
			m.must("token", "acme/site")
			m.script("uninstall acme\ninstall deployer acme site")
		}},
		"installation of another owner": {prepare: func(m *machine) {
			m.script("install deployer octo all")
			m.environ["GHAPP_INSTALLATION"] = "30000002"
		}, link: "installation", state: broken, kind: "installation-of-another-owner", says: "that of octo", exit: 3},
		"on an enterprise": {prepare: func(m *machine) {
			m.github.AddAccount("bigcorp", githubtest.Enterprise)
			m.app.Install("bigcorp", githubtest.InstallOptions{})
			m.environ["GHAPP_INSTALLATION"] = "30000002"
		}, args: []string{"bigcorp/site"}, link: "installation", state: broken, kind: "enterprise-installation",
			says: "organization that owns", exit: 4},
		"permission not accepted": {prepare: github("permit acme metadata=read"), link: "permissions", state: broken,
			kind: "permission-not-accepted", says: "/settings/installations/30000001", exit: 4},
		"permission not asked for": {prepare: config("apps:\n  deploy: {app: {app}, key: {key}, host: \"{host}\", " +
			"permissions: {contents: write}}\n"),
			link: "permissions", state: broken, kind: "permission-not-granted", says: "wanted contents:write", exit: 4},

		// The repository.
		"not selected": {prepare: func(*machine) {}, args: []string{"acme/hidden"}, link: "repository",
			state: broken, kind: "repository-not-selected", says: "add it on the installation's page", exit: 4},
		"of a name nobody has": {prepare: github("select acme all"), args: []string{"acme/nowhere"}, link: "repository",
			state: broken, kind: "repository-not-selected", says: "does not exist", exit: 4},
		"renamed": {prepare: github("rename acme/site home"), link: "repository", state: warned,
			kind: "repository-moved", says: "is acme/home now"},
		"transferred": {prepare: github("install deployer octo all\ntransfer acme/site octo"), link: "repository",
			state: warned, kind: "repository-moved", says: "/octo/site.git"},
		"transferred elsewhere": {prepare: github("transfer acme/site octo"), link: "repository", state: broken,
			kind: "repository-not-selected", says: "acme/site", exit: 4},

		// The token.
		"IP allow list": {prepare: github("allowlist acme on"), link: "token", state: broken, kind: "ip-not-allowed",
			says: "adds this machine's address", exit: 4},
		"secondary limit": {prepare: github("fault POST /app/installations/*/access_tokens secondary=1h"), link: "token",
			state: broken, kind: "rate-limited", says: "try again after", exit: 5},
		"revoked token in the cache": {prepare: func(m *machine) {
			// So that it is twenty minutes old.
			m.script("clock -20m")
			m.must("token", "acme/site")
			m.script("revoke\nclock 0s")
		}, link: "cached token", state: warned, kind: "cached-token-refused", says: "it was dropped"},
		"git refuses the token": {prepare: func(m *machine) {
			m.traffic.lead(refusing(orSettle(isDiscovery("acme/site")),
				"the `acme` organization has an IP allow list enabled", m.github))
		}, link: "git service", state: broken, kind: "ip-not-allowed", says: "IP allow list", exit: 4},
		"long tokens cut off": {prepare: func(m *machine) {
			m.traffic.lead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if isSettle(r) && len(r.Header.Get("Authorization")) > 256 {
					panic(http.ErrAbortHandler)
				}
				m.github.ServeHTTP(w, r)
			}))
		}, link: "token formats", state: warned, kind: "token-format-refused", says: "cut long headers"},
		"token not revoked": {prepare: github("fault DELETE /installation/token status=403"), link: "token", state: warned,
			kind: "token-not-revoked", says: "2 of the doctor's own live on"},
		"token known late": {prepare: github("lag 1s")},
		"token known too late": {prepare: github("lag 1h"), link: "git service", state: broken, kind: "token-not-yet-known",
			says: "run the command again", exit: 5},
		"rate limited": {prepare: func(m *machine) {
			m.github.SetRateLimit(1)
			m.must("repos", "acme")
		}, link: "rate limit", state: broken, kind: "rate-limited", says: "try again after", exit: 5},
		"almost rate limited": {prepare: func(m *machine) {
			m.github.SetRateLimit(100)
			m.spend(92)
		}, link: "rate limit", state: warned, kind: "rate-limit-low", says: "8 of 100"},
		"no rate limit": {prepare: github("limit off")},

		// The network.
		"no DNS": {prepare: variable("GHAPP_HOST", "https://ghapp.invalid"), link: "DNS", state: broken,
			kind: "unreachable", says: "DNS", exit: 5},
		"nobody listens": {prepare: variable("GHAPP_HOST", "http://127.0.0.1:1"), link: "connection", state: broken,
			kind: "unreachable", says: "connection refused", exit: 5},
		"proxy down": {prepare: proxied("http://127.0.0.1:1"), link: "proxy", state: broken, kind: "unreachable",
			says: "the proxy that https_proxy names", exit: 5},
		"proxy with a login": {prepare: func(m *machine) {
			_, address := newProxy(m.t, m.secure(), "Basic Y29ycDpzM2NyZXQ=")
			proxied("http://corp:" + another + "@" + address)(m)
		}, link: "proxy", state: broken, kind: "unreachable", says: "407", exit: 5},
		"proxy that is none": {prepare: proxied("http://corp:" + another + "\x7f@proxy.test"), link: "proxy", state: broken,
			kind: "unreachable", says: "https_proxy=http://USER:PASSWORD@HOST:PORT", exit: 3},
		"proxy with a raw #": {prepare: proxied("http://corp:" + another + "#x@proxy.test"), link: "proxy", state: broken,
			kind: "unreachable", says: "# as %23", exit: 3},
		"proxy of git with a raw #": {prepare: func(m *machine) {
			m.gitConfig("http.proxy", "http://corp:"+another+"#x@127.0.0.1:1")
		},
			link: "git host", state: broken, kind: "unreachable", says: "http.proxy=http://USER", exit: 3},
		"proxy of git down": {prepare: func(m *machine) { m.gitConfig("http.proxy", "http://corp:"+another+"@127.0.0.1:1") },
			link: "git host", state: broken, kind: "connection-refused", says: "http://127.0.0.1:1 (http.proxy)", exit: 5},
		"own authority": {prepare: func(m *machine) {
			m.environ["GHAPP_HOST"] = m.secure().URL
			delete(m.environ, "GHAPP_CA_FILE")
		}, link: "certificate", state: broken, kind: "certificate-not-trusted", says: "--ca-file", exit: 3},
		"own authority, which git knows": {prepare: func(m *machine) {
			m.environ["GHAPP_HOST"] = m.secure().URL
			m.gitConfig("http.sslCAInfo", m.environ["GHAPP_CA_FILE"])
			delete(m.environ, "GHAPP_CA_FILE")
		}, link: "certificate", state: broken, kind: "authority-known-to-git-alone", says: "ca.pem", exit: 3},
		"own authority, given": {prepare: func(m *machine) { m.environ["GHAPP_HOST"] = m.secure().URL }},
		"certificate of another name": {prepare: func(m *machine) {
			m.environ["GHAPP_HOST"] = strings.Replace(m.secure().URL, "127.0.0.1", "localhost", 1)
		}, link: "certificate", state: broken, kind: "certificate-not-trusted", says: "that of another host", exit: 3},
		"no TLS": {prepare: func(m *machine) {
			m.environ["GHAPP_HOST"] = strings.Replace(m.server.URL, "http://", "https://", 1)
		}, link: "certificate", state: broken, kind: "unreachable", says: "speaks no TLS", exit: 5},
		"no file of authorities": {prepare: variable("GHAPP_CA_FILE", "/nonexistent/ca.pem"), link: "CA file", state: broken,
			kind: "configuration", says: "/nonexistent/ca.pem", exit: 3},
		"another server": {prepare: func(m *machine) {
			m.traffic.lead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "Please sign in.") }))
		}, link: "host", state: broken, kind: "not-github", says: "wants a sign-in", exit: 3},
		"GitHub fails": {prepare: github("fault /** status=502"), link: "host", state: broken,
			kind: "unreachable", says: "502", exit: 5},

		// The clock.
		"clock 2 minutes behind": {prepare: github("clock +2m"), link: "clock", state: warned, kind: "clock-off",
			says: "120 s behind GitHub's"},
		"clock 5 minutes ahead": {prepare: github("clock -5m"), link: "clock", state: warned, kind: "clock-off",
			says: "300 s ahead of GitHub's"},
		"clock 15 minutes behind": {prepare: github("clock +15m"), link: "clock", state: warned,
			kind: "clock-off", says: "timedatectl"},
		"clock a year behind": {prepare: github("clock +8760h"), link: "clock", state: broken, kind: "clock-off",
			says: "more than 15 hours", exit: 4},
		"clock 15 minutes ahead": {prepare: github("clock -15m"), link: "clock", state: warned, kind: "clock-off",
			says: "900 s ahead of GitHub's"},

		// What git has configured.
		"stale header": {prepare: func(m *machine) { m.gitConfig("http."+m.server.URL+"/.extraHeader", anothersHeader()) },
			link: "headers", state: warned, kind: "git-configuration", says: "--unset-all"},
		"stale header where git is to ask ghapp": {prepare: func(m *machine) {
			m.must("git-setup")
			m.gitConfig("http."+m.server.URL+"/.extraHeader", anothersHeader())
		}, link: "headers", state: broken, kind: "git-configuration", says: "--unset-all", exit: 3},
		"netrc": {prepare: func(m *machine) {
			m.write(filepath.Join(m.home, ".netrc"), "machine 127.0.0.1 login u password "+another+"\n")
		}, link: ".netrc", state: warned, kind: "netrc", says: ".netrc:1"},
		"helper after ghapp": {prepare: laterHelper("store"), link: "helpers", state: warned,
			kind: "git-configuration", says: "stands behind ghapp"},
		"helpers forgotten": {prepare: laterHelper(""), link: "helpers", state: broken, kind: "git-configuration",
			says: "it makes git forget", exit: 3},
		"helper that is gone": {prepare: func(m *machine) {
			m.repository()
			m.configure(filepath.Join(m.work, ".git", "config"), "credential."+m.server.URL+".helper",
				"/nonexistent/git-credential-ghapp --config /nonexistent/config.yaml")
		}, link: "helpers", state: broken, kind: "git-configuration",
			says: "no program is at /nonexistent/git-credential-ghapp", exit: 3},
		"helper that is gone, and emptied": {prepare: func(m *machine) {
			m.gitConfig("credential."+m.server.URL+".helper", "/nonexistent/git-credential-ghapp")
			m.must("git-setup")
			text := testkit.Must(os.ReadFile(filepath.Join(m.home, ".gitconfig")))(m.t)
			testkit.Contains(m.t, string(text), `helper = ""`)
		}},
		"helper that goes with its version": {prepare: func(m *machine) {
			dir := filepath.Join(m.root, "Cellar", "ghapp", "1.0.0", "bin")
			testkit.OK(m.t, os.MkdirAll(dir, 0o755))
			for _, program := range []string{"ghapp", "git-credential-ghapp"} {
				testkit.OK(m.t, os.Symlink(filepath.Join(binaries, program), filepath.Join(dir, program)))
			}
			m.must("git-setup")
			path := filepath.Join(m.home, ".gitconfig")
			text := testkit.Must(os.ReadFile(path))(m.t)
			m.write(path, strings.Replace(string(text), filepath.Join(binaries, "git-credential-ghapp"),
				filepath.Join(dir, "git-credential-ghapp"), 1))
		}, link: "helpers", state: warned, kind: "git-configuration", says: "Homebrew takes"},
		"helper where git is not to ask ghapp": {prepare: func(m *machine) {
			m.repository()
			m.configure(filepath.Join(m.work, ".git", "config"), "credential.helper", "store")
		}},
		"rewritten": {prepare: func(m *machine) { m.gitConfig("url.git@127.0.0.1:.insteadOf", m.server.URL+"/") },
			link: "rewriting", state: warned, kind: "git-configuration", says: "insteadof"},
		"rewritten with a login": {prepare: func(m *machine) {
			m.gitConfig("url.http://u:"+another+"@evil.test/.insteadOf", m.server.URL+"/")
		}, link: "rewriting", state: warned, kind: "git-configuration", says: "evil.test"},
		"login in a remote's address": {prepare: func(m *machine) {
			m.repository()
			m.configure(filepath.Join(m.work, ".git", "config"), "remote.origin.url",
				strings.Replace(m.server.URL, "://", "://u:"+another+"@", 1)+"/acme/site")
		}, link: "logins", state: warned, kind: "git-configuration", says: "sends the login in this address"},
		"certificates unchecked": {prepare: func(m *machine) {
			m.environ["GHAPP_HOST"] = m.secure().URL
			m.gitConfig("http.sslVerify", "false")
		},
			link: "verification", state: warned, kind: "certificates-unchecked", says: "takes any certificate"},
		"certificates unchecked by a variable": {prepare: variable("GIT_SSL_NO_VERIFY", "0"),
			link: "verification", state: warned, kind: "certificates-unchecked", says: "unset GIT_SSL_NO_VERIFY"},
		"traces of git unredacted": {prepare: variable("GIT_TRACE_REDACT", "0"),
			link: "traces", state: warned, kind: "traces-show-tokens", says: "unset GIT_TRACE_REDACT"},
		"traces of git redacted": {prepare: variable("GIT_TRACE_REDACT", "1")},
		"traces of git-lfs": {prepare: variable("LFS_DEBUG_HTTP", "1"),
			link: "traces", state: warned, kind: "traces-show-tokens", says: "git-lfs shows every token"},
		"hooks of the user": {prepare: func(m *machine) { m.gitConfig("core.hooksPath", m.root) }},
	}
}

func TestDoctorNamesWhatIsWrongAndNothingElse(t *testing.T) {
	t.Parallel()
	list := ailments()
	if len(list) < 50 {
		t.Fatalf("only %d set-ups", len(list))
	}
	for name, a := range list {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			a.prepare(m)
			if a.args == nil {
				a.args = []string{"acme/site"}
			}
			before := m.github.Mints()
			told := m.ghapp(append([]string{"doctor", "--json", "-v"}, a.args...)...)
			d := m.diagnosis(told)
			testkit.Equal(t, told.code, a.exit)
			testkit.Equal(t, d.ExitCode, a.exit)
			blamed := false
			for _, f := range d.Findings {
				switch {
				case f.State == "skipped":
					testkit.Equal(t, f.Text, "not checked: it needs "+a.link, "%s", f.Link)
				case f.State == "ok" || f.State == "note":
					if f.Cause+f.Hint+f.Kind != "" || f.ExitCode != 0 || f.Text == "" {
						t.Errorf("%s is %s, and has a cause: %+v", f.Link, f.State, f)
					}
				case f.Link == a.link && f.State == a.state && f.Kind == a.kind && !blamed:
					blamed = true
					if !strings.Contains(f.Text+"\n"+f.Cause+"\n"+f.Hint, a.says) {
						t.Errorf("%q is not said: %+v", a.says, f)
					}
					if f.Text == "" || f.Cause == "" || f.Hint == "" {
						t.Errorf("it is not told in full: %+v", f)
					}
				default:
					t.Errorf("blamed as well: %+v", f)
				}
			}
			if !blamed && a.link != "" {
				t.Errorf("%s is not blamed:\n%s", a.link, told.stdout)
			}
			m.noSecretIn("the findings", told.stdout+told.stderr)
			m.noOneElsesSecretIn(told)

			page := m.ghapp(append([]string{"doctor", "-v", "--redact-owner"}, a.args...)...)
			if again := a.link == "cached token"; !again && page.code != a.exit {
				t.Errorf("exit code %d", page.code)
			}
			m.noSecretIn("the page", page.stdout+page.stderr)
			m.noOneElsesSecretIn(page)
			m.noNameIn(page)
			asked := strings.Contains(told.stdout, "git ls-remote") // and then git's tokens stay in the cache
			if !asked && !slices.Contains([]string{"rate limited", "token not revoked", "token known too late"}, name) {
				m.noTokenLives(before)
			}
			if a.state == broken {
				m.endsWithTheHint(name, a, d)
			}
		})
	}
}

// endsWithTheHint fails unless a command that fails at a broken link ends with the hint
// that the doctor has for it.
func (m *machine) endsWithTheHint(name string, a ailment, d diagnosis) {
	m.t.Helper()
	// What a clone goes past, by design, and what is seen only by trying something that
	// the command has no use for.
	clones := []string{"rate limited", "permission not asked for", "stale header where git is to ask ghapp",
		"helpers forgotten", "helper with a key that is gone", "helper that is gone"}
	onlyTried := []string{"key of another App", "own authority, which git knows"}
	advice := ""
	for _, f := range d.Findings {
		if f.Link == a.link && f.State == broken {
			advice = f.Hint
		}
	}
	cloned := m.ghapp("clone", a.args[0])
	hints := hintPattern.FindAllStringSubmatch(cloned.stderr, -1)
	switch {
	case slices.Contains(clones, name):
		cloned.ends(m.t, 0)
	case cloned.code == 0 || len(hints) != 1:
		m.t.Errorf("exit code %d\n%s", cloned.code, cloned.stderr)
	case slices.Contains(onlyTried, name) == (untimed(hints[0][1]) == untimed(advice)):
		m.t.Errorf("the hint of clone is\n  %s\nand that of the doctor\n  %s", hints[0][1], advice)
	}
}

var hintPattern = regexp.MustCompile(`(?m)^ghapp: hint: (.*)$`)

// untimed is a hint without the time that is left: the second may have changed between
// the two.
func untimed(hint string) string {
	return regexp.MustCompile(`after [0-9:]+ \(in [0-9hms]+\)`).ReplaceAllString(hint, "later")
}

// noNameIn fails if what is pasted where everybody reads it names somebody.
func (m *machine) noNameIn(r result) {
	m.t.Helper()
	names := regexp.MustCompile(
		`(?i)acme|\bocto\b|bigcorp|corp\b|deployer|Iv23li\w|3000000\d|\b1234\b|\b4711\b|/(site|hidden|nowhere)\b|of Second|ghapp\.invalid|evil\.test|proxy\.test|github\.test|ghapp test`)
	for line := range strings.Lines(r.stdout + r.stderr) {
		testkit.Equal(m.t, names.FindString(line), "", "is in %s", line)
	}
}

// What git has configured is looked at without an App too, where that is all that there is: in a
// clone of ghapp's, for the host that it is of.
func TestDoctorLooksAtWhatGitHasConfiguredWithoutAnApp(t *testing.T) {
	t.Parallel()
	const host = "https://ghe.invalid"
	for name, test := range map[string]struct {
		prepare func(*machine)
		args    []string
	}{
		"nothing is configured":            {prepare: func(*machine) {}},
		"the configuration cannot be read": {prepare: config("apps: {deploy: {kei: x}}\n")},
		"the App has no key":               {prepare: config("apps: {deploy: {app: 1, host: ghe.invalid}}\n")},
		"Apps without keys": {prepare: config("apps: {one: {app: 1, host: ghe.invalid}, two: {app: 2, host: ghe.invalid}}\n"),
			args: []string{"acme/site"}},
		"another App": {prepare: config("apps: {deploy: {app: 1, host: other.invalid}}\n")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.forgetApp()
			delete(m.environ, "GHAPP_HOST")
			m.environ["https_proxy"] = "http://127.0.0.1:1" // where nothing is found out about the host
			test.prepare(m)
			m.repository()
			local := filepath.Join(m.work, ".git", "config")
			m.configure(local, "remote.origin.url", host+"/acme/site.git")
			m.configure(local, "credential."+host+".helper", "/nonexistent/git-credential-ghapp")
			m.gitConfig("http."+host+"/.extraHeader", anothersHeader())
			m.write(filepath.Join(m.home, ".netrc"), "machine ghe.invalid login u password "+another+"\n")
			m.gitConfig("core.hooksPath", m.root)
			told := m.ghapp(append([]string{"doctor", "--json"}, test.args...)...)
			testkit.Equal(t, told.code, 3)
			states := map[string]string{}
			for _, f := range m.diagnosis(told).Findings {
				states[f.Link] = f.State
			}
			for link, want := range map[string]string{"configuration": broken, "helpers": broken, "headers": broken,
				".netrc": broken, "logins": "ok", "rewriting": "ok", "verification": "ok", "traces": "ok", "hooks": "note"} {
				testkit.Equal(t, states[link], want, "%s", link)
			}
			m.noOneElsesSecretIn(told)
		})
	}
}

// What only the doctor sees is seen here, each of it.
func TestEveryTroubleIsProvoked(t *testing.T) {
	t.Parallel()
	text := testkit.Must(os.ReadFile("../diag/causes.go"))(t)
	troubles := regexp.MustCompile(`(?m)^\t\w+ +Trouble = "(.*?)"`).FindAllStringSubmatch(string(text), -1)
	if len(troubles) < 20 {
		t.Fatalf("only %d troubles are found", len(troubles))
	}
	provoked := map[string]bool{
		"agent-unreachable": true, "agent-key": true, // TestDoctorAsksTheAgent
		// TestDoctorNamesTheBrokenLinkOfTheWayByABroker
		"audience-wrong": true, "audience-other-than-brokers": true,
	}
	for _, a := range ailments() {
		provoked[a.kind] = true
	}
	for _, trouble := range troubles {
		if !provoked[trouble[1]] {
			t.Errorf("nothing brings about %q", trouble[1])
		}
	}
}

// A stale token is told, and gone: the next command gets another.
func TestDoctorDropsAStaleToken(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ailments()["revoked token in the cache"].prepare(m)
	stale := m.tokens()
	m.must("doctor", "acme/site")
	for _, f := range m.diagnosis(m.must("doctor", "acme/site", "--json")).Findings {
		if f.State == warned || f.Link == "cached token" && f.Text != "none for acme/site" {
			t.Errorf("%+v", f)
		}
	}
	if token := strings.TrimSpace(m.must("token", "acme/site").stdout); slices.Contains(stale, token) {
		t.Error("the stale token is given out again")
	}
}

// diagnosis reads what doctor --json told.
func (m *machine) diagnosis(r result) diagnosis {
	m.t.Helper()
	var d diagnosis
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil || len(d.Findings) < 5 {
		m.t.Fatalf("%v: exit code %d\n%s%s", err, r.code, r.stdout, r.stderr)
	}
	return d
}

// noOneElsesSecretIn fails if another identity's password is shown, or what a terminal
// obeys.
func (m *machine) noOneElsesSecretIn(r result) {
	m.t.Helper()
	if found := search([]byte(r.stdout+r.stderr), []string{another, "Y29ycDpzM2NyZXQ="}); found != "" {
		m.t.Errorf("another's secret is shown: %s", found)
	}
	if strings.ContainsAny(r.stdout+r.stderr, "\x1b\x07\x08\u009b") {
		m.t.Errorf("what a terminal obeys is shown:\n%q", r.stdout+r.stderr)
	}
}

// noTokenLives fails if a token lives on that was minted after so many others.
func (m *machine) noTokenLives(others int) {
	m.t.Helper()
	for _, token := range m.github.Tokens()[others:] {
		if !token.Revoked {
			m.t.Errorf("a token for %v lives on", token.Repositories)
		}
	}
}

// script carries out lines of the stand-in's own script.
func (m *machine) script(lines string) {
	m.t.Helper()
	for line := range strings.SplitSeq(lines, "\n") {
		testkit.OK(m.t, m.github.Script(line))
	}
}

// spend asks the API so many times as the installation.
func (m *machine) spend(times int) {
	m.t.Helper()
	token := strings.TrimSpace(m.must("token", "acme/site").stdout)
	for range times {
		req := testkit.Must(http.NewRequest(http.MethodGet, m.server.URL+"/api/v3/installation/repositories", nil))(m.t)
		req.Header.Set("Authorization", "token "+token)
		answer := testkit.Must(http.DefaultClient.Do(req))(m.t)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			m.t.Fatalf("status %d", answer.StatusCode)
		}
	}
}

// forgetApp takes the variables away that name the App.
func (m *machine) forgetApp() {
	for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_HOST"} {
		delete(m.environ, name)
	}
	m.environ["GHAPP_HOST"] = m.server.URL
}

// config writes a config file, in which {app}, {key} and {host} are those of the world.
func config(text string) func(*machine) {
	return func(m *machine) {
		m.t.Helper()
		text := strings.NewReplacer("{app}", m.environ["GHAPP_APP"], "{key}", m.environ["GHAPP_KEY"],
			"{host}", m.server.URL).Replace(text)
		m.write(filepath.Join(m.home, ".config", "ghapp", "config.yaml"), text)
		for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_HOST"} {
			delete(m.environ, name)
		}
	}
}

func chmod(m *machine, path string, mode os.FileMode) {
	m.t.Helper()
	testkit.OK(m.t, os.Chmod(path, mode))
}

// fakeGit is a git that says it is of another version. One before 2.31 does not know
// the option with which ghapp begins.
func fakeGit(version string) func(*machine) {
	return func(m *machine) {
		m.t.Helper()
		script := "#!/bin/sh\nfor word; do test \"$word\" = version && { echo git version " + version +
			"; exit; }; done\nPATH='" + m.environ["PATH"] + "' exec git \"$@\"\n"
		if version < "2.31" {
			script = "#!/bin/sh\ncase $1 in --config-env=*) echo \"unknown option: $1\" >&2; exit 129;; esac\n" +
				"echo git version " + version + "\n"
		}
		dir := filepath.Join(m.root, "bin")
		m.write(filepath.Join(dir, "git"), script)
		chmod(m, filepath.Join(dir, "git"), 0o755)
		m.environ["PATH"] = dir + string(os.PathListSeparator) + m.environ["PATH"]
	}
}

// proxied reaches the API and git through a proxy.
func proxied(proxy string) func(*machine) {
	return func(m *machine) {
		m.environ["GHAPP_HOST"] = proxiedHost
		m.environ["https_proxy"] = proxy
	}
}

// laterHelper has a repository with a helper of its own, after git-setup.
func laterHelper(helper string) func(*machine) {
	return func(m *machine) {
		m.must("git-setup")
		m.repository()
		m.configure(filepath.Join(m.work, ".git", "config"), "credential.helper", helper)
	}
}

// repository makes an empty one of the current directory.
func (m *machine) repository() {
	m.t.Helper()
	m.write(filepath.Join(m.work, ".git", "HEAD"), "ref: refs/heads/main\n")
	for _, name := range []string{"objects", "refs"} {
		testkit.OK(m.t, os.MkdirAll(filepath.Join(m.work, ".git", name), 0o755))
	}
}

// keyOf gives an App a key that is not the one of the world, and writes it to a file.
func (m *machine) keyOf(app *githubtest.App) string {
	m.t.Helper()
	key := testkit.NthKey(m.t, 1)
	app.AddKey(&key.PublicKey)
	path := filepath.Join(m.root, app.Slug+".pem")
	m.write(path, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	return path
}

// anothersKey has two Apps, the keys of which were mixed up.
func anothersKey(m *machine) {
	second := m.github.AddApp(githubtest.AppOptions{Name: "Second", ClientID: "Iv23liSecondApp00000"})
	key := m.keyOf(second)
	config(fmt.Sprintf("apps:\n  first: {app: {app}, key: %s, host: \"{host}\", owners: [acme]}\n  second: {app: %s, "+
		"key: {key}, host: \"{host}\", owners: [octo]}\n", key, second.ClientID))(m)
}

// onGitHubCom has an App that is registered on a GitHub Enterprise Server, and asks
// GitHub.com.
func onGitHubCom(m *machine) {
	other := testkit.Must(githubtest.New(githubtest.Options{Dir: filepath.Join(m.root, "com")}))(m.t)
	m.t.Cleanup(func() { _ = other.Close() })
	server := httptest.NewServer(other)
	m.t.Cleanup(server.Close)
	m.environ["GHAPP_HOST"], m.environ["GHAPP_API_URL"] = server.URL, server.URL
}
