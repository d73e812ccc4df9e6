package cli_test

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// install puts the programs below a prefix with their version in it, as Homebrew does,
// with links to them in the prefix's bin, which goes first on PATH.
func (m *machine) install(prefix, version string) {
	m.t.Helper()
	dir := filepath.Join(prefix, "Cellar", "ghapp", version, "bin")
	for _, name := range []string{"ghapp", "git-credential-ghapp"} {
		for _, path := range []string{dir, filepath.Join(prefix, "bin")} {
			testkit.OK(m.t, os.MkdirAll(path, 0o755))
		}
		testkit.OK(m.t, os.Link(filepath.Join(binaries, name), filepath.Join(dir, name)))
		link := filepath.Join(prefix, "bin", name)
		_ = os.Remove(link)
		testkit.OK(m.t, os.Symlink(filepath.Join("..", "Cellar", "ghapp", version, "bin", name), link))
	}
	m.environ["PATH"] = filepath.Join(prefix, "bin") + ":" + os.Getenv("PATH")
	m.programs = filepath.Join(prefix, "bin")
}

// upgrade replaces a version by another, of which nothing is left.
func (m *machine) upgrade(prefix, from, to string) {
	m.t.Helper()
	m.install(prefix, to)
	testkit.OK(m.t, os.RemoveAll(filepath.Join(prefix, "Cellar", "ghapp", from)))
}

// bare runs git as `env -i` does with the PATH of cron, and with these variables alone.
func (m *machine) bare(variables []string, args ...string) result {
	m.t.Helper()
	git := testkit.Must(exec.LookPath("git"))(m.t)
	ctx, cancel := context.WithTimeout(m.t.Context(), 2*patience)
	defer cancel()
	argv := append([]string{"-i", "PATH=/usr/bin:/bin"}, variables...)
	cmd := exec.CommandContext(ctx, "/usr/bin/env", append(append(argv, git), args...)...)
	cmd.Dir = m.work
	out := &outputs{}
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	if err := cmd.Run(); err != nil {
		testkit.ErrorAs[*exec.ExitError](m.t, err)
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
		" "+signerLog+"="+m.environ[signerLog]+" "+
		strings.TrimSuffix(strings.TrimPrefix(signerURI(t), "exec:"), "?slot=9a")+" \"$@\"\n")
	testkit.OK(t, os.Chmod(program, 0o700))
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
	testkit.OK(t, os.Mkdir(m.work, 0o700))
	home := []string{"HOME=" + m.home}
	m.gitConfig("user.name", "Octo")
	before := m.userConfig()
	m.must("clone", "acme/site")
	testkit.Lacks(t, m.must("clone", "acme/site", "other").stderr, "ubmodules")
	site := w.github.Repository("acme/site")
	head := testkit.Must(w.github.Repository("acme/web").Head("main"))(t)
	if _, err := site.CommitEntries("main", githubtest.CommitOptions{Message: "Use web",
		Entries: submodule("web", "../web.git", head)}); err != nil {
		t.Fatal(err)
	}
	m.mustBare(home, "-C", "site", "pull")
	if r := m.bare(home, "-C", "site", "submodule", "update", "--init"); r.code == 0 ||
		!strings.Contains(r.stderr, "could not read Username") {
		t.Fatalf("git asks for a submodule by itself: exit code %d\n%s", r.code, r.stderr)
	}
	testkit.Contains(t, m.must("clone", "acme/site", "third").stderr, "git-setup --local --submodules")

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
	testkit.Equal(t, m.read("site/web/name.txt"), "acme/web\n")
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
	testkit.Equal(t, m.userConfig(), before, "the user's file")
	for _, name := range []string{"config", "modules/web/config", "ghapp-submodules"} {
		if text, err := os.ReadFile(filepath.Join(m.work, "site", ".git", name)); strings.Contains(string(text), "ghapp") ||
			name == "ghapp-submodules" && err == nil {
			t.Errorf("left in %s:\n%s", name, text)
		}
	}

	// All git of the user.
	m.must("git-setup")
	m.mustBare(home, "-C", "other", "submodule", "update", "--init")
	testkit.Lacks(t, m.must("clone", "acme/site", "fourth").stderr, "--submodules")
}

// userConfig is git's file of the user.
func (m *machine) userConfig() string {
	m.t.Helper()
	text := testkit.Must(os.ReadFile(filepath.Join(m.home, ".gitconfig")))(m.t)
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
		testkit.Equal(t, d.ExitCode, code, "exit code, %q", found)
		return found
	}
	found := look(0)
	for link, want := range map[string]string{"plain git": "ok: git ls-remote origin reads acme/site",
		"git under cron": "ok: it reads acme/site with PATH=/usr/bin:/bin and nothing else"} {
		if !strings.HasPrefix(found[link], want) {
			t.Errorf("%s: %q", link, found[link])
		}
	}
	// The key moves, where ghapp knows it to be and the clone does not.
	moved := filepath.Join(m.home, "moved.pem")
	testkit.OK(t, os.Rename(m.environ["GHAPP_KEY"], moved))
	m.environ["GHAPP_KEY"] = moved
	if found := look(6); !strings.HasPrefix(found["plain git"], "broken: ") ||
		!strings.Contains(found["plain git"], "`ghapp git-setup --local`") {
		t.Errorf("%q", found["plain git"])
	}
	m.must("git-setup", "--local")
	if found := look(0); !strings.HasPrefix(found["plain git"], "ok: ") {
		t.Errorf("after what the hint says: %q", found["plain git"])
	}
}
