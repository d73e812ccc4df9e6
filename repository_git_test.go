package ghapp_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// gitReads is the host and the path that git makes of an address: what it asks a credential
// helper for, or what it tells ssh. ok is false where it goes elsewhere.
func gitReads(t *testing.T, dir, address string) (host, path string, ok bool) {
	t.Helper()
	scheme, _, isURL := strings.Cut(address, "://")
	if scheme = strings.ToLower(scheme); isURL && (scheme == "http" || scheme == "https") {
		asked := filepath.Join(dir, "asked")
		git := exec.CommandContext(t.Context(), "git", "-c",
			"credential.helper=!cat >'"+asked+"'; echo username=u; echo password=p;:",
			"-c", "credential.useHttpPath=true", "credential", "fill")
		git.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
		git.Stdin = strings.NewReader("url=" + strings.Replace(address, address[:len(scheme)], scheme, 1) + "\n\n")
		_ = os.Remove(asked)
		if git.Run() != nil {
			return "", "", false
		}
		text, err := os.ReadFile(asked)
		if err != nil {
			return "", "", false // it has a password: nobody is asked
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			switch name {
			case "host":
				host = value
			case "path":
				path = value
			}
		}
		return strings.ToLower(host), path, true
	}
	told := filepath.Join(dir, "told")
	_ = os.Remove(told)
	git := exec.CommandContext(t.Context(), "git", "ls-remote", "--", address)
	git.Dir = dir
	git.Env = append(os.Environ(), "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND=printf '%s\\n' >'"+told+"'",
		"GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "GIT_ALLOW_PROTOCOL=ssh")
	_ = git.Run() // there is nobody
	text, err := os.ReadFile(told)
	if err != nil {
		return "", "", false
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(words) < 2 {
		return "", "", false
	}
	host, command := words[len(words)-2], words[len(words)-1]
	command = strings.TrimSuffix(strings.TrimPrefix(command, "git-upload-pack '"), "'")
	return strings.ToLower(host[strings.LastIndexByte(host, '@')+1:]), command, true
}

// TestAddressesAreReadAsGitReadsThem holds every address that is taken for a repository
// against git: it goes to that host, and asks for that repository.
func TestAddressesAreReadAsGitReadsThem(t *testing.T) {
	testkit.Long(t)
	if runtime.GOOS == "windows" {
		t.Skip("the recorders are shell commands")
	}
	dir := t.TempDir()
	addresses := []string{
		"https://github.com/acme/site", "https://octocat@github.com/acme/site.git", "https://github.com//acme//site.git/",
		"https://github.com:443/acme/site.wiki.git",
		"http://github.com/acme/site/", "https://ghe.example:8443/acme/site", "git@github.com:acme/site.git",
		"github.com:/acme/site", "org-1@GitHub.com:acme/site.wiki.git",
		"ssh://git@github.com/acme/site.git", "ssh://git@ghe.example:122//acme/site", "git+ssh://github.com/acme/site",
		"ssh+git://git@github.com/acme/site.git/", "HTTPS://GITHUB.COM/acme/%73ite",
		"https://@github.com/acme/site", "github.com:443/site", "git@work:acme/site",
	}
	// Pieces of addresses, put together at random, the same in every run.
	source := rand.New(rand.NewPCG(11, 4))
	pick := func(list ...string) string {
		if source.IntN(3) > 0 {
			return list[0]
		}
		return list[source.IntN(len(list))]
	}
	for range 300 {
		scheme := []string{"https://", "http://", "ssh://", "git+ssh://", "ssh:", "https:/"}[source.IntN(6)]
		addresses = append(addresses, scheme+
			pick("", "git@", "u:p@", "@", "a@b@", "%40@")+
			pick("github.com", "GitHub.com", "ghe.example", "[::1]", "github.com.", "x", "", "git%68ub.com")+
			pick("", ":443", ":22", ":80", ":x", ":")+pick("/", "//", ":", "", "/./", "\\")+
			pick("acme", "Acme", "acm%65", "~acme", "..", "-acme", "ac me", "a@b")+pick("/", "//", "%2F", ":", "/x/")+
			pick("site", "site.git", "site.wiki.git", "si%74e", "site/", "site.git//", "..", "site?x", "site#x", "s@x"))
	}
	taken := 0
	for _, address := range addresses {
		r, err := ghapp.ParseRepository(address)
		if err != nil || r.Host == "" {
			continue
		}
		host, path, ok := gitReads(t, dir, address)
		if !ok {
			t.Errorf("%q is taken for %s on %s; git goes nowhere with it", address, r, r.Host)
			continue
		}
		taken++
		var owner, name string
		if parts := strings.FieldsFunc(path, func(c rune) bool { return c == '/' }); len(parts) == 2 {
			owner, name = parts[0], strings.TrimSuffix(parts[1], ".git")
		}
		host = strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ":80")
		if strings.Trim(host, "[]") != strings.Trim(r.Host, "[]") || r.String() != owner+"/"+name {
			t.Errorf("%q is taken for %s on %s; git reads %q on %s", address, r, r.Host, path, host)
		}
	}
	if taken < 40 {
		t.Errorf("%d addresses were held against git: this test proves little", taken)
	}
}
