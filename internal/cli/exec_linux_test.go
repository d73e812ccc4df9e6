package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// revoked fails unless so many tokens were minted, and all of them have ended.
func (m *machine) revoked(mints int) {
	m.t.Helper()
	tokens := m.github.Tokens()
	testkit.Equal(m.t, len(tokens), mints, "tokens were minted")
	for i, token := range tokens {
		if !token.Revoked && time.Now().Before(token.Expires) {
			m.t.Errorf("token %d of %d lives on", i+1, len(tokens))
		}
	}
}

// variables are those of a file that env has written.
func (m *machine) variables(name string) map[string]string {
	variables := map[string]string{}
	for entry := range strings.SplitSeq(m.read(name), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		variables[key] = value
	}
	return variables
}

// noTokenInCache fails if a token was left to others there.
func (m *machine) noTokenInCache() {
	m.t.Helper()
	entries, err := filepath.Glob(filepath.Join(m.cache, "ghapp", "*"))
	if err != nil || len(entries) == 0 {
		m.t.Errorf("in the cache: %q, %v", entries, err) // the installation, at least
	}
	for _, entry := range entries {
		text := testkit.Must(os.ReadFile(entry))(m.t)
		m.noSecretIn(entry, string(text))
	}
}

func (m *machine) shell(script string) []string {
	return []string{"--", "sh", "-c", strings.NewReplacer("ORIGIN", m.server.URL).Replace(script)}
}

func TestCommandHasItsTokenAndGit(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"key in a file", "key in a variable"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.environ["GH_TOKEN"], m.environ["GH_ENTERPRISE_TOKEN"], m.environ["GH_HOST"] = "theirs", "theirs", "github.com"
			if source == "key in a variable" {
				delete(m.environ, "GHAPP_KEY")
				m.environ["GHAPP_PRIVATE_KEY"], m.environ["MY_COPY"] = string(m.keyPEM), string(m.keyPEM)
			}
			cmd, out := m.command(append([]string{"exec", "acme/site"}, m.shell(`
				env -0 >env
				git ls-remote ORIGIN/acme/site main >site && git ls-remote ORIGIN/acme/site.git main >>site &&
				git ls-remote ORIGIN/acme/web main >web && git ls-remote git@127.0.0.1:acme/web.git main >>web || exit 1
				cat; echo err >&2; exit 7`)...)...)
			cmd.Stdin = strings.NewReader("in\n")
			_ = cmd.Run() // its exit code tells
			if r := out.result(cmd); r.code != 7 || r.stdout != "in\n" || r.stderr != "err\n" {
				t.Errorf("%+v", r)
			}
			for _, name := range []string{"site", "web"} {
				testkit.Equal(t, strings.Count(m.read(name), "refs/heads/main"), 2, "%s", name)
			}
			m.revoked(2) // that of the variables, which git uses too, and that for acme/web
			tokens := m.github.Tokens()
			env := m.variables("env")
			for name, want := range map[string]string{
				"GH_ENTERPRISE_TOKEN": tokens[0].Token, "GITHUB_ENTERPRISE_TOKEN": tokens[0].Token,
				"GH_HOST": m.host, "GH_TOKEN": "theirs",
				"GHAPP_PRIVATE_KEY": "", "MY_COPY": "",
			} {
				testkit.Equal(t, env[name], want, "%s", name)
			}
			for _, token := range tokens {
				if len(token.Repositories) != 1 || token.Permissions["contents"] != "read" {
					t.Errorf("a token for %q may %v", token.Repositories, token.Permissions)
				}
			}
			for name, value := range env {
				if !strings.HasSuffix(name, "_TOKEN") {
					m.noSecretIn(name, value)
				}
			}
			if left, err := os.ReadDir(m.runtime); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			m.noTokenInCache()
		})
	}
}

