package gitcmd

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestScopeRefusesOtherHosts(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"https://github.com/acme/site.git":              true,
		"https://github.com/acme/site":                  true,
		"https://GitHub.com/acme/site":                  true,
		"https://github.com:443/acme/site":              true,
		"https://github.com.evil.example/acme/site":     false,
		"https://evilgithub.com/acme/site":              false,
		"https://github.com:444/acme/site":              false,
		"https://github.com./acme/site":                 false,
		"https://github.com@evil.example/acme/site":     false,
		"https://user@github.com/acme/site":             false,
		"https://x:" + token + "@github.com/acme/site":  false,
		"https://github.com":                            false,
		"https://github.com/":                           false,
		"https://github.com/acme/site?x":                false,
		"https://github.com/acme/site#x":                false,
		"https://github.com/acme/si te":                 false,
		"https://github.com/acme/site\nhost=evil":       false,
		"https://github.com/acme/site\r":                false,
		"https://xn--gthub-n4a.com/acme/site":           false,
		"http://github.com/acme/site":                   false,
		"ext::sh -c touch% /tmp/x https://github.com/a": false,
		"ext::https://github.com/acme/site":             false,
		"https::https://github.com/acme/site":           false,
		"file:///acme/site":                             false,
		"/acme/site":                                    false,
		"acme/site":                                     false,
		"git@github.com:acme/site":                      false,
		"ssh://git@github.com/acme/site":                false,
		"--upload-pack=touch /tmp/x":                    false,
		"-uhttps://github.com/acme/site":                false,
		"":                                              false,
	}
	for address, want := range tests {
		err := Scope{Origin: "https://github.com", URLs: []string{address}}.validate()
		testkit.Equal(t, (err == nil), want, "%q: %v", address, err)
		o := CloneOptions{Scope: Scope{Origin: "https://github.com", Helper: "x"}, URL: address}
		if _, err := (&Runner{Dir: t.TempDir()}).Destination(o); (err == nil) != want {
			t.Errorf("clone of %q: %v", address, err)
		} else if err != nil {
			mustNotHold(t, "the error", err.Error(), token)
		}
	}
}

func TestScopeRefusesPlainHTTPButOnLoopback(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"https://github.com":          true,
		"https://ghes.example:8443":   true,
		"http://127.0.0.1:1234":       true,
		"http://localhost":            true,
		"http://[::1]:1234":           true,
		"http://github.com":           false,
		"http://localhost.example":    false,
		"http://127.0.0.1.example":    false,
		"https://github.com/":         false,
		"https://github.com/acme":     false,
		"https://token@github.com":    false,
		"github.com":                  false,
		"https://":                    false,
		"ftp://github.com":            false,
		"https://github.com\nx: y":    false,
		"https://github.com?x":        false,
		"https://github.com.helper=x": true, // an odd name, but a name
	}
	for origin, want := range tests {
		testkit.Equal(t, ((Scope{Origin: origin}).validate() == nil), want, "%q", origin)
	}
}

// own is the configuration that a call of ours adds.
func own(t *testing.T, env []string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	e := environ(env)
	for i := 0; ; i++ {
		key, ok := e.lookup("GIT_CONFIG_KEY_" + strconv.Itoa(i))
		if !ok {
			return all
		}
		all[key] = append(all[key], e.get("GIT_CONFIG_VALUE_"+strconv.Itoa(i)))
	}
}

func TestEnvironmentKeepsWhatTheUserNeeds(t *testing.T) {
	t.Parallel()
	keep := []string{
		"https_proxy=http://proxy:1", "HTTP_PROXY=http://proxy:2", "NO_PROXY=x",
		"GIT_SSL_CAINFO=/ca.pem", "GIT_SSL_CAPATH=/ca",
		"GIT_SSH_COMMAND=ssh -v", "SSH_AUTH_SOCK=/agent", "GIT_EXEC_PATH=/git", "GIT_TRACE=1", "GIT_CONFIG_GLOBAL=/config",
		"LANG=de_DE.UTF-8", "GHAPP_AGENT_SOCK=/socket", "TERM=xterm", "GIT_HTTP_LOW_SPEED_TIME=5",
	}
	r := &Runner{Environ: slices.Clone(keep)}
	env, err := r.environ(t.Context(), Scope{Origin: "https://github.com", Helper: "h",
		URLs: []string{"https://github.com/a/b"}})
	testkit.OK(t, err)
	for _, entry := range keep {
		if !slices.Contains(env, entry) {
			t.Errorf("%s is lost", entry)
		}
	}
	if !slices.Equal(r.Environ, keep) {
		t.Error("the user's environment itself was changed")
	}
}

func TestEnvironmentCarriesNoSecret(t *testing.T) {
	t.Parallel()
	r := &Runner{
		Environ: []string{"GHAPP_PRIVATE_KEY=" + theirs, "PEM= " + token + "\n", "GH_TOKEN=" + token,
			"OTHER=" + token + "x", "EMPTY=", "LFS_DEBUG_HTTP=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=x.y", "GIT_CONFIG_VALUE_0=" + token},
		Own: childenv.Own{Values: []secret.Text{secret.New(token), {}}},
	}
	env := testkit.Must(r.own(Scope{}))(t)
	var names []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"EMPTY", "GIT_ASKPASS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0",
		"GIT_TERMINAL_PROMPT", "GIT_TRACE_REDACT"}
	testkit.Diff(t, names, want)
}

