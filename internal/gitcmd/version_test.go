package gitcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]Version{
		"git version 2.39.5\n":                 {2, 39, 5, "2.39.5"},
		"git version 2.39.5 (Apple Git-154)\n": {2, 39, 5, "2.39.5 (Apple Git-154)"},
		"git version 2.55.GIT\n":               {2, 55, 0, "2.55.GIT"},
		"git version 2.47.1.windows.1\r\n":     {2, 47, 1, "2.47.1.windows.1"},
		"git version 2.55.0-rc1\n":             {2, 55, 0, "2.55.0-rc1"},
		"git version 2.51.0.394.gabc12de\n":    {2, 51, 0, "2.51.0.394.gabc12de"},
		"git version 3.0\n":                    {3, 0, 0, "3.0"},
	}
	for out, want := range tests {
		got, err := parseVersion(out)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", out, err, diff)
		}
	}
	for _, out := range []string{"", "git", "hub version 2.3", "git version two", "git version 2", "x git version 2.3.4",
		"git version 99999999999.0"} {
		if got, err := parseVersion(out); err == nil {
			t.Errorf("%q: %v", out, got)
		}
	}
}

func TestVersionAtLeast(t *testing.T) {
	t.Parallel()
	v := Version{Major: 2, Minor: 46}
	for _, test := range []struct {
		major, minor int
		want         bool
	}{{2, 46, true}, {2, 31, true}, {1, 99, true}, {2, 47, false}, {3, 0, false}} {
		testkit.Equal(t, v.AtLeast(test.major, test.minor), test.want, "%d.%d: %v", test.major, test.minor, !test.want)
	}
}

func TestVersionOfThisGit(t *testing.T) {
	t.Parallel()
	v, err := newMachine(t).runner().Version(t.Context())
	if out := plainGit(t, t.TempDir(), "version"); err != nil ||
		"git version "+v.String() != strings.TrimSpace(out) || !v.AtLeast(2, 31) {
		t.Errorf("%+v, %v, git says %q", v, err, out)
	}
}

// A git before 2.31 would not see what it is told by GIT_CONFIG_COUNT.
func TestOldGitIsRefusedBeforeItDoesAnything(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.runner()
	// A git to which the option is as unknown as it was to the old one: the words
	// are those of the git at hand about another.
	r.Git = write(t, filepath.Join(t.TempDir(), "git"), `#!/bin/sh
case $1 in --config-env=*) shift; exec git --no-such-option "$@";; esac
exec git "$@"
`)
	_, err := r.Version(t.Context())
	e := asError(t, err)
	if e.Reason != Unknown || !strings.HasPrefix(e.Stderr, "unknown option: --no-such-option") {
		t.Fatalf("git's words for an unknown option have changed: %q %q", e.Reason, e.Stderr)
	}
	said := strings.ReplaceAll(e.Stderr, "--no-such-option", floor)
	if reason, message, _, _ := classify(said); reason != TooOld || message != "unknown option: "+floor {
		t.Errorf("reason %q, message %q", reason, message)
	}
}

func TestMissingGit(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.runner()
	r.Git = filepath.Join(m.dir, "nosuch")
	_, err := r.Version(t.Context())
	testkit.Equal(t, asError(t, err).Reason, NotInstalled, "reason")
	err = r.Clone(t.Context(), CloneOptions{Scope: Scope{Origin: "https://github.com", Helper: "h"},
		URL: "https://github.com/a/b"})
	if e := asError(t, err); e.Reason != NotInstalled || err.Error() != "git clone: git is not installed, or not on PATH" {
		t.Errorf("reason %q: %v", e.Reason, err)
	}
	mustBeEmpty(t, m.dir)
}

func FuzzParseVersion(f *testing.F) {
	f.Add("git version 2.39.5 (Apple Git-154)\n")
	f.Add("git version 2.55.GIT")
	f.Fuzz(func(t *testing.T, out string) {
		v, err := parseVersion(out)
		if err == nil && (v.Text == "" || strings.ContainsAny(v.Text, "\r\n") || v.Major < 0 || v.Minor < 0 || v.Patch < 0) {
			t.Errorf("%q: %+v", out, v)
		}
	})
}

func TestUnignored(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	work := filepath.Join(root, "work")
	write(t, filepath.Join(work, ".gitignore"), "*.pem\n/secrets/\n!kept.pem\n")
	for _, name := range []string{"app.pem", "kept.pem", "app.key", "secrets/app.key", "sub/app.key",
		"tracked.pem", ".git/app.key", "other/x"} {
		write(t, filepath.Join(work, name), "")
	}
	_ = os.RemoveAll(filepath.Join(work, ".git"))
	plainGit(t, work, "init", "--quiet")
	write(t, filepath.Join(work, ".git", "app.key"), "")
	plainGit(t, work, "add", "--force", "tracked.pem")
	write(t, filepath.Join(root, "app.key"), "")
	plainGit(t, filepath.Join(work, "other"), "init", "--quiet")
	write(t, filepath.Join(work, "other", "app.pem"), "")

	r := newMachine(t).runner()
	r.Dir = work
	r.Environ = append(r.Environ, "GIT_DIR=/nonexistent", "GIT_WORK_TREE=/nonexistent")
	for path, want := range map[string]bool{
		"app.pem":                      false,
		"kept.pem":                     true,
		"app.key":                      true,
		filepath.Join(work, "app.key"): true,
		"secrets/app.key":              false,
		"sub/app.key":                  true,
		"tracked.pem":                  true,
		".git/app.key":                 false,
		"other/app.pem":                true,
		"../app.key":                   false,
		"sub/../app.pem":               false,
	} {
		testkit.Equal(t, testkit.Must(r.Unignored(t.Context(), path))(t), want, "%s", path)
	}
}

// Outside of a work tree git is not even started.
func TestUnignoredStartsNoGitForNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &Runner{Git: filepath.Join(dir, "nosuch"), Dir: dir}
	if got, err := r.Unignored(t.Context(), "app.pem"); got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
