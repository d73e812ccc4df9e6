package gitconfig_test

import (
	"errors"
	"os"
	"path/filepath"
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
