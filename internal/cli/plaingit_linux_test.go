package cli_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// install puts the programs below a prefix with their version in it, as Homebrew does,
// with links to them in the prefix's bin, which goes first on PATH.
func (m *machine) install(prefix, version string) {
	m.t.Helper()
	dir := filepath.Join(prefix, "Cellar", "ghapp", version, "bin")
	for _, name := range []string{"ghapp", "git-credential-ghapp"} {
		for _, path := range []string{dir, filepath.Join(prefix, "bin")} {
			if err := os.MkdirAll(path, 0o755); err != nil {
				m.t.Fatal(err)
			}
		}
		if err := os.Link(filepath.Join(binaries, name), filepath.Join(dir, name)); err != nil {
			m.t.Fatal(err)
		}
		link := filepath.Join(prefix, "bin", name)
		_ = os.Remove(link)
		if err := os.Symlink(filepath.Join("..", "Cellar", "ghapp", version, "bin", name), link); err != nil {
			m.t.Fatal(err)
		}
	}
	m.environ["PATH"] = filepath.Join(prefix, "bin") + ":" + os.Getenv("PATH")
	m.programs = filepath.Join(prefix, "bin")
}

// upgrade replaces a version by another, of which nothing is left.
func (m *machine) upgrade(prefix, from, to string) {
	m.t.Helper()
	m.install(prefix, to)
	if err := os.RemoveAll(filepath.Join(prefix, "Cellar", "ghapp", from)); err != nil {
		m.t.Fatal(err)
	}
}

// bare runs git as `env -i` does with the PATH of cron, and with these variables alone.
func (m *machine) bare(variables []string, args ...string) result {
	m.t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), 2*patience)
	defer cancel()
	argv := append([]string{"-i", "PATH=/usr/bin:/bin"}, variables...)
	cmd := exec.CommandContext(ctx, "/usr/bin/env", append(append(argv, git), args...)...)
	cmd.Dir = m.work
	out := &outputs{}
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	if err := cmd.Run(); err != nil {
		if _, exit := errors.AsType[*exec.ExitError](err); !exit {
			m.t.Fatal(err)
		}
	}
	return out.result(cmd)
}

// mustBare is bare where git has to do well, and to say nothing but its own.
func (m *machine) mustBare(variables []string, args ...string) {
	m.t.Helper()
	if r := m.bare(variables, args...); r.code != 0 || strings.Contains(r.stderr, "ghapp: ") {
		m.t.Fatalf("env -i git %q: exit code %d\n%s", args, r.code, r.stderr)
	}
}

func TestPlainGitOutlastsAnUpgradeAndNeedsNoPATH(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	prefix := filepath.Join(m.root, "brew")
	m.install(prefix, "1.0.0")
	m.must("clone", "acme/site")
	m.mustBare(nil, "-C", "site", "pull")
	m.must("git-setup")
	home := []string{"HOME=" + m.home}
	m.mustBare(home, "ls-remote", m.server.URL+"/acme/web")

	m.upgrade(prefix, "1.0.0", "1.1.0")
	m.mustBare(nil, "-C", "site", "pull")
	m.mustBare(home, "ls-remote", m.server.URL+"/acme/web")
	for _, file := range []string{filepath.Join(m.home, ".gitconfig"), filepath.Join(m.work, "site", ".git", "config")} {
		text, err := os.ReadFile(file)
		if want := filepath.Join(prefix, "bin", "git-credential-ghapp"); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v: %s does not name %s:\n%s", err, file, want, text)
		}
	}
}

// The key of a clone moves to a program that only signs, and its file is gone.
func TestPlainGitFollowsAKeyThatWasMoved(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.emptySigner()
	program := filepath.Join(m.root, "sign")
	m.write(program, "#!/bin/sh\nexec env "+signerPart+"="+m.environ[signerPart]+" "+signerKey+"="+m.environ[signerKey]+
		" "+signerLog+"="+m.environ[signerLog]+" "+strings.TrimSuffix(strings.TrimPrefix(signerURI(t), "exec:"), "?slot=9a")+" \"$@\"\n")
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	// One clone is made before there is a config file, and one after.
	m.must("clone", "acme/site", "early")
	key := m.environ["GHAPP_KEY"]
	m.write(filepath.Join(m.home, ".config", "ghapp", "config.yaml"),
		"apps:\n  deploy:\n    app: "+m.environ["GHAPP_APP"]+"\n    key: "+key+"\n    host: "+m.environ["GHAPP_HOST"]+"\n")
	for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_HOST"} {
		delete(m.environ, name)
	}
	m.must("clone", "acme/site", "late")
	m.must("keys", "import", key, "--to", "exec:"+program, "--use", "--shred")
	if _, err := os.Stat(key); err == nil {
		t.Fatal("the key's file is still there")
	}
	for _, clone := range []string{"early", "late"} {
		m.mustBare(nil, "-C", clone, "pull")
		m.mustBare([]string{"HOME=" + m.home}, "-C", clone, "pull")
	}
}

// The certificate of the host is one that only a file of the user's vouches for.
func TestPlainGitTrustsThePrivateCAOfTheClone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	server := httptest.NewTLSServer(m.traffic)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	m.write(filepath.Join(m.work, "corp.pem"), string(ca))
	m.environ["GHAPP_HOST"] = server.URL
	m.must("clone", "acme/site", "--ca-file", "corp.pem")
	m.mustBare(nil, "-C", "site", "pull")
	m.must("git-setup", "--ca-file", "./corp.pem")
	m.mustBare([]string{"HOME=" + m.home}, "ls-remote", server.URL+"/acme/web")
}

