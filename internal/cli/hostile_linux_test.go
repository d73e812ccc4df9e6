package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A directory may be a stranger's: an archive with a .git in it, or a bare repository among the
// files of a clone. The doctor neither runs what is configured there nor sends anything there.
func TestDoctorRunsNothingOfAHostileDirectory(t *testing.T) {
	t.Parallel()
	type hostile struct {
		config string // RAN, PROXY, HOST and HELPER are replaced
		key    string // that the doctor names
		also   map[string]string
	}
	cases := map[string]hostile{
		"alias in the place of git-lfs": {config: "[alias]\n\tlfs = \"!: >RAN\"\n", key: "alias.lfs"},
		"another helper":                {config: "[credential]\n\thelper = \"!cat >>RAN; :\"\n", key: "credential.helper"},
		"another helper of the host": {config: "[credential \"HOST\"]\n\thelper = \"!cat >>RAN; :\"\n",
			key: "credential.HOST.helper"},
		"program behind our helper": {config: "[credential \"HOST\"]\n\thelper = \"!HELPER; : >RAN;\"\n",
			key: "credential.HOST.helper"},
		"proxy":             {config: "[http]\n\tproxy = PROXY\n", key: "http.proxy"},
		"proxy of the host": {config: "[http \"HOST/\"]\n\tproxy = PROXY\n", key: "http.HOST/.proxy"},
		"remote helper": {config: "[protocol \"ext\"]\n\tallow = always\n[remote \"origin\"]\n\tvcs = ext\n",
			key: "protocol.ext.allow"},
		"remote helper alone": {config: "[remote \"origin\"]\n\tvcs = ext\n", key: "remote.origin.vcs"},
		"ssh": {config: "[core]\n\tsshCommand = \": >RAN;\"\n[url \"ssh://git@127.0.0.1/\"]\n\tinsteadOf = HOST/\n",
			key: "core.sshcommand"},
		"rewriting": {config: "[url \"PROXY/\"]\n\tinsteadOf = HOST/\n", key: "url.PROXY/.insteadof"},
		"header":    {config: "[http]\n\textraHeader = X-Of: theirs\n", key: "http.extraheader"},
		"git proxy": {config: "[core]\n\tgitProxy = \": >RAN;\"\n", key: "core.gitproxy"},
		"upload-pack": {config: "[remote \"origin\"]\n\tuploadpack = \": >RAN;\"\n",
			key: "remote.origin.uploadpack"},
		"unverified":       {config: "[http]\n\tsslVerify = false\n", key: "http.sslverify"},
		"name of the host": {config: "[http]\n\tcurloptResolve = github.com:443:127.0.0.1\n", key: "http.curloptresolve"},
		"authority":        {config: "[http \"HOST/\"]\n\tsslCAInfo = /nonexistent/ca.pem\n", key: "http.HOST/.sslcainfo"},
		"included": {config: "[include]\n\tpath = more\n",
			also: map[string]string{"more": "[http]\n\tproxy = PROXY\n"}, key: "include.path"},
		"key as escape": {config: "[a \"\x1b[31m\"]\n\tb = c\n", key: `a.`},
		"settings of theirs": {config: "[credential \"HOST\"]\n\thelper =\n\thelper = " +
			"HELPER --config DIR/ghapp.yaml\n\tuseHttpPath = true\n",
			also: map[string]string{"ghapp.yaml": "apps:\n  theirs: {app: APP, key: 'exec:DIR/evil', host: " +
				"\"HOST\", owners: [acme]}\n",
				"evil": "#!/bin/sh\n: >RAN\n"},
			key: "credential.HOST.helper"},
		"key of theirs": {config: "[credential \"HOST\"]\n\thelper =\n\thelper = " +
			"HELPER --app APP --host HOST --key exec:DIR/evil\n",
			also: map[string]string{"evil": "#!/bin/sh\n: >RAN\n"}, key: "credential.HOST.helper"},
		"API of theirs": {config: "[credential \"HOST\"]\n\thelper =\n\thelper = " +
			"HELPER --app APP --host HOST --key KEY --api-url PROXY/api/v3\n",
			key: "credential.HOST.helper"},
		"nothing": {},
	}
	w := newWorldFor(t)
	git := testkit.Must(exec.LookPath("git"))(t)
	for name, c := range cases {
		for _, embedded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, embedded %v", name, embedded), func(t *testing.T) {
				t.Parallel()
				m := w.machine(t)
				m.must("git-setup")
				// A git without git-lfs.
				programs := filepath.Join(m.root, "programs")
				testkit.OK(t, os.Mkdir(programs, 0o700))
				for program, path := range map[string]string{"git": git, "sh": "/bin/sh", "cat": "/bin/cat"} {
					testkit.OK(t, os.Symlink(path, filepath.Join(programs, program)))
				}
				m.environ["PATH"] = binaries + ":" + programs
				proxy, address := newProxy(t, m.server, "")
				ran := filepath.Join(m.root, "ran")
				dir := filepath.Join(m.work, ".git")
				if embedded {
					m.write(filepath.Join(m.work, ".git", "HEAD"), "ref: refs/heads/main\n")
					dir = filepath.Join(m.work, "docs")
				}
				for _, name := range []string{"objects", "refs"} {
					for _, of := range []string{dir, filepath.Join(m.work, ".git")} {
						testkit.OK(t, os.MkdirAll(filepath.Join(of, name), 0o700))
					}
				}
				fill := strings.NewReplacer("RAN", ran, "PROXY", "http://"+address, "HOST", m.server.URL, "DIR", dir,
					"HELPER", filepath.Join(binaries, "git-credential-ghapp"),
					"APP", m.app.ClientID, "KEY", m.environ["GHAPP_KEY"]).Replace
				m.write(filepath.Join(dir, "HEAD"), "ref: refs/heads/main\n")
				m.write(filepath.Join(dir, "config"), fill("[remote \"origin\"]\n\turl = HOST/acme/site.git\n"+c.config))
				for file, text := range c.also {
					m.write(filepath.Join(dir, file), fill(text))
					testkit.OK(t, os.Chmod(filepath.Join(dir, file), 0o700))
				}
				if embedded {
					m.work = dir
					m.environ["PWD"] = dir
				}
				told := m.ghapp("doctor", "--json", "acme/site")
				plain := ""
				for _, f := range m.diagnosis(told).Findings {
					if f.Link == "plain git" {
						plain = f.State + ": " + f.Text
					}
				}
				if text, err := os.ReadFile(ran); err == nil {
					t.Errorf("a program of the directory ran, and was told %q", text)
				}
				proxy.mu.Lock()
				asked := len(proxy.requests)
				proxy.mu.Unlock()
				if asked > 0 {
					t.Errorf("the directory's proxy was asked %d times", asked)
				}
				switch {
				case embedded:
					if !strings.HasPrefix(plain, "note: not tried: this directory is in a repository without a work tree") {
						t.Errorf("plain git: %q", plain)
					}
				case c.key == "":
					if !strings.HasPrefix(plain, "ok: git ls-remote origin reads acme/site") {
						t.Errorf("plain git is not tried: %q", plain)
					}
				case plain == "":
					t.Error("plain git is not told of")
				case strings.HasPrefix(plain, "skipped: "): // another link has said what is wrong
				case !strings.HasPrefix(plain, "note: not tried: this directory's configuration has "+fill(c.key)):
					t.Errorf("plain git: %q", plain)
				}
			})
		}
	}
}
