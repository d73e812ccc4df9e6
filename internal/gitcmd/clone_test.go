package gitcmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// A machine that is set up in the worst way for us. Its own credentials must not
// reach the origin, and ours must reach nobody else.
func TestCloneOnAHostileMachine(t *testing.T) {
	t.Parallel()
	const header = "Authorization: Basic " + theirs
	tests := map[string]func(t *testing.T, m *machine, o, evil *origin){
		"nothing": func(t *testing.T, m *machine, o, evil *origin) {},

		"header unscoped":          ambient("http.extraHeader", header),
		"header on origin":         ambient("http.{origin}.extraHeader", header),
		"header on origin, slash":  ambient("http.{origin}/.extraHeader", header),
		"header on owner":          ambient("http.{origin}/acme.extraHeader", header),
		"header on repository":     ambient("http.{origin}/acme/site.git.extraHeader", header),
		"header on short name":     ambient("http.{origin}/acme/site.extraHeader", header),
		"header, other letters":    ambient("HTTP.{origin}/acme/site.git.EXTRAHEADER", header),
		"header from the caller":   counted("http.{origin}/acme/site.git.extraHeader", header),
		"header from git -c":       parameters("'http.{origin}/acme/site.git.extraheader'='" + header + "'"),
		"header from old git -c":   parameters("'http.{origin}/acme/site.git.extraheader=" + header + "'"),
		"two settings of a caller": counted("http.{origin}.extraHeader", header, "http.extraHeader", header),

		"helper store":       store,
		"helper of the host": ambient("credential.{origin}.helper", "!f() { echo username=u; echo password="+theirs+"; }; f"),
		"helper of the path": ambient("credential.{origin}/acme/site.git.helper",
			"!f() { echo username=u; echo password="+theirs+"; }; f"),
		"helper from git -c": parameters("'credential.helper'='!f() { echo username=u; echo password=" + theirs + "; }; f'"),
		"other user":         ambient("credential.{origin}.username", "somebody"),
		"askpass variable":   variable("GIT_ASKPASS", "{askpass}"),
		"askpass setting":    ambient("core.askPass", "{askpass}"),
		"askpass of ssh":     variable("SSH_ASKPASS", "{askpass}"),

		"netrc":                 netrc("machine 127.0.0.1 login u password " + theirs),
		"netrc default":         netrc("default login u password " + theirs),
		"netrc same user":       netrc("machine 127.0.0.1\n\tlogin x-access-token\n\tpassword " + theirs),
		"netrc our token, user": netrc("machine 127.0.0.1 login u password " + token),

		"origin goes to evil":        ambient("url.{evil}/.insteadOf", "{origin}/"),
		"owner goes to evil":         ambient("url.{evil}/acme/.insteadOf", "{origin}/acme/"),
		"short name goes to evil":    ambient("url.{evil}/acme/site.insteadOf", "{origin}/acme/site"),
		"repository goes to evil":    ambient("url.{evil}/acme/site.git.insteadOf", "{origin}/acme/site.git"),
		"repository goes to ssh":     ambient("url.git@127.0.0.1:acme/site.git.insteadOf", "{origin}/acme/site.git"),
		"repository goes to a path":  ambient("url./nowhere.insteadOf", "{origin}/acme/site.git"),
		"repository goes to ext":     ambient("url.ext::touch run .insteadOf", "{origin}/acme/site.git"),
		"rewrite from the caller":    counted("url.{evil}/acme/site.git.insteadOf", "{origin}/acme/site.git"),
		"both names go to evil":      both,
		"origin goes to ssh":         ambient("url.git@127.0.0.1:.insteadOf", "{origin}/"),
		"pushes go to ssh":           ambient("url.git@127.0.0.1:.pushInsteadOf", "{origin}/acme/site.git"),
		"everything goes to evil":    ambient("url.{evil}/.insteadOf", "http"),
		"remote of all repositories": ambient("remote.origin.tagOpt", "--no-tags"),

		"hook in the template":  hookTemplate,
		"hooks of the user":     hooksPath,
		"hook in configuration": hookSetting,
		"monitor of files":      ambient("core.fsmonitor", "{run}"),

		"in another repository":  elsewhere,
		"other languages":        variable("LANGUAGE", "de:fr"),
		"other transports":       variable("GIT_ALLOW_PROTOCOL", "https:http:ext:file"),
		"traces on the terminal": traces("1"),
		"traces in files":        traces("{home}/trace"),
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, evil := newOrigin(t), newOrigin(t, evil)
			m := newMachine(t)
			prepare(t, m, o, evil)
			m.set("GHAPP_PRIVATE_KEY", "key-"+theirs)
			m.set("SOME_TOKEN", token+"\n")

			r := m.runner()
			r.Own = childenv.Own{Values: []secret.Text{secret.New(token)}}
			testkit.OK(t, r.Clone(t.Context(), m.options(o, "acme/site")), "%s", m.stderr.String())
			testkit.Equal(t, read(t, filepath.Join(m.dir, "site", "index.html")), "the real one\n", "cloned")
			ours := 0
			for _, request := range o.seen() {
				switch request.Login {
				case username + ":" + token:
					ours++
				case "":
				default:
					t.Errorf("%s %s came with another login", request.Method, request.Path)
				}
				for name, values := range request.Header {
					if name != "Authorization" || request.Login == "" {
						mustNotHold(t, "header "+name, strings.Join(values, "\n"), token, theirs)
					}
				}
			}
			if ours < 3 {
				t.Errorf("%d requests came with our token", ours)
			}
			for _, request := range evil.seen() {
				mustNotHold(t, "evil", fmt.Sprint(request), token, theirs)
			}
			if asked := m.asked(t); !strings.Contains(asked, "path=acme/site") ||
				!strings.Contains(asked, "username=x-access-token\n") || strings.Contains(asked, "somebody") {
				t.Errorf("the helper was asked:\n%s", strings.ReplaceAll(asked, token, "TOKEN"))
			}
			if environment := m.environment(t); !strings.Contains(environment, "LC_MESSAGES=C\n") ||
				strings.Contains(environment, "LANGUAGE=") {
				t.Errorf("messages are not English:\n%s", environment)
			}
			mustNotHold(t, "stderr", m.stderr.String()+m.stdout.String(), token, theirs)
			mustNotHold(t, "the environment", m.environment(t), token, "key-"+theirs)
			mustNotBeUnder(t, m.dir, token, theirs)
			write(t, filepath.Join(m.home, "some file"), "")
			_ = os.Remove(filepath.Join(m.home, ".netrc"))
			mustNotBeUnder(t, m.home, token)
			if _, err := os.Stat(filepath.Join(m.home, "ran")); err == nil {
				t.Error("a program of the machine's was run")
			}
		})
	}
}

