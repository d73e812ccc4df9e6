package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Whoever builds as themselves and installs as root (sudo make install) needs no Go for
// the second, whose PATH has none as a rule. What is older than its source is built.
func TestMakeInstallAfterMakeBuildNeedsNoGo(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs make")
	}
	checkout, prefix, programs := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.OK(t, os.WriteFile(path, []byte(text), mode))
	}
	for _, name := range []string{"Makefile", "scripts/built", "scripts/need", "scripts/units",
		"docs/ghapp-agent.service", "docs/ghapp-agent.socket"} {
		text := testkit.Must(os.ReadFile(filepath.Join("../..", name)))(t)
		write(filepath.Join(checkout, name), string(text), 0o755)
	}
	source := filepath.Join(checkout, "cmd/ghapp/main.go")
	write(source, "package main\n", 0o644)
	hourAgo := time.Now().Add(-time.Hour)
	testkit.OK(t, os.Chtimes(source, hourAgo, hourAgo))
	write(filepath.Join(checkout, "bin/ghapp"), "ghapp, as it was built", 0o755)
	write(filepath.Join(checkout, "bin/git-credential-ghapp"), "the helper", 0o755)
	write(filepath.Join(programs, "go"), "#!/bin/sh\necho went \"$@\" >>"+
		filepath.Join(programs, "log")+"\nexit 3\n", 0o755)
	install := func() (string, error) {
		run := exec.CommandContext(t.Context(), "make", "-C", checkout, "install", "PREFIX="+prefix)
		run.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
		output, err := run.CombinedOutput()
		return string(output), err
	}
	output, err := install()
	testkit.OK(t, err, "%s", output)
	if text, err := os.ReadFile(filepath.Join(prefix, "bin/ghapp")); err != nil ||
		string(text) != "ghapp, as it was built" {
		t.Errorf("installed: %q, %v", text, err)
	}
	if log, _ := os.ReadFile(filepath.Join(programs, "log")); strings.Contains(string(log), "build") {
		t.Errorf("go was run: %s", log)
	}

	// What the programs are not made of may be newer than they are; one that is not there, or is
	// older than its source, is built.
	log := filepath.Join(programs, "log")
	later := func(path string) {
		t.Helper()
		write(path, "", 0o644)
		testkit.OK(t, os.Chtimes(path, time.Now().Add(time.Hour), time.Now().Add(time.Hour)))
	}
	later(filepath.Join(checkout, "cmd/ghapp/main_test.go"))
	later(filepath.Join(checkout, "docs/sync.md"))
	later(filepath.Join(checkout, "cmd/testdata/page.css"))
	output, err = install()
	testkit.OK(t, err, "%s", output)
	helper := filepath.Join(checkout, "bin/git-credential-ghapp")
	for name, spoil := range map[string]func() (mend func()){
		"a program is missing": func() func() {
			testkit.OK(t, os.Rename(helper, helper+"-away"))
			return func() { testkit.OK(t, os.Rename(helper+"-away", helper)) }
		},
		"a program cannot be run": func() func() {
			testkit.OK(t, os.Chmod(helper, 0o644))
			return func() { testkit.OK(t, os.Chmod(helper, 0o755)) }
		},
		"a package is newer":     newer(later, filepath.Join(checkout, "internal/new/new.go")),
		"a stylesheet is":        newer(later, filepath.Join(checkout, "internal/setup/style.css")),
		"a requirement is":       newer(later, filepath.Join(checkout, "go.mod")),
		"a requirement's sum is": newer(later, filepath.Join(checkout, "go.sum")),
	} {
		_ = os.Remove(log)
		mend := spoil()
		output, err := install()
		if asked, _ := os.ReadFile(log); err == nil || len(asked) == 0 {
			t.Errorf("%s: installed all the same, or go was not asked for (%v):\n%s", name, err, output)
		}
		mend()
	}
}

func newer(later func(path string), path string) func() (mend func()) {
	return func() func() {
		later(path)
		return func() { _ = os.Remove(path) }
	}
}

// Of the shells, only bash makes a home of the ~ in PREFIX=~/.local: make refuses it as it is, and
// what is relative, before a directory of that name is made.
func TestInstallRefusesAPrefixThatIsNotAbsolute(t *testing.T) {
	t.Parallel()
	for prefix, why := range map[string]string{"~/.local": "write PREFIX=$HOME/.local",
		"local": "is not absolute", "": "is not absolute"} {
		for _, target := range []string{"install", "install-kms", "install-server"} {
			run := exec.CommandContext(t.Context(), "make", "-n", "-C", "../..", target, "PREFIX="+prefix)
			output, err := run.CombinedOutput()
			if err == nil || !strings.Contains(string(output), why) {
				t.Errorf("%s %q: %v\n%s", target, prefix, err, output)
			}
		}
	}
}
