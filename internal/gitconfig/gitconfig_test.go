package gitconfig_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitconfig"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func filesOf(environ ...string) *gitconfig.Files {
	return &gitconfig.Files{Git: &gitcmd.Runner{Environ: append(environ, "PATH="+os.Getenv("PATH"))}}
}

func TestFileOfTheUser(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	testkit.OK(t, os.MkdirAll(filepath.Join(home, ".config", "git"), 0o700))
	testkit.OK(t, os.WriteFile(filepath.Join(home, ".config", "git", "config"), nil, 0o600))
	for _, test := range []struct {
		name, want string
		environ    []string
	}{
		{"where XDG has one", filepath.Join(home, ".config", "git", "config"), []string{"HOME=" + home}},
		{"where there is none", filepath.Join(other, ".gitconfig"), []string{"HOME=" + other}},
		{"that a variable names", filepath.Join(other, "mine"),
			[]string{"HOME=" + home, "GIT_CONFIG_GLOBAL=" + filepath.Join(other, "mine")}},
	} {
		got, err := filesOf(test.environ...).Path(t.Context(), gitsetup.Global)
		testkit.OK(t, err, test.name)
		testkit.Equal(t, got, test.want, test.name)
	}
	_, err := filesOf("GIT_CONFIG_GLOBAL=", "HOME="+home).Path(t.Context(), gitsetup.Global)
	if _, ok := errors.AsType[*fault.SettingError](err); !ok {
		t.Errorf("of a variable that is empty: %v", err)
	}
}

// A backslash at the end of a line has git take the next one for its rest.
func TestFileThatGitReadsAsSomethingElseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	sections := []gitsetup.Section{
		{Name: "user", Origin: "https://github.com", Settings: []gitsetup.Setting{{Name: "name", Value: "Ada"}}},
	}
	for text, want := range map[string]bool{
		"[user]\n\tname = Ada\n":                           true,
		"[core]\n\teditor = vi \\\n[user]\n\tname = Ada\n": false,
		"[user]\n\tname = Ada\n\temail = a@example.com\n":  false,
	} {
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
		if err := filesOf("HOME="+t.TempDir()).Reads(t.Context(), path, sections); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLoginsThatAreSentBeforeGitAsks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("another variable names the home directory")
	}
	home := t.TempDir()
	path := filepath.Join(home, ".netrc")
	files := filesOf("HOME=" + home)
	if found := files.Netrc("https://github.com"); len(found) > 0 {
		t.Errorf("of no file: %v", found)
	}
	testkit.OK(t, os.WriteFile(path, []byte("machine github.com\nlogin ada\npassword x\n"), 0o600))
	found := files.Netrc("https://github.com")
	if len(found) != 1 || found[0].File != path || found[0].Line != 1 || found[0].Key != "machine github.com" {
		t.Errorf("%+v", found)
	}
	if found := files.Netrc("https://ghes.example"); len(found) > 0 {
		t.Errorf("of another host: %v", found)
	}
}

// git is asked for both: where it was built for, and which repository this is.
func TestFileOfTheMachineAndOfARepository(t *testing.T) {
	dir := testkit.Must(filepath.EvalSymlinks(t.TempDir()))(t)
	testkit.OK(t, exec.Command("git", "init", "--quiet", dir).Run())
	t.Chdir(dir)
	files := filesOf("HOME="+t.TempDir(), "GIT_CONFIG_SYSTEM="+filepath.Join(dir, "of the machine"))
	testkit.Equal(t, testkit.Must(files.Path(t.Context(), gitsetup.Local))(t), filepath.Join(dir, ".git", "config"))
	testkit.Equal(t, testkit.Must(files.Path(t.Context(), gitsetup.System))(t), filepath.Join(dir, "of the machine"))
	t.Chdir(t.TempDir())
	_, err := files.Path(t.Context(), gitsetup.Local)
	testkit.ErrorContains(t, testkit.ErrorAs[*fault.UsageError](t, err), "--local is for the repository")
}