func TestExecEndsAsItsCommand(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	for name, test := range map[string]struct {
		argv  []string
		code  int
		says  string
		mints int
	}{
		"well":               {[]string{"true"}, 0, "", 1},
		"badly":              {[]string{"sh", "-c", "exit 3"}, 3, "", 1},
		"by SIGTERM":         {[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, "", 1},
		"by SIGKILL":         {[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9, "", 1},
		"flags are its own":  {[]string{"sh", "-c", "exit $#", "-q", "--json", "--"}, 2, "", 1},
		"not found":          {[]string{"no-such-program"}, 127, "run no-such-program: executable file not found", 0},
		"no such file":       {[]string{"./no-such-program"}, 127, "run ./no-such-program", 0},
		"not executable":     {[]string{"./" + theirs}, 126, "run ./theirs: permission denied", 0},
		"a directory":        {[]string{"/"}, 126, "run /: ", 0},
		"of no known format": {[]string{"./odd"}, 126, "run ./odd: ", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w
			if test.mints != 1 {
				w = newWorldFor(t)
			}
			m := w.machine(t)
			m.write(filepath.Join(m.work, "odd"), "\x00\x01\x02\x03")
			testkit.OK(t, os.Chmod(filepath.Join(m.work, "odd"), 0o700))
			r := m.ghapp(append([]string{"exec", "acme/site", "--"}, test.argv...)...)
			if r.code != test.code || !strings.Contains(r.stderr, test.says) || test.says == "" && r.stderr != "" {
				t.Errorf("exit code %d, want %d\n%s", r.code, test.code, r.stderr)
			}
			minted, ended := 0, 0
			for _, q := range m.requests() {
				switch {
				case q.Method == "POST":
					minted++
				case q.Method == "DELETE":
					ended++
				}
			}
			testkit.Equal(t, minted, test.mints)
			testkit.Equal(t, ended, test.mints)
		})
	}
}

// until waits for a file of the command's, and returns its text.
func (m *machine) until(name string) string {
	m.t.Helper()
	eventually(m.t, patience, func() string {
		if _, err := os.Stat(filepath.Join(m.work, name)); err != nil {
			return "there is no " + name
		}
		return ""
	})
	return m.read(name)
}

// listening is a command that notes each signal and ends after the first one but
// SIGINT, or in the end.
const listening = `
	for s in TERM HUP USR1; do trap "echo $s >>got; exit 9" $s; done
	trap 'echo INT >>got' INT
	: >ready
	i=0; while [ $i -lt 100 ] && [ ! -e enough ]; do sleep 0.05; i=$((i+1)); done
	exit 5`

func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP,
		"USR1": syscall.SIGUSR1, "INT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			cmd, out := m.command(append([]string{"exec", "acme/site"}, m.shell(listening)...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
			testkit.OK(t, cmd.Start())
			m.until("ready")
			testkit.OK(t, cmd.Process.Signal(signal))
			want := 9
			if signal == syscall.SIGINT {
				want = 5
				m.until("got")
				m.write(filepath.Join(m.work, "enough"), "")
			}
			_ = cmd.Wait() // its exit code tells
			if r := out.result(cmd); r.code != want || r.stderr != "" {
				t.Errorf("exit code %d, want %d\n%s", r.code, want, r.stderr)
			}
			testkit.Equal(t, m.read("got"), name+"\n", "the comm")
			m.revoked(1)
		})
	}
}

// The terminal sends Ctrl-C to all in its foreground; many programs take a second one
// for another wish.
func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	term := m.terminal(append([]string{"exec", "acme/site"}, m.shell(listening)...)...)
	m.until("ready")
	testkit.Must(term.master.Write([]byte{3}))(t)
	m.until("got")
	time.Sleep(100 * time.Millisecond) // for a second one, that is not to come
	m.write(filepath.Join(m.work, "enough"), "")
	if shown, code := term.wait(); code != 5 {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	testkit.Equal(t, m.read("got"), "INT\n", "the comm")
	m.revoked(1)
}

