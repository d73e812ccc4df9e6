package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// asksFirst reports whether git can ask for a credential before a server does: git
// 2.46 and later.
func asksFirst(t *testing.T) bool {
	t.Helper()
	version := testkit.Must((&gitcmd.Runner{Environ: os.Environ()}).Version(t.Context()))(t)
	return version.AtLeast(2, 46)
}

// newPublicWorld has public repositories beside the others: acme/open, which is
// selected, acme/aside, which is not, octo/pub, of an owner without the App, and
// other/pub, of one whom no configuration names.
func newPublicWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldFor(t)
	for _, name := range []string{"acme/open", "acme/aside", "octo/pub", "other/pub"} {
		if _, err := w.github.AddRepository(name, githubtest.RepositoryOptions{Public: true}).Commit("main", "Begin",
			map[string]string{"name.txt": name + "\n"}); err != nil {
			t.Fatal(err)
		}
	}
	w.app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site", "web", "open"},
		Permissions: map[string]string{"contents": "write", "metadata": "read"}})
	return w
}

// userMachine is a machine of a user who has no variables of ghapp, whose config file
// has the App for acme and octo, and where plain git uses it.
func (w *world) userMachine(t *testing.T) *machine {
	t.Helper()
	m := w.machine(t)
	m.write(filepath.Join(m.home, ".config", "ghapp", "config.yaml"), fmt.Sprintf(
		"apps:\n  deploy:\n    app: %s\n    key: %s\n    host: %q\n    owners: [acme, octo]\n"+
			"    permissions: {contents: write}\n",
		m.environ["GHAPP_APP"], m.environ["GHAPP_KEY"], m.environ["GHAPP_HOST"]))
	setup, out := m.plain("ghapp", "git-setup")
	testkit.OK(t, setup.Run(), "%s", out.stderr.String())
	return m
}

// usersGit runs git for such a user.
func (m *machine) usersGit(args ...string) result {
	m.t.Helper()
	path := testkit.Must(exec.LookPath("git"))(m.t)
	cmd, out := m.plain("ghapp", args...)
	cmd.Path, cmd.Args = path, append([]string{"git"}, args...)
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	if err := cmd.Run(); cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return out.result(cmd)
}

// lsRemote is git's shortest way to a repository.
func (m *machine) lsRemote(repository string) result {
	m.t.Helper()
	return m.usersGit("ls-remote", m.server.URL+"/"+repository)
}

// tally counts requests: of the API, ghapp's own to the git service, and git's, without
// and with a credential.
type tally struct{ API, Own, Git, WithToken int }

// count is what came since it was last called, to the world of this machine alone.
func (m *machine) count() tally {
	var n tally
	for _, r := range m.requests() {
		switch {
		case strings.HasPrefix(r.Path, "/api/"):
			n.API++
		case r.UserAgent == "git/ghapp":
			n.Own++
		default:
			n.Git++
			if r.Credential.Token != "" {
				n.WithToken++
			}
		}
	}
	m.github.ResetRequests()
	return n
}

// withAndWithoutAgent runs a test on a machine of each kind. With said it ends the agent,
// if there is one, and learns what it said.
func withAndWithoutAgent(t *testing.T, test func(t *testing.T, m *machine, said func() string)) {
	for name, agent := range map[string]bool{"with an agent": true, "without an agent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newPublicWorld(t).userMachine(t)
			if !agent {
				test(t, m, func() string { return "" })
				return
			}
			d := m.agentRuns()
			test(t, m, func() string { return d.end(syscall.SIGTERM).stderr })
		})
	}
}

// The request less is what it is for: 401, refs, ls-refs without, and refs, ls-refs
// with.
func TestGitSetupSparesTheRequestThatIsRefused(t *testing.T) {
	t.Parallel()
	first := asksFirst(t)
	withAndWithoutAgent(t, func(t *testing.T, m *machine, _ func() string) {
		private, public := tally{Git: 3, WithToken: 2}, tally{Git: 2}
		if first {
			private, public = tally{Git: 2, WithToken: 2}, tally{Git: 2, WithToken: 2}
		}
		for repository, want := range map[string]tally{"acme/site": private, "acme/open": public} {
			for _, warm := range []bool{false, true} {
				m.count()
				if r := m.lsRemote(repository); r.code != 0 {
					t.Fatalf("%s: %s", repository, r.stderr)
				}
				got := m.count()
				got.Own = 0 // a token is tried in its first seconds
				if warm && got != want {
					t.Errorf("%s: %+v, want %+v", repository, got, want)
				}
			}
		}
		m.lsRemote("other/pub").ends(t, 0)
		testkit.Equal(t, m.count(), (tally{Git: 2}), "of an owner whom the file does not name")
	})
}

