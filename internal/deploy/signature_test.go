//go:build unix

package deploy

import (
	"errors"
	"io"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// author is somebody who commits with git itself, and pushes.
type author struct {
	t       testing.TB
	dir     string
	environ []string
}

// author makes a clone of the repository, from a server that lets everybody push.
func (w *world) author(environ ...string) *author {
	w.t.Helper()
	a := &author{w.t, filepath.Join(w.t.TempDir(), "work"), append(append([]string{}, w.target.Environ...), environ...)}
	a.run("git", "init", "--quiet", "--initial-branch=deployment", a.dir)
	return a
}

func (a *author) run(name string, args ...string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), name, args...)
	cmd.Env = append(a.environ, "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A",
		"GIT_COMMITTER_EMAIL=a@example.com")
	if info, err := os.Stat(a.dir); err == nil && info.IsDir() {
		cmd.Dir = a.dir
	}
	out, err := cmd.CombinedOutput()
	testkit.OK(a.t, err, "%s %q, %s", name, args, out)
	return strings.TrimSpace(string(out))
}

// commit makes a commit with these options of git's.
func (a *author) commit(text string, options ...string) string {
	a.t.Helper()
	testkit.OK(a.t, os.WriteFile(filepath.Join(a.dir, "a"), []byte(text), 0o644))
	a.run("git", "add", "a")
	a.run("git", append([]string{"commit", "--quiet", "-m", text}, options...)...)
	return a.run("git", "rev-parse", "HEAD")
}

// served serves what the author has, to everybody, as acme/site: git's own server takes
// what GitHub's would refuse.
func (w *world) served(a *author) {
	w.t.Helper()
	root := w.t.TempDir()
	git, err := exec.LookPath("git")
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(root, "acme"), 0o755),
			os.Symlink(filepath.Join(a.dir, ".git"), filepath.Join(root, "acme", "site.git")))
	}
	testkit.OK(w.t, err)
	w.server = httptest.NewServer(&cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Dir: root, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + root, "GIT_CONFIG_NOSYSTEM=1"},
	})
	w.t.Cleanup(w.server.Close)
	w.target.Scope.Origin = w.server.URL
}

func TestOnlyCommitsThatSomebodyTrustedHasSignedArePublished(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	keys := t.TempDir()
	key := func(name string) (file, public string) {
		file = filepath.Join(keys, name)
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f",
			file).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		text := testkit.Must(os.ReadFile(file + ".pub"))(t)
		return file, strings.TrimSpace(string(text))
	}
	trusted, trustedPublic := key("trusted")
	stranger, _ := key("stranger")
	expired, expiredPublic := key("expired")
	signers := filepath.Join(keys, "al\"lowed \\ signers")
	if err := os.WriteFile(signers, []byte("a@example.com "+trustedPublic+"\na@example.com valid-before=\"20200101\" "+
		expiredPublic+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(g *Target) { g.Signatures = &Signatures{AllowedSigners: signers} })
	a := w.author()
	with := func(file string) []string { return []string{"-S" + file + ".pub"} }
	a.run("git", "config", "gpg.format", "ssh")
	w.served(a)

	w.publish(a.commit("1", with(trusted)...))
	if err := w.refused(a.commit("2")); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "not signed") {
		t.Error(err)
	}
	testkit.ErrorIs(t, w.refused(a.commit("3", with(stranger)...)), ErrSignature)
	testkit.ErrorIs(t, w.refused(a.commit("4", with(expired)...)), ErrSignature)
	// Of a tag only the commit counts: who moves a tag has signed no release.
	unsigned := a.commit("5")
	a.run("git", "tag", "-s", "-u", trusted+".pub", "-m", "x", "v1")
	testkit.ErrorIs(t, w.refused(unsigned), ErrSignature)
	last := a.commit("6", with(trusted)...)
	testkit.OK(t, os.Rename(signers, signers+".gone"))
	if err := w.refused(last); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	testkit.OK(t, os.Rename(signers+".gone", signers))
	w.publish(last)
	testkit.Equal(t, w.shows(), "a: 6")
}

func TestGnuPGVerifiesCommits(t *testing.T) {
	t.Parallel()
	home, err := os.MkdirTemp("", "gpg") // its sockets have short names
	testkit.OK(t, err)
	environ := append(os.Environ(), "GNUPGHOME="+home)
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--kill", "all")
		cmd.Env = environ
		_ = cmd.Run()
		_ = os.RemoveAll(home)
	})
	gpg := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "gpg",
			append([]string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		testkit.OK(t, err, "gpg %q, %s", args, out)
		return string(out)
	}
	gpg("--quick-generate-key", "Trusted <trusted@example.com>", "ed25519", "sign", "never")
	gpg("--quick-generate-key", "Stranger <stranger@example.com>", "ed25519", "sign", "never")
	// It was good for a day, long ago.
	gpg("--faked-system-time", "20200101T000000!", "--quick-generate-key",
		"Expired <expired@example.com>", "ed25519", "sign", "1d")
	w := newWorld(t, func(g *Target) {
		g.Signatures = &Signatures{}
		g.Git.Environ = append(g.Git.Environ[:len(g.Git.Environ):len(g.Git.Environ)], "GNUPGHOME="+home)
	})
	a := w.author("GNUPGHOME=" + home)
	w.served(a)
	w.publish(a.commit("1", "-Strusted@example.com"))
	testkit.ErrorIs(t, w.refused(a.commit("2")), ErrSignature)
	program := filepath.Join(t.TempDir(), "gpg")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec gpg --faked-system-time 20200101T120000! \"$@\"\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	a.run("git", "config", "gpg.program", program)
	testkit.ErrorIs(t, w.refused(a.commit("3", "-Sexpired@example.com")), ErrSignature)
	a.run("git", "config", "--unset", "gpg.program")
	signed := a.commit("4", "-Sstranger@example.com")
	fingerprint := ""
	for line := range strings.Lines(gpg("--with-colons", "--list-keys", "stranger@example.com")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && fingerprint == "" {
			fingerprint = fields[9]
		}
	}
	gpg("--yes", "--delete-secret-and-public-key", fingerprint)
	testkit.ErrorIs(t, w.refused(signed), ErrSignature)
}
