package cli_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// twoHosts is a user with an App on each of two GitHubs, which plain git asks ghapp
// about.
type twoHosts struct {
	*machine          // of the first
	second   *machine // of which only the GitHub is used
}

func newTwoHosts(t *testing.T) *twoHosts {
	t.Helper()
	h := &twoHosts{newMachine(t), newMachine(t)}
	h.write(filepath.Join(h.home, ".config/ghapp/config.yaml"), h.with(`
apps:
  one: {app: APP, key: KEY, host: 'ORIGIN'}
  other: {app: APP, key: KEY, host: 'SECOND'}
`))
	h.run(0, "git-setup")
	return h
}

func (h *twoHosts) with(text string) string {
	return strings.NewReplacer("ORIGIN", h.server.URL, "SECOND", h.second.server.URL, "APP", h.app.ClientID, "KEY",
		h.environ["GHAPP_KEY"]).Replace(text)
}

// run runs ghapp as a user does who has no variables of it.
func (h *twoHosts) run(code int, args ...string) result {
	h.t.Helper()
	for i := range args {
		args[i] = h.with(args[i])
	}
	cmd, out := h.plain("ghapp", args...)
	_ = cmd.Run() // its exit code tells
	r := out.result(cmd)
	testkit.Equal(h.t, r.code, code, "ghapp %q: exit code, %s", args, r.stderr)
	h.noSecretIn("the output", r.stdout+r.stderr)
	h.second.noSecretIn("the output", r.stdout+r.stderr)
	return r
}

// apart fails if a token of one GitHub was sent to the other, or if git has sent none
// to one of them.
func (h *twoHosts) apart() {
	h.t.Helper()
	for to, others := range map[*machine][]string{h.machine: h.second.tokens(), h.second: h.tokens()} {
		sent := 0
		for _, r := range to.requests() {
			for name, values := range r.Header {
				if found := search([]byte(strings.Join(values, "\n")), others); found != "" {
					h.t.Errorf("%s %s: %s holds a token of the other host: %s", r.Method, r.Path, name, found)
				}
			}
			if strings.HasPrefix(r.UserAgent, "git/") && slices.Contains(to.tokens(), r.Credential.Token) {
				sent++
			}
		}
		if sent == 0 {
			h.t.Errorf("git has sent no token to %s", to.host)
		}
	}
	h.noSecretOnDisk()
}

func TestGitInACommandReachesTheOtherHostsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t)
	e := newEvil(t)
	e.AskPassword()
	r := h.run(0, "exec", "ORIGIN/acme/site", "--", "sh", "-c", `
		git ls-remote ORIGIN/acme/web && git ls-remote SECOND/acme/web &&
			git ls-remote SECOND/acme/web && git ls-remote SECOND/acme/site || exit 1
		git ls-remote SECOND/acme/hidden && exit 1
		git ls-remote `+e.url+`/acme/web && exit 1
		exit 0`)
	testkit.Equal(t, strings.Count(r.stdout, "refs/heads/main"), 4)
	testkit.Contains(t, r.stderr, "acme/hidden")
	h.revoked(2)
	h.second.revoked(2)
	h.apart()
	e.sentNothing(h.machine)
	e.sentNothing(h.second)
	h.noTokenInCache()
}

// Whoever names an App means that one.
func TestAppThatIsNamedIsForItsHostAlone(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t)
	r := h.run(128, "exec", "--app", "one", "acme/site", "--", "git", "ls-remote", "SECOND/acme/web")
	if !strings.Contains(r.stderr, "terminal prompts disabled") {
		t.Errorf("%+v", r)
	}
	h.revoked(1)
	testkit.Equal(t, h.second.github.Mints(), 0, "mints")
}

func TestSubmoduleOnAnotherHostOfTheConfiguration(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t)
	h.app.Install("acme", githubtest.InstallOptions{All: true})
	head, err := h.second.github.Repository("acme/web").Head("main")
	testkit.OK(t, err)
	h.commit(t, "acme/super", submodule("web", h.second.server.URL+"/acme/web", head)...)
	h.commit(t, "acme/wrong", submodule("hidden", h.second.server.URL+"/acme/hidden", head)...)

	h.run(0, "clone", "ORIGIN/acme/super", "super", "--", "--recurse-submodules")
	testkit.Equal(t, h.read("super/web/name.txt"), "acme/web\n", "cloned")
	h.apart()

	// It is told as what it is, and not as what git makes of it.
	r := h.run(4, "clone", "ORIGIN/acme/wrong", "wrong", "--", "--recurse-submodules")
	if !strings.Contains(r.stderr, "ghapp: error: cannot mint an installation access token for acme/hidden") {
		t.Errorf("%+v", r)
	}
	// As plain git does without ghapp around it.
	git, out := h.plain("git", "-C", filepath.Join(h.work, "super"), "submodule", "update", "--init", "--force")
	if git.Path, err = exec.LookPath("git"); err != nil {
		t.Fatal(err)
	}
	testkit.OK(t, git.Run(), "%s", out.stderr.String())
}
