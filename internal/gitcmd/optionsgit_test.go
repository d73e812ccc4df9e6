package gitcmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// git itself says what a key is: each spelling that is let through makes the setting that
// it was taken for, and each that makes one of those that are refused is not let through.
func TestClonesConfigurationIsReadAsGitReadsIt(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	origin := t.TempDir()
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
		out, err := cmd.Output()
		return string(out), err
	}
	testkit.Must(git("init", "--bare", origin))(t)
	lets, made := 0, 0
	for _, key := range []string{"credential.helper", "url.x.insteadOf", "http.https://h/.extraHeader",
		"include.path", "core.eol", "user.name",
		"credential.https://h.helper", "url.y.pushInsteadOf", "http.https://h/.sslVerify"} {
		for _, around := range [][2]string{{"", ""}, {" ", ""}, {"", " "}, {"\t", "\t"}, {"\n", ""}, {"", "\r"}, {"", "\v"},
			{"\f", ""}, {"\u00a0", ""}, {"", "\x01"}} {
			for _, spell := range []func(string) string{strings.Clone, strings.ToUpper} {
				given := around[0] + spell(key) + around[1] + "=x"
				dir := filepath.Join(t.TempDir(), "clone")
				_, failed := git("clone", "-q", "-c", given, "--", origin, dir)
				list, _ := git("config", "--file", filepath.Join(dir, "config"), "--name-only", "--list")
				if list == "" {
					list, _ = git("config", "--file", filepath.Join(dir, ".git", "config"), "--name-only", "--list")
				}
				section, _, _ := strings.Cut(key, ".")
				makes := failed == nil && slices.ContainsFunc(strings.Split(list, "\n"), func(name string) bool {
					return strings.HasPrefix(name, section+".")
				})
				wanted := section == "user" || section == "core"
				err := refuseConfig("-c", given)
				switch {
				case err == nil && !wanted:
					t.Errorf("%q is let through", given)
				case err == nil && !makes:
					t.Errorf("%q is let through, and git does not take it", given)
				}
				if err == nil {
					lets++
				}
				if makes && !wanted {
					made++
				}
			}
		}
	}
	if lets < 4 || made < 12 {
		t.Errorf("%d let through, %d that git would have made: this test sees nothing", lets, made)
	}
}