// A command with a session of its own is out of the terminal's reach, and so shows
// whether Ctrl-C is passed on.
func TestCtrlCIsLeftToTheTerminal(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	term := m.terminal(append([]string{"exec", "acme/site", "--", "setsid"}, m.shell(listening)[1:]...)...)
	m.until("ready")
	testkit.Must(term.master.Write([]byte{3}))(t)
	time.Sleep(200 * time.Millisecond) // for one that is not to come
	m.write(filepath.Join(m.work, "enough"), "")
	if shown, code := term.wait(); code != 5 {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	if got, err := os.ReadFile(filepath.Join(m.work, "got")); err == nil {
		t.Errorf("the command got %q", got)
	}
	m.revoked(1)
}

// What a command does about a signal may need git.
func TestGitIsAnsweredAfterASignal(t *testing.T) {
	t.Parallel()
	for _, signal := range []string{"INT", "TERM"} {
		t.Run(signal, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			r := m.ghapp(append([]string{"exec", "acme/site"}, m.shell(`
				trap : `+signal+`; kill -`+signal+` $PPID; sleep 0.2
				git ls-remote ORIGIN/acme/web && exit 5`)...)...)
			testkit.Equal(t, r.code, 5)
			testkit.Contains(t, r.stdout, "refs/heads/main")
			m.revoked(2)
		})
	}
}

// Of another owner, with an App of its own: one token for its repository, however
// often git asks.
func TestGitInACommandUsesTheAppOfEachOwner(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	m := w.machine(t)
	other := w.github.AddApp(githubtest.AppOptions{Owner: "octo",
		Permissions: map[string]string{"contents": "read", "metadata": "read"}})
	key := testkit.Key(t)
	other.AddKey(&key.PublicKey)
	other.Install("octo", githubtest.InstallOptions{All: true})
	m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"), strings.NewReplacer("ORIGIN", m.server.URL, "ONE",
		w.app.ClientID, "OTHER", other.ClientID, "KEY", m.environ["GHAPP_KEY"]).Replace(`
apps:
  one: {app: ONE, key: KEY, host: 'ORIGIN', owners: [acme]}
  other: {app: OTHER, key: KEY, host: 'ORIGIN', owners: [octo]}
`))
	for _, name := range []string{"GHAPP_APP", "GHAPP_HOST"} {
		delete(m.environ, name)
	}
	delete(m.environ, "GHAPP_KEY")
	r := m.ghapp(append([]string{"exec", "acme/site"}, m.shell(`
		for i in 1 2 3; do git ls-remote ORIGIN/octo/lib >/dev/null || exit 1; done`)...)...)
	r.ends(t, 0)
	m.revoked(2)
}