// A pull brings the first submodule, which git clones without reading the configuration of
// the clone that it is in.
func TestPlainGitFetchesASubmoduleThatComesLater(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	m := w.machine(t)
	m.work = filepath.Join(m.root, "w [o] r*k")
	if err := os.Mkdir(m.work, 0o700); err != nil {
		t.Fatal(err)
	}
	home := []string{"HOME=" + m.home}
	m.gitConfig("user.name", "Octo")
	before := m.userConfig()
	m.must("clone", "acme/site")
	if r := m.must("clone", "acme/site", "other"); strings.Contains(r.stderr, "ubmodules") {
		t.Errorf("of a clone without submodules it says\n%s", r.stderr)
	}
	site := w.github.Repository("acme/site")
	head, err := w.github.Repository("acme/web").Head("main")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := site.CommitEntries("main", githubtest.CommitOptions{Message: "Use web", Entries: submodule("web", "../web.git", head)}); err != nil {
		t.Fatal(err)
	}
	m.mustBare(home, "-C", "site", "pull")
	if r := m.bare(home, "-C", "site", "submodule", "update", "--init"); r.code == 0 || !strings.Contains(r.stderr, "could not read Username") {
		t.Fatalf("git asks for a submodule by itself: exit code %d\n%s", r.code, r.stderr)
	}
	if r := m.must("clone", "acme/site", "third"); !strings.Contains(r.stderr, "git-setup --local --submodules") {
		t.Errorf("of a clone with submodules it says\n%s", r.stderr)
	}

	work := m.work
	m.work = filepath.Join(work, "site")
	told := func() bool { return strings.Contains(m.must("doctor").stdout, "git-setup --local --submodules") }
	if !told() {
		t.Error("the doctor says nothing of it")
	}
	m.must("git-setup", "--local", "--submodules")
	if told() {
		t.Error("the doctor says so still")
	}
	m.work = work
	m.mustBare(home, "-C", "site", "submodule", "update", "--init")
	if text := m.read("site/web/name.txt"); text != "acme/web\n" {
		t.Errorf("%q", text)
	}
	// It is for that clone alone, and a later fetch in the submodule asks as well.
	m.mustBare(home, "-C", "site/web", "fetch", "--all")
	m.mustBare(home, "-C", "other", "pull")
	if r := m.bare(home, "-C", "other", "submodule", "update", "--init"); r.code == 0 {
		t.Error("another clone's submodules are fetched too")
	}
	// And it goes as it came.
	m.work = filepath.Join(work, "site")
	m.must("git-setup", "--local", "--undo")
	m.work = work
	if after := m.userConfig(); after != before {
		t.Errorf("the user's file is\n%s", after)
	}
	for _, name := range []string{"config", "modules/web/config", "ghapp-submodules"} {
		if text, err := os.ReadFile(filepath.Join(m.work, "site", ".git", name)); strings.Contains(string(text), "ghapp") || name == "ghapp-submodules" && err == nil {
			t.Errorf("left in %s:\n%s", name, text)
		}
	}

	// All git of the user.
	m.must("git-setup")
	m.mustBare(home, "-C", "other", "submodule", "update", "--init")
	if r := m.must("clone", "acme/site", "fourth"); strings.Contains(r.stderr, "--submodules") {
		t.Errorf("after git-setup it says\n%s", r.stderr)
	}
}

// userConfig is git's file of the user.
func (m *machine) userConfig() string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.home, ".gitconfig"))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// In a clone the doctor does what git there would do.
func TestDoctorTriesTheGitOfTheClone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("clone", "acme/site")
	m.work = filepath.Join(m.work, "site")
	look := func(code int) map[string]string {
		t.Helper()
		found := map[string]string{}
		d := m.diagnosis(m.ghapp("doctor", "--json"))
		for _, f := range d.Findings {
			found[f.Link] = f.State + ": " + f.Text + "\n" + f.Cause + "\n" + f.Hint
		}
		if d.ExitCode != code {
			t.Errorf("exit code %d, want %d: %q", d.ExitCode, code, found)
		}
		return found
	}
	found := look(0)
	for link, want := range map[string]string{"plain git": "ok: git ls-remote origin reads acme/site", "git under cron": "ok: it reads acme/site with PATH=/usr/bin:/bin and nothing else"} {
		if !strings.HasPrefix(found[link], want) {
			t.Errorf("%s: %q", link, found[link])
		}
	}
	// The key moves, where ghapp knows it to be and the clone does not.
	moved := filepath.Join(m.home, "moved.pem")
	if err := os.Rename(m.environ["GHAPP_KEY"], moved); err != nil {
		t.Fatal(err)
	}
	m.environ["GHAPP_KEY"] = moved
	if found := look(6); !strings.HasPrefix(found["plain git"], "broken: ") || !strings.Contains(found["plain git"], "`ghapp git-setup --local`") {
		t.Errorf("%q", found["plain git"])
	}
	m.must("git-setup", "--local")
	if found := look(0); !strings.HasPrefix(found["plain git"], "ok: ") {
		t.Errorf("after what the hint says: %q", found["plain git"])
	}
}
