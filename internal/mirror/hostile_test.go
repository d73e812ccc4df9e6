package mirror

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// manifestOf is the manifest of a file of this name.
func manifestOf(t testing.TB, file string, change func(*Manifest)) []byte {
	m := &Manifest{
		Format: 1, ID: 7, Name: "acme/site", Host: "github.com", Time: time.Unix(1_800_000_000, 0).UTC(),
		Repository: barerepo.Image{Format: "sha1", Identity: "7",
			Refs: map[string]string{"refs/heads/main": strings.Repeat("1", 40)}},
		Increments: []Increment{{Bundle: &Part{File: file, SHA256: strings.Repeat("a", 64), Bytes: 5}}},
	}
	if change != nil {
		change(m)
	}
	return testkit.Must(json.Marshal(m))(t)
}

const goodPart = "20261130T120000Z.bundle"

// badParts are names of files that a manifest may not have.
func badParts() []string {
	return []string{
		"", ".", "..", "../" + goodPart, "x/" + goodPart, "/etc/passwd", "/" + goodPart, goodPart + "/..", goodPart + "\n",
		"\x1b" + goodPart, goodPart + "\x00", "manifest.json", `..\` + goodPart, "20261130T120000Z.lfs.tar/x", "." + goodPart,
	}
}

func TestAManifestLeadsNowhereElse(t *testing.T) {
	read := func(text []byte) error { return testkit.ErrorOf(parseManifest(bytes.NewReader(text))) }
	testkit.OK(t, read(manifestOf(t, goodPart, nil)))
	testkit.OK(t, read(manifestOf(t, goodPart, func(m *Manifest) { m.Host = "127.0.0.1:8080" })))
	for _, name := range badParts() {
		testkit.Fails(t, read(manifestOf(t, name, nil)), "%q", name)
		large := manifestOf(t, goodPart, func(m *Manifest) { m.Increments[0].Large = &Part{File: name} })
		testkit.Fails(t, read(large), "%q", name)
	}
	for _, name := range []string{"", "acme", "acme/site\x1b[2J", "acme/../site", "acme/site\n"} {
		testkit.Fails(t, read(manifestOf(t, goodPart, func(m *Manifest) { m.Name = name })), "%q", name)
		testkit.Fails(t, read(manifestOf(t, goodPart, func(m *Manifest) { m.Former = []string{name} })), "%q", name)
	}
	for _, host := range []string{"a/b", "a\n[core]", "user@host", `a"`} {
		testkit.Fails(t, read(manifestOf(t, goodPart, func(m *Manifest) { m.Host = host })), "%q", host)
	}
}

func FuzzManifest(f *testing.F) {
	for _, name := range append(badParts(), goodPart) {
		f.Add(manifestOf(f, name, nil))
	}
	f.Add([]byte(`{"format":1`))
	f.Add([]byte(`{"format":1,"id":1,"name":"a/b","increments":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, i := range m.Increments {
			for _, part := range []*Part{i.Bundle, i.Large} {
				if part != nil && (filepath.Base(part.File) != part.File ||
					!filepath.IsLocal(part.File) || part.File == manifestName) {
					t.Errorf("%q was taken", part.File)
				}
			}
		}
		if strings.ContainsFunc(m.Name+m.Host+strings.Join(m.Former, ""), func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Errorf("%q at %q was taken", m.Name, m.Host)
		}
	})
}

// What has come to a ref since it was looked at is not overwritten, though that was agreed to.
func TestAForcedPushOverwritesOnlyWhatWasLookedAt(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=A",
			"GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	testkit.Must(git("init", "-q", "--bare", "."))(t)
	testkit.Must(git("init", "-q", "--bare", "there.git"))(t)
	tree := testkit.Must(git("hash-object", "-t", "tree", "-w", "/dev/null"))(t)
	commit := func(text string) string { return testkit.Must(git("commit-tree", "-m", text, tree))(t) }
	ours, seen, since := commit("ours"), commit("seen"), commit("since")
	const name = "refs/heads/main"
	p := &pushing{
		Push: Push{Force: true}, there: map[string]string{name: seen},
		shot: &barerepo.Snapshot{Refs: map[string]string{name: ours}, Head: name},
	}
	push := func(is string) (string, error) {
		testkit.Must(git("push", "-q", "--force", "there.git", is+":"+name))(t)
		_, err := git(p.arguments("there.git", []string{name})...)
		now, _ := git("--git-dir=there.git", "rev-parse", name)
		return now, err
	}
	now, err := push(since)
	testkit.Fails(t, err)
	testkit.Equal(t, now, since)
	now, err = push(seen)
	testkit.OK(t, err)
	testkit.Equal(t, now, ours)
	p.Force = false
	now, err = push(seen)
	testkit.Fails(t, err, "without --force")
	testkit.Equal(t, now, seen)
}

// Only what is not there, or an empty directory, is a place to restore to.
func TestAPlaceToRestoreToIsVacant(t *testing.T) {
	dir := t.TempDir()
	resolved := testkit.Must(filepath.EvalSymlinks(dir))(t)
	link := filepath.Join(t.TempDir(), "link")
	testkit.OK(t, os.Symlink(dir, link))
	testkit.Equal(t, testkit.Must(vacant(dir))(t), resolved)
	testkit.Equal(t, testkit.Must(vacant(link))(t), resolved)
	testkit.Equal(t, testkit.Must(vacant(filepath.Join(dir, "none")))(t), filepath.Join(dir, "none"))
	file := filepath.Join(dir, ".hidden")
	testkit.OK(t, os.WriteFile(file, nil, 0o600))
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	testkit.OK(t, os.Symlink(filepath.Join(dir, "none"), nowhere))
	for path, says := range map[string]string{
		dir: "not empty", link: "not empty", file: "not a directory", nowhere: "a link that leads to nothing",
	} {
		testkit.ErrorContains(t, testkit.ErrorOf(vacant(path)), says)
	}
}

// A file is the manifest's with all its bytes, and by its own name.
func TestAFileOfAManifestIsProved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, goodPart)
	testkit.OK(t, os.WriteFile(path, []byte("bundle"), 0o600))
	part := testkit.Must(partOf(path))(t)
	testkit.OK(t, part.check(dir))
	testkit.OK(t, os.WriteFile(path, []byte("bundlE"), 0o600))
	testkit.ErrorContains(t, part.check(dir), "SHA-256")
	testkit.OK(t, os.WriteFile(path, []byte("bundle+"), 0o600))
	testkit.ErrorContains(t, part.check(dir), "7 bytes")
	testkit.OK(t, os.Rename(path, path+".x"))
	testkit.OK(t, os.WriteFile(path+".x", []byte("bundle"), 0o600))
	testkit.OK(t, os.Symlink(path+".x", path))
	testkit.Fails(t, part.check(dir), "a link")
	testkit.OK(t, os.Remove(path))
	testkit.Fails(t, part.check(dir), "there is none")
}