func TestEnvironmentAppendsToTheCallersConfiguration(t *testing.T) {
	t.Parallel()
	list := []setting{{"a.b", "1"}, {"url.x.insteadof", "it's!"}}
	tests := map[string]struct {
		before, after []string
		refused       bool
	}{
		"none": {nil, []string{"GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=1", "GIT_CONFIG_KEY_1=url.x.insteadof",
			"GIT_CONFIG_VALUE_1=it's!", "GIT_CONFIG_COUNT=2"}, false},
		"empty": {[]string{"GIT_CONFIG_COUNT="}, []string{"GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=1",
			"GIT_CONFIG_KEY_1=url.x.insteadof", "GIT_CONFIG_VALUE_1=it's!", "GIT_CONFIG_COUNT=2"}, false},
		"one": {[]string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=o", "GIT_CONFIG_VALUE_0=p"},
			[]string{"GIT_CONFIG_KEY_0=o", "GIT_CONFIG_VALUE_0=p", "GIT_CONFIG_KEY_1=a.b", "GIT_CONFIG_VALUE_1=1",
				"GIT_CONFIG_KEY_2=url.x.insteadof", "GIT_CONFIG_VALUE_2=it's!", "GIT_CONFIG_COUNT=3"}, false},
		"stale ones": {[]string{"GIT_CONFIG_KEY_0=o", "GIT_CONFIG_VALUE_1=p"},
			[]string{"GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=1", "GIT_CONFIG_KEY_1=url.x.insteadof",
				"GIT_CONFIG_VALUE_1=it's!", "GIT_CONFIG_COUNT=2"}, false},
		"of git -c": {[]string{"GIT_CONFIG_PARAMETERS='o'='p'"}, []string{"GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=1",
			"GIT_CONFIG_KEY_1=url.x.insteadof", "GIT_CONFIG_VALUE_1=it's!", "GIT_CONFIG_COUNT=2",
			`GIT_CONFIG_PARAMETERS='o'='p' 'a.b'='1' 'url.x.insteadof'='it'\''s'\!''`}, false},
		"no number": {[]string{"GIT_CONFIG_COUNT=x"}, nil, true},
		"negative":  {[]string{"GIT_CONFIG_COUNT=-1"}, nil, true},
		"too large": {[]string{"GIT_CONFIG_COUNT=99999999999999999999"}, nil, true},
	}
	for name, test := range tests {
		env := environ(test.before)
		err := env.configure(list)
		if test.refused {
			if err == nil || !strings.Contains(err.Error(), "GIT_CONFIG_COUNT") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if diff := cmp.Diff(test.after, []string(env)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// What is quoted for GIT_CONFIG_PARAMETERS is read back by git itself.
func TestQuoteIsGits(t *testing.T) {
	t.Parallel()
	const value = `it's "all"; \ here! $HOME = é` + "\tx"
	env := environ{"PATH=" + os.Getenv("PATH"), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_PARAMETERS='a.b'='c'"}
	testkit.OK(t, env.configure([]setting{{"url.https://h/x=y.insteadof", value}}))
	env.set("GIT_CONFIG_COUNT", "0")
	out, err := (&Runner{}).output(t.Context(), env, []string{"config", "--null", "--get", "url.https://h/x=y.insteadof"})
	if err != nil || string(out) != value+"\x00" {
		t.Errorf("%q, %v", out, err)
	}
}

// A CA file is for our host; the machine's stays for all others.
func TestCAFileIsForTheOriginAlone(t *testing.T) {
	t.Parallel()
	r := &Runner{Environ: []string{"PATH=" + os.Getenv("PATH"), "GIT_SSL_CAINFO=/theirs.pem",
		"GIT_SSL_NO_VERIFY=1", "HOME=" + t.TempDir()}}
	scope := Scope{Origin: "https://github.com", Helper: "h", CAFile: "/ours.pem",
		URLs: []string{"https://github.com/acme/site"}}
	env, err := r.environ(t.Context(), scope)
	testkit.OK(t, err)
	for _, name := range []string{"GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY"} {
		if _, ok := env.lookup(name); ok {
			t.Errorf("%s goes before the settings", name)
		}
	}
	for address, want := range map[string]string{"https://github.com/acme/site": "/ours.pem",
		"https://github.com/x/y": "/ours.pem", "https://example.com/": "/theirs.pem"} {
		out, err := r.Output(t.Context(), scope, "config", "--get-urlmatch", "http.sslCAInfo", address)
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %s, %v", address, out, err)
		}
	}
	scope.CAFile = ""
	if env, err = r.environ(t.Context(), scope); err != nil || env.get("GIT_SSL_CAINFO") != "/theirs.pem" {
		t.Errorf("without a file of ours: %q, %v", env.get("GIT_SSL_CAINFO"), err)
	}
}

// git asks for names in the user's language; filters are told the user's character
// set.
func TestMessagesAreEnglish(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ before, after []string }{
		"none":     {nil, []string{"LC_MESSAGES=C"}},
		"language": {[]string{"LANG=de_DE.UTF-8", "LANGUAGE=de"}, []string{"LANG=de_DE.UTF-8", "LC_MESSAGES=C"}},
		"all":      {[]string{"LC_ALL=fr_FR.UTF-8", "LC_CTYPE=C"}, []string{"LC_CTYPE=fr_FR.UTF-8", "LC_MESSAGES=C"}},
		"messages": {[]string{"LC_MESSAGES=sv_SE"}, []string{"LC_MESSAGES=C"}},
	}
	for name, test := range tests {
		env := environ(test.before)
		env.english()
		if diff := cmp.Diff(test.after, []string(env)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTransportsAreNarrowed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, users, want string
		scope             Scope
	}{
		{"clone", "", "https", Scope{Origin: "https://github.com"}},
		{"loopback", "", "https:http", Scope{Origin: "http://127.0.0.1:1"}},
		{"submodules", "", "https:ssh", Scope{Origin: "https://github.com", Submodules: true}},
		{"a stricter user", "ssh:https", "https", Scope{Origin: "http://127.0.0.1:1"}},
		{"a laxer user", "ext:file:https", "https", Scope{Origin: "https://github.com"}},
	}
	for _, test := range tests {
		r := &Runner{Environ: []string{"PATH=" + os.Getenv("PATH")}}
		if test.users != "" {
			r.Environ = append(r.Environ, "GIT_ALLOW_PROTOCOL="+test.users)
		}
		env, err := r.environ(t.Context(), test.scope)
		if err != nil || env.get("GIT_ALLOW_PROTOCOL") != test.want {
			t.Errorf("%s: %q, %v", test.name, env.get("GIT_ALLOW_PROTOCOL"), err)
		}
	}
}

// The list is git's own, so that a newer git's additions are seen here.
func TestVariablesOfTheRepositoryAreAllStripped(t *testing.T) {
	t.Parallel()
	configuration := []string{"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}
	names := strings.Fields(plainGit(t, t.TempDir(), "rev-parse", "--local-env-vars"))
	if len(names) < 10 {
		t.Fatalf("git names %q", names)
	}
	for _, name := range names {
		if !slices.Contains(repositoryVariables(), name) && !slices.Contains(configuration, name) {
			t.Errorf("%s is not stripped", name)
		}
	}
}

func TestNetrcNames(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"":                                    false,
		"machine github.com login a":          true,
		"machine GitHub.com login a":          true,
		"machine \"github.com\" login a":      true,
		"machine\n\tgithub.com\n\tlogin a":    true,
		"machine example.com login a default": true,
		"default login a":                     true,
		"machine example.com login github.com password github.com": false,
		"machine api.github.com login a":                           false,
	}
	for text, want := range tests {
		testkit.Equal(t, netrcNames(text, "github.com"), want, "%q: %v", text, !want)
		home := t.TempDir()
		write(t, filepath.Join(home, ".netrc"), text)
		r := &Runner{Environ: []string{"HOME=" + home}}
		env := testkit.Must(r.own(Scope{Origin: "https://github.com", Helper: "h"}))(t)
		if _, set := own(t, env)["http.https://github.com/.emptyAuth"]; set != want {
			t.Errorf("%q: emptyAuth %v", text, set)
		}
	}
}

// A helper for one host says nothing to another, whatever the address looks like.
func TestForeignHostsGetNoCredential(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	o := &origin{Server: &httptest.Server{URL: "https://github.com"}}
	scope := m.options(o, "acme/site").Scope
	for host, want := range map[string]bool{
		"https://github.com/acme/site":              true,
		"https://github.com.evil.example/acme/site": false,
		"https://evilgithub.com/acme/site":          false,
		"https://github.com:444/acme/site":          false,
		"https://github.com./acme/site":             true, // one name to git; the helper is told the dot
		"http://github.com/acme/site":               false,
		"https://gist.github.com/acme/site":         false,
		"https://github.com@evil.example/acme/site": false,
	} {
		r := m.runner()
		r.Git = write(t, filepath.Join(t.TempDir(), "git"), "#!/bin/sh\necho 'url="+host+"' | exec git \"$@\"\n")
		out, err := r.Output(t.Context(), scope, "credential", "fill")
		if got := strings.Contains(string(out), "password="+token); got != want || want != (err == nil) {
			t.Errorf("%s: answered %v, %v", host, got, err)
		}
	}
}

// git-lfs reads the headers of the most specific address that has any, and adds an
// empty one to others of that address instead of clearing them. So the empty one
// stands where nobody has put any.
func TestHeadersAreClearedForGitLFS(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{"", ".git", ".git/"} {
		address := "https://github.com/acme/site" + ending
		env, err := (&Runner{}).own(Scope{Origin: "https://github.com", Helper: "h", URLs: []string{address}})
		testkit.OK(t, err)
		key := "http.https://github.com/acme/site.git/info/lfs.extraHeader"
		if diff := cmp.Diff([]string{""}, own(t, env)[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
}