// Everybody may read it, and so may we, whatever becomes of the token.
func TestPublicRepositoryIsReadThoughTheTokenIsRefused(t *testing.T) {
	t.Parallel()
	first := asksFirst(t)
	withAndWithoutAgent(t, func(t *testing.T, m *machine, agentSaid func() string) {
		var said strings.Builder
		m.github.SetIPAllowList("acme", true)
		repositories := map[string]bool{"acme/open": true, "octo/pub": false} // and whether it is told loudly
		for repository := range repositories {
			m.count()
			r := m.lsRemote(repository)
			if r.code != 0 || !strings.Contains(r.stdout, "refs/heads/main") {
				t.Errorf("%s: exit code %d\n%s", repository, r.code, r.stderr)
			}
			if got := m.count(); got.WithToken != 0 || first && got.API == 0 {
				t.Errorf("%s: %+v", repository, got)
			}
			said.WriteString(r.stderr)
			// And again, for which nobody is asked whether that is so.
			r = m.lsRemote(repository)
			if got := m.count(); r.code != 0 || got != (tally{Git: 2}) {
				t.Errorf("%s once more: exit code %d, %+v\n%s", repository, r.code, got, r.stderr)
			}
		}
		if r := m.usersGit("clone", m.server.URL+"/acme/open", "copy"); r.code != 0 ||
			m.read("copy/name.txt") != "acme/open\n" {
			t.Errorf("clone: exit code %d\n%s", r.code, r.stderr)
		}

		// What is private stays refused, with the reason.
		r := m.lsRemote("acme/site")
		if r.code == 0 || !strings.Contains(r.stderr, "IP allow list") || !strings.Contains(r.stderr, "told us to quit") {
			t.Errorf("private: exit code %d\n%s", r.code, r.stderr)
		}

		// A push needs what is not there: one try, and git says no. Then a token is tried again.
		m.github.SetIPAllowList("acme", false)
		if r := m.usersGit("-C", "copy", "commit", "--quiet", "--allow-empty", "--message=x"); r.code != 0 {
			t.Fatal(r.stderr)
		}
		m.count()
		if r := m.usersGit("-C", "copy", "push", "origin", "HEAD:main"); first {
			if got := m.count(); r.code == 0 || !strings.Contains(r.stderr, "Authentication failed") || got.Git != 1 {
				t.Errorf("push: exit code %d, %+v\n%s", r.code, got, r.stderr)
			}
			r = m.usersGit("-C", "copy", "push", "origin", "HEAD:main")
			r.ends(t, 0)
		}
		m.noSecretOnDisk()

		said.WriteString(agentSaid())
		for repository, loud := range repositories {
			if told := strings.Contains(said.String(),
				"warning: "+repository+" is public and is read without a credential"); told != (loud && first) {
				t.Errorf("%s: told %t\n%s", repository, told, said.String())
			}
		}
	})
}

// The App can be left out of a repository, and out of an owner's altogether.
func TestPublicRepositoryThatTheAppDoesNotReachIsRead(t *testing.T) {
	t.Parallel()
	withAndWithoutAgent(t, func(t *testing.T, m *machine, _ func() string) {
		for _, repository := range []string{"acme/aside", "octo/pub"} {
			if r := m.lsRemote(repository); r.code != 0 || strings.Contains(r.stderr, "ghapp:") {
				t.Errorf("%s: exit code %d\n%s", repository, r.code, r.stderr)
			}
		}
		for repository, reason := range map[string]string{"acme/hidden": "does not exist or is not accessible",
			"octo/lib": "cannot find the installation of octo"} {
			if r := m.lsRemote(repository); r.code == 0 || !strings.Contains(r.stderr, reason) {
				t.Errorf("%s: exit code %d\n%s", repository, r.code, r.stderr)
			}
		}
	})
}