type preparation = func(t *testing.T, m *machine, o, evil *origin)

// fill replaces {origin} and its like.
func fill(t *testing.T, text string, m *machine, o, evil *origin) string {
	run := write(t, filepath.Join(t.TempDir(), "run"), "#!/bin/sh\necho "+theirs+"\ntouch '"+m.home+"/ran'\n")
	return strings.NewReplacer("{origin}", o.URL, "{evil}", evil.URL, "{home}", m.home, "{askpass}",
		run, "{run}", run).Replace(text)
}

func ambient(key, value string) preparation {
	return func(t *testing.T, m *machine, o, evil *origin) {
		m.config(t, fill(t, key, m, o, evil), fill(t, value, m, o, evil))
	}
}

func counted(pairs ...string) preparation {
	return func(t *testing.T, m *machine, o, evil *origin) {
		for i := 0; i < len(pairs); i += 2 {
			m.set(fmt.Sprintf("GIT_CONFIG_KEY_%d", i/2), fill(t, pairs[i], m, o, evil))
			m.set(fmt.Sprintf("GIT_CONFIG_VALUE_%d", i/2), fill(t, pairs[i+1], m, o, evil))
		}
		m.set("GIT_CONFIG_COUNT", fmt.Sprint(len(pairs)/2))
	}
}

func parameters(text string) preparation { return variable("GIT_CONFIG_PARAMETERS", text) }

func variable(name, value string) preparation {
	return func(t *testing.T, m *machine, o, evil *origin) { m.set(name, fill(t, value, m, o, evil)) }
}

func netrc(text string) preparation {
	return func(t *testing.T, m *machine, o, evil *origin) { write(t, filepath.Join(m.home, ".netrc"), text+"\n") }
}

// store is a helper that would keep our token, and has one of its own.
func store(t *testing.T, m *machine, o, evil *origin) {
	m.config(t, "credential.helper", "store")
	write(t, filepath.Join(m.home, ".git-credentials"), strings.Replace(o.URL, "://", "://u:"+theirs+"@", 1)+"\n")
}

// both takes away the two usual names of the repository.
func both(t *testing.T, m *machine, o, evil *origin) {
	ambient("url.{evil}/acme/site.git.insteadOf", "{origin}/acme/site.git")(t, m, o, evil)
	ambient("url.{evil}/acme/site.insteadOf", "{origin}/acme/site")(t, m, o, evil)
}

func hook(t *testing.T, m *machine, dir string) {
	for _, name := range []string{"post-checkout", "reference-transaction", "post-index-change"} {
		write(t, filepath.Join(dir, name), "#!/bin/sh\ntouch '"+m.home+"/ran'\n")
	}
}

func hookTemplate(t *testing.T, m *machine, o, evil *origin) {
	hook(t, m, filepath.Join(m.home, "template", "hooks"))
	m.extra = []string{"--template", filepath.Join(m.home, "template")}
}

func hooksPath(t *testing.T, m *machine, o, evil *origin) {
	hook(t, m, filepath.Join(m.home, "hooks"))
	m.config(t, "core.hooksPath", filepath.Join(m.home, "hooks"))
}

func hookSetting(t *testing.T, m *machine, o, evil *origin) {
	m.config(t, "hook.mine.command", "touch '"+m.home+"/ran'")
	for _, event := range []string{"post-checkout", "reference-transaction", "post-index-change"} {
		m.config(t, "hook.mine.event", event)
	}
}

// elsewhere is how it looks in a hook of another repository.
func elsewhere(t *testing.T, m *machine, o, evil *origin) {
	other := t.TempDir()
	plainGit(t, other, "init", "--quiet")
	m.set("GIT_DIR", filepath.Join(other, ".git"))
	m.set("GIT_WORK_TREE", other)
	m.set("GIT_INDEX_FILE", filepath.Join(other, ".git", "index"))
	m.set("GIT_OBJECT_DIRECTORY", filepath.Join(other, ".git", "objects"))
	m.set("GIT_PREFIX", "sub/")
}

// traces asks for all that git can tell, without redaction.
func traces(to string) preparation {
	return func(t *testing.T, m *machine, o, evil *origin) {
		for _, name := range []string{"GIT_TRACE", "GIT_TRACE_CURL", "GIT_TRACE_PACKET", "GIT_TRACE_SETUP",
			"GIT_TRACE2", "GIT_TRACE2_EVENT"} {
			m.set(name, fill(t, to, m, o, evil))
		}
		if to == "1" {
			m.set("GIT_CURL_VERBOSE", "1")
		}
		m.set("GIT_TRACE_REDACT", "0")
	}
}
