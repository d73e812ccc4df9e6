package fidelity

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bradleyfalzon/ghinstallation/v2"
	github88 "github.com/google/go-github/v88/github"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// installationTransport is ghinstallation's, for the installation on acme.
func (w *world) installationTransport(options *github88.InstallationTokenOptions) *ghinstallation.Transport {
	transport := ghinstallation.NewFromAppsTransport(w.appsTransport(), w.installation.ID)
	transport.InstallationTokenOptions = options
	return transport
}

func TestGHInstallationAuthenticates(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			transport := w.installationTransport(nil)
			client := w.gogithub(t, transport)
			for range 2 {
				reach, _, err := client.Apps.ListRepos(t.Context(), nil)
				if err != nil || reach.GetTotalCount() != 2 {
					t.Fatalf("%+v, %v", reach, err)
				}
			}
			list := w.verify(t, nullBody)
			if got := mints(list); got != 1 || len(list) != 3 {
				t.Errorf("%d mints; over the wire went %v", got, list)
			}
			permissions := testkit.Must(transport.Permissions())(t)
			testkit.Equal(t, permissions.GetContents(), "write")
		})
	}
}

func TestGHInstallationIsRefused(t *testing.T) {
	private := &github88.InstallationTokenOptions{Repositories: []string{"private"}}
	for _, c := range []struct {
		name    string
		arrange func(*testing.T, *world)
		options *github88.InstallationTokenOptions
		status  int
		message string
	}{
		{"suspended", suspend, nil, 403, suspended},
		{"uninstalled", uninstall, nil, 404, notFound},
		{"key deleted", withoutKey, nil, 401, appWithoutKey},
		{"key replaced", func(_ *testing.T, w *world) { w.app.RemoveKey(&w.key.PublicKey); w.app.AddKey(&w.wrong.PublicKey) },
			nil, 401, notDecoded},
		{"not selected", func(*testing.T, *world) {}, private, 422, notSelected},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, flavours[0])
			c.arrange(t, w)
			_, err := w.installationTransport(c.options).Token(t.Context())
			refusal := testkit.ErrorAs[*ghinstallation.HTTPError](t, err)
			testkit.Equal(t, refusal.Response.StatusCode, c.status)
			text := testkit.Must(io.ReadAll(refusal.Response.Body))(t)
			testkit.Contains(t, string(text), `"message":"`+c.message+`"`)
			testkit.OK(t, refusal.Response.Body.Close())
			var known []oddity
			if c.options == nil {
				known = append(known, nullBody)
			}
			w.verify(t, known...)
		})
	}
}

// git runs git with nothing of this machine's configuration, and a helper that
// knows one token.
func git(t *testing.T, dir, token string, arguments ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	helper := filepath.Join(home, "helper")
	text := "#!/bin/sh\n[ \"$1\" = get ] && printf 'username=x-access-token\\npassword=%s\\n' \"$FIDELITY_TOKEN\"\n"
	testkit.OK(t, os.WriteFile(helper, []byte(text), 0o700))
	command := exec.CommandContext(t.Context(), "git",
		append([]string{"-c", "credential.helper=" + helper}, arguments...)...)
	command.Dir = dir
	command.Env = append(slices.DeleteFunc(os.Environ(),
		func(setting string) bool { return strings.HasPrefix(setting, "GIT_") }),
		"HOME="+home, "XDG_CONFIG_HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"LC_ALL=C", "FIDELITY_TOKEN="+token,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	return output.String(), err
}

func TestGitWithATokenOfGHInstallation(t *testing.T) {
	for name, format := range map[string]githubtest.TokenFormat{"classic": githubtest.Classic,
		"stateless": githubtest.Stateless} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, flavours[0])
			w.SetTokenFormat(format)
			for _, name := range []string{"acme/site", "acme/docs", "acme/private"} {
				if _, err := w.Repository(name).Commit("main", "first", map[string]string{"index.html": name + "\n"}); err != nil {
					t.Fatal(err)
				}
			}
			token := func(contents string) string {
				t.Helper()
				text, err := w.installationTransport(&github88.InstallationTokenOptions{
					Repositories: []string{"site"}, Permissions: &github88.InstallationPermissions{Contents: &contents},
				}).Token(t.Context())
				testkit.OK(t, err)
				return text
			}
			read, write, none := token("read"), token("write"), "ghs_0123456789012345678901234567890123456789"
			w.verify(t)

			dir := t.TempDir()
			site := filepath.Join(dir, "site")
			for _, c := range []struct {
				name, dir, token string
				arguments        []string
				says             string // "" where it succeeds
			}{
				{"clone", dir, read, []string{"clone", w.server.URL + "/acme/site.git", "site"}, ""},
				{"commit", site, "", []string{"commit", "--allow-empty", "-m", "second"}, ""},
				{"push to read", site, read, []string{"push", "origin", "HEAD"},
					"remote: Permission to acme/site.git denied to deployer[bot]."},
				{"push to write", site, write, []string{"push", "origin", "HEAD"}, ""},
				{"pull", site, read, []string{"pull"}, ""},
				{"clone of what the token was not narrowed to", dir, read, []string{"clone", w.server.URL + "/acme/docs", "docs"},
					"remote: Repository not found."},
				{"clone of what is not selected", dir, read, []string{"clone", w.server.URL + "/acme/private", "private"},
					"remote: Repository not found."},
				{"clone with a token that is none", dir, none, []string{"clone", w.server.URL + "/acme/site", "none"},
					"remote: Invalid username or token. Password authentication is not supported for Git operations."},
			} {
				output, err := git(t, c.dir, c.token, c.arguments...)
				if (err == nil) != (c.says == "") || !strings.Contains(output, c.says) {
					t.Fatalf("%s: %v, want %q in\n%s", c.name, err, c.says, output)
				}
			}
			if text, err := os.ReadFile(filepath.Join(site, "index.html")); err != nil || string(text) != "acme/site\n" {
				t.Errorf("cloned %q, %v", text, err)
			}
			head := testkit.Must(w.Repository("acme/site").Head("main"))(t)
			testkit.Equal(t, strings.TrimSpace(testkit.Must(git(t, site, "", "rev-parse", "HEAD"))(t)), head, "pushed")
			if status, text := w.ask(t, http.MethodDelete, "/installation/token", "token "+read, "",
				nil); status != http.StatusNoContent {
				t.Errorf("revoke: %d %s", status, text)
			}
			if output, err := git(t, site, read, "fetch"); err == nil || !strings.Contains(output, "Invalid username or token") {
				t.Errorf("fetch with a revoked token: %v\n%s", err, output)
			}
			w.verify(t)
		})
	}
}