// Any other refusal is told, and nothing is read in spite of it.
func TestOtherRefusalOfATokenIsNotPassedOver(t *testing.T) {
	t.Parallel()
	if !asksFirst(t) {
		t.Skip("this git asks for no credential for a public repository")
	}
	withAndWithoutAgent(t, func(t *testing.T, m *machine, _ func() string) {
		m.app.Install("acme", githubtest.InstallOptions{All: true}).Suspend()
		if r := m.lsRemote("acme/open"); r.code == 0 || !strings.Contains(r.stderr, "suspended") {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
	})
}

// allowListAtGit refuses whoever brings a credential, at the git service alone: the API
// is reached from an address that is on the list.
func (m *machine) allowListAtGit() {
	m.traffic.divert(authorized(func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/api/") }),
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "The `acme` organization has an IP allow list enabled, "+
				"and your IP address is not permitted to access this resource.")
		}))
}

// A token is minted and then refused where git goes. It lives on for an hour, and is
// not handed out meanwhile.
func TestTokenThatTheGitServiceRefusesIsNotHandedOut(t *testing.T) {
	t.Parallel()
	first := asksFirst(t)
	withAndWithoutAgent(t, func(t *testing.T, m *machine, _ func() string) {
		m.allowListAtGit()
		for range 2 {
			if r := m.lsRemote("acme/open"); r.code != 0 || first && m.github.Mints() != 1 {
				t.Errorf("exit code %d, %d mints\n%s", r.code, m.github.Mints(), r.stderr)
			}
			m.age(time.Minute)
		}
		if r := m.lsRemote("acme/site"); r.code == 0 || !strings.Contains(r.stderr, "IP allow list") {
			t.Errorf("private: exit code %d\n%s", r.code, r.stderr)
		}
	})
}

// age makes the tokens in the cache older than they are.
func (m *machine) age(by time.Duration) {
	m.t.Helper()
	paths := testkit.Must(filepath.Glob(filepath.Join(m.cache, "ghapp", strings.Repeat("?", 64))))(m.t)
	for _, path := range paths {
		text := testkit.Must(os.ReadFile(path))(m.t)
		var entry map[string]any
		if json.Unmarshal(text, &entry) != nil || entry["minted_at"] == nil {
			continue
		}
		minted, err := time.Parse(time.RFC3339, entry["minted_at"].(string))
		testkit.OK(m.t, err)
		entry["minted_at"] = minted.Add(-by)
		if text, err = json.Marshal(entry); err != nil {
			m.t.Fatal(err)
		}
		m.write(path, string(text))
	}
}

func TestCloneOfAPublicRepositoryBehindAnAllowList(t *testing.T) {
	t.Parallel()
	w := newPublicWorld(t)
	const warning = "ghapp: warning: acme/open is public and is read without a credential"

	t.Run("when minting", func(t *testing.T) {
		t.Parallel()
		w := newPublicWorld(t)
		m := w.machine(t)
		m.installLFS()
		w.github.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true})
		if _, err := w.github.Repository("acme/open").CommitEntries("main",
			githubtest.CommitOptions{Message: "Film", Entries: []githubtest.Entry{
				{Path: ".gitattributes", Content: "*.lfs filter=lfs -text\n"},
				{Path: "film.lfs", Content: w.github.Repository("acme/open").AddObject("film\n")},
			}}); err != nil {
			t.Fatal(err)
		}
		w.github.SetIPAllowList("acme", true)
		r := m.must("clone", "acme/open")
		if n := strings.Count(r.stderr, warning); n != 1 {
			t.Errorf("told %d times\n%s", n, r.stderr)
		}
		testkit.Equal(t, m.read("open/name.txt"), "acme/open\n")
		testkit.Equal(t, m.read("open/film.lfs"), "film\n")
		m.ghapp("clone", "acme/site").ends(t, 4, "ghapp: hint: the owner lets in listed addresses only")
	})

	// The clone that was made before minting was refused finds a token in the cache.
	t.Run("of a token from the cache", func(t *testing.T) {
		t.Parallel()
		m := w.machine(t)
		for _, repository := range []string{"acme/open", "acme/site"} {
			m.must("clone", repository, "before-"+filepath.Base(repository))
		}
		m.age(time.Minute)
		m.allowListAtGit()
		r := m.must("clone", "acme/open")
		testkit.Equal(t, strings.Contains(r.stderr, warning), asksFirst(t), "told, %s", r.stderr)
		m.ghapp("clone", "acme/site").ends(t, 4, "ghapp: hint: the owner lets in listed addresses only")
	})

	t.Run("in exec", func(t *testing.T) {
		t.Parallel()
		m := w.machine(t)
		m.allowListAtGit()
		r := m.must("exec", "acme/open", "--", "git", "ls-remote", m.server.URL+"/acme/open")
		if told := strings.Contains(r.stderr, warning); told != asksFirst(t) ||
			!strings.Contains(r.stdout, "refs/heads/main") {
			t.Errorf("told %t\n%s", told, r.stderr)
		}
		if r := m.ghapp("exec", "acme/site", "--", "git", "ls-remote", m.server.URL+"/acme/site"); r.code == 0 ||
			!strings.Contains(r.stderr, "IP allow list") {
			t.Errorf("private: exit code %d\n%s", r.code, r.stderr)
		}
	})

	// Where the App does not reach it, whoever asks for it by its name is told so.
	t.Run("without the App", func(t *testing.T) {
		t.Parallel()
		m := w.machine(t)
		for _, repository := range []string{"acme/aside", "octo/pub"} {
			if r := m.ghapp("clone", repository); r.code != 4 {
				t.Errorf("%s: exit code %d\n%s", repository, r.code, r.stderr)
			}
		}
		m.nothingLeft()
	})
}