// What nohup has switched off stays off, and so does what a shell's script switches off
// for what it runs in the background.
func TestIgnoredSignalStaysIgnored(t *testing.T) {
	t.Parallel()
	for _, signal := range []string{"HUP", "INT"} {
		t.Run(signal, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			cmd, out := m.command(append([]string{"exec", "acme/site"},
				m.shell(`kill -`+signal+` $$; kill -`+signal+` $PPID; sleep 0.2; exit 4`)...)...)
			cmd.Args = append([]string{"sh", "-c", `trap "" ` + signal + `; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
			_ = cmd.Run() // its exit code tells
			out.result(cmd).ends(t, 4)
			m.revoked(1)
		})
	}
}

// git in a long command gets another token when the first has expired.
func TestGitInALongCommandOutlivesItsToken(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.github.SetTokenLife(3 * time.Second)
	r := m.ghapp(append([]string{"exec", "acme/site"}, m.shell(`
		git ls-remote ORIGIN/acme/site >/dev/null && sleep 3.2 && git ls-remote ORIGIN/acme/site >/dev/null`)...)...)
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	m.revoked(2)
}

// A token so new that GitHub does not know it everywhere is revoked all the same.
func TestTokenOfAShortCommandIsRevoked(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.github.SetPropagationDelay(time.Second)
	m.must("exec", "acme/site", "--", "true")
	m.revoked(1)
}

// A terminal that is closed sends more than one hang-up: the shell's comes after the kernel's,
// and the command may have ended at the first.
func TestSignalDoesNotKeepTokensFromBeingRevoked(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "DELETE /installation/token", Delay: 2 * time.Second}))
	cmd, out := m.command("exec", "acme/site", "--", "sh", "-c", ": >ended")
	testkit.OK(t, cmd.Start())
	m.until("ended")
	time.Sleep(500 * time.Millisecond) // for the request that revokes
	testkit.OK(t, cmd.Process.Signal(syscall.SIGHUP))
	_ = cmd.Wait() // its exit code tells
	out.result(cmd).ends(t, 0)
	m.revoked(1)
}

func TestTokenThatCannotBeRevokedIsTold(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "DELETE /installation/token", Status: 403}))
	r := m.ghapp("exec", "acme/site", "--", "sh", "-c", "exit 3")
	r.ends(t, 3, "could not be revoked; it lives on until ")
	m.noSecretIn("stderr", r.stderr)
}

// The cache's tokens are others', who go on with them.
func TestTokensOfOthersAreNotRevoked(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	others := strings.TrimSpace(m.must("token", "acme/site").stdout)
	m.must(append([]string{"exec", "acme/site"}, m.shell(`git ls-remote ORIGIN/acme/site >/dev/null`)...)...)
	for _, token := range m.github.Tokens() {
		if token.Revoked == (token.Token == others) {
			t.Errorf("revoked: %t, the cache's: %t", token.Revoked, token.Token == others)
		}
	}
	testkit.Equal(t, m.github.Mints(), 2, "mints")
	testkit.Equal(t, strings.TrimSpace(m.must("token", "acme/site").stdout), others, "the cache has another token")
}

// Arguments are for every user to read, and the environment of git's own processes is
// the command's.
func TestNoTokenInArgumentsWhileTheCommandRuns(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.traffic.hold(0, isUploadPack("acme/site"))
	cmd, out := m.command(append([]string{"exec", "acme/site"}, m.shell(`git clone -q ORIGIN/acme/site`)...)...)
	testkit.OK(t, cmd.Start())
	stop.wait(t)
	processes := m.processes()
	if !slices.ContainsFunc(processes, func(p process) bool { return strings.HasSuffix(p.args[0], "git") }) {
		t.Errorf("only these run: %v", processes)
	}
	for _, p := range processes {
		m.noSecretIn("the arguments of "+p.String(), strings.Join(p.args, "\n"))
	}
	m.noSecretOnDisk()
	m.traffic.release()
	_ = cmd.Wait() // its exit code tells
	out.result(cmd).ends(t, 0)
	m.noSecretOnDisk()
	m.revoked(1)
}

// Where the App is installed is no secret, and known from before.
func TestExecLooksUpNothingThatIsKnown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("token", "acme/web")
	m.github.ResetRequests()
	m.must("exec", "acme/site", "--", "true")
	var calls []string
	for _, r := range m.requests() {
		calls = append(calls, r.Method)
	}
	testkit.Equal(t, strings.Join(calls, " "), "POST DELETE", "requests")
	if tokens := m.github.Tokens(); len(tokens) != 2 || tokens[0].Revoked || !tokens[1].Revoked {
		t.Errorf("tokens: %d", len(tokens))
	}
}

// What the command has left in the background is the user's, as what it starts anew:
// git asks as the configuration says, where there is one, and has no token of exec's.
func TestWhatGoesOnAfterExecUsesTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, configured := range map[string]bool{"with one": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			if configured {
				m.configured()
			}
			args := []string{"exec", "--app", m.environ["GHAPP_APP"], "--key", m.environ["GHAPP_KEY"], "--host",
				m.environ["GHAPP_HOST"], "acme/site"}
			cmd, out := m.plain("ghapp", append(args, m.shell(`
				{ until [ -e ended ]; do sleep 0.02; done
				git ls-remote ORIGIN/acme/site >late 2>words; echo $? >code.new; mv code.new code; } </dev/null >/dev/null 2>&1 &`)...)...)
			testkit.OK(t, cmd.Run(), "%s", out.stderr.String())
			m.revoked(1)
			m.write(filepath.Join(m.work, "ended"), "")
			code, words := m.until("code"), m.read("words")
			if configured {
				if code != "0\n" || !strings.Contains(m.read("late"), "refs/heads/main") {
					t.Errorf("git ended with %s\n%s", code, words)
				}
			} else if code != "128\n" || !strings.Contains(words, "terminal prompts disabled") {
				t.Errorf("git ended with %s\n%s", code, words)
			}
			testkit.Equal(t, m.github.Mints(), map[bool]int{true: 2, false: 1}[configured], "mints")
			m.allEnded(patience)
			m.noSecretOnDisk()
		})
	}
}