// A password would follow git to wherever it is led before it has been asked for it;
// the header does not.
func TestCredentialThatGitAsksForFirstFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	if !asksFirst(t) {
		t.Skip("this git asks for no credential before a server does")
	}
	for name, demand := range demanding() {
		for where, match := range map[string]func(*http.Request) bool{
			"first request": isDiscovery("acme/"), "fetch": isUploadPack("acme/"),
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				t.Parallel()
				m, e := newPublicWorld(t).userMachine(t), newEvil(t)
				demand(t, e)
				m.gitConfig("http.followRedirects", "true")
				for _, repository := range []string{"acme/site", "acme/open"} {
					if r := m.lsRemote(repository); r.code != 0 {
						t.Fatal(r.stderr)
					}
				}
				m.count()
				m.traffic.divert(authorized(match), movedTo(e.url))
				for _, repository := range []string{"acme/site", "acme/open"} {
					r := m.lsRemote(repository)
					m.noSecretIn("the output", r.stdout+r.stderr)
				}
				if got := m.count(); where == "fetch" && got.WithToken == 0 {
					t.Errorf("git did not ask first: %+v", got)
				}
				if len(e.Requests()) == 0 {
					t.Error("git was not led to evil")
				}
				e.sentNothing(m)
			})
		}
	}
}

// An open host elsewhere needs no credential, and what it serves would be cloned.
func TestCloneFollowsARepositoryOnItsHostAlone(t *testing.T) {
	t.Parallel()
	w := newPublicWorld(t)
	for _, name := range []string{"moved", "cached"} {
		if _, err := w.github.AddRepository("acme/"+name, githubtest.RepositoryOptions{}).Commit("main", "Begin",
			map[string]string{"name.txt": name + "\n"}); err != nil {
			t.Fatal(err)
		}
	}
	w.app.Install("acme", githubtest.InstallOptions{All: true})
	for name, demand := range demanding() {
		t.Run("elsewhere, "+name, func(t *testing.T) {
			t.Parallel()
			m, e := w.machine(t), newEvil(t)
			demand(t, e)
			m.traffic.divert(isDiscovery("acme/open"), movedTo(e.url))
			m.traffic.divert(func(r *http.Request) bool { return isSettle(r) && strings.HasPrefix(r.URL.Path, "/acme/open") },
				movedTo(e.url))
			r := m.ghapp("clone", "acme/open")
			r.ends(t, 3, "redirects (307) to "+e.url+": not followed")
			m.nothingLeft()
			if n := len(e.Requests()); n > 0 {
				t.Errorf("evil was asked %d times", n)
			}
		})
	}
	t.Run("renamed", func(t *testing.T) {
		t.Parallel()
		m := w.machine(t)
		m.must("clone", "acme/cached", "before")
		for _, name := range []string{"moved", "cached"} {
			testkit.OK(t, w.github.Rename("acme/"+name, "now-"+name))
		}
		for _, name := range []string{"moved", "cached"} {
			r := m.must("clone", "acme/"+name)
			testkit.Contains(t, r.stderr, fmt.Sprintf("acme/%s is acme/now-%s now.", name, name))
			testkit.Equal(t, m.read(name+"/name.txt"), name+"\n", "cloned")
			remote, err := m.git("-C", name, "remote", "get-url", "origin").Output()
			if want := m.server.URL + "/acme/now-" + name + ".git\n"; err != nil || string(remote) != want {
				t.Errorf("the remote is %q, %v, want %q", remote, err, want)
			}
		}
		testkit.Diff(t, m.ghapp("-q", "clone", "acme/moved", "quiet").stderr, "")
	})
}
