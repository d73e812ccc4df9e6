package cli_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// installed is a machine with the helper in a directory of its own, beside a ghapp
// that counts how often it is started. The App is in the config file.
type installed struct {
	*machine
	bin    string
	config string
}

func newInstalled(t *testing.T) *installed {
	t.Helper()
	m := &installed{machine: newMachine(t)}
	m.bin, m.config = filepath.Join(m.root, "bin"), filepath.Join(m.home, ".config", "ghapp", "config.yaml")
	m.configured()
	// Written by another process: a child that is started meanwhile would hold a file
	// of ours open for writing, and such a one is not executed.
	script := exec.Command("sh", "-c", "mkdir \"$0\" && cat >\"$0/ghapp\" && chmod 755 \"$0/ghapp\"", m.bin)
	script.Stdin = strings.NewReader(fmt.Sprintf("#!/bin/sh\necho >>%s/started\nexec %s/ghapp \"$@\"\n", m.bin, binaries))
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Link(filepath.Join(binaries, "git-credential-ghapp"),
		filepath.Join(m.bin, "git-credential-ghapp")); err != nil {
		t.Fatal(err)
	}
	m.environ["PATH"] = m.bin + ":" + m.environ["PATH"]
	return m
}

// started is how often ghapp was.
func (m *installed) started() int {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.bin, "started"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return len(text)
}

// request is git's question for a repository.
func (m *installed) request(repository string) string {
	return fmt.Sprintf("protocol=http\nhost=%s\npath=%s.git\n", m.host, repository)
}

// ask runs the helper; its last argument is the operation.
func (m *installed) ask(request string, args ...string) result {
	m.t.Helper()
	cmd, out := m.plain("git-credential-ghapp", args...)
	cmd.Path, cmd.Stdin = filepath.Join(m.bin, "git-credential-ghapp"), strings.NewReader(request)
	_ = cmd.Run() // its exit code is in the result
	m.noSecretIn("the helper's words", out.stderr.String())
	return out.result(cmd)
}

// warm asks until the helper has the answer for acme/site from the files, and returns
// it.
func (m *installed) warm(args ...string) string {
	m.t.Helper()
	args = append(args, "get")
	first := m.ask(m.request("acme/site"), args...)
	m.agedCache() // a young token is asked about by ghapp
	// Once more where the configuration has just been written.
	for range 20 {
		before := m.started()
		answer := m.ask(m.request("acme/site"), args...)
		if answer != first || !strings.Contains(answer.stdout, "\npassword="+m.tokens()[0]+"\n") || answer.stderr != "" {
			m.t.Fatalf("ghapp answers %+v, and then the helper %+v", first, answer)
		}
		if m.started() == before {
			return answer.stdout
		}
	}
	m.t.Fatalf("ghapp was started %d times", m.started())
	return ""
}

// answers are the files with answers.
func (m *installed) answers() []string {
	m.t.Helper()
	files := testkit.Must(filepath.Glob(filepath.Join(m.cache, "ghapp", "answer-*")))(m.t)
	return files
}

func TestSecondFetchOfPlainGitStartsNoGhapp(t *testing.T) {
	t.Parallel()
	m := newInstalled(t)
	origin := "http://" + m.host
	m.gitConfig("credential."+origin+".helper", "ghapp")
	m.gitConfig("credential."+origin+".useHttpPath", "true")
	git := func(args ...string) {
		t.Helper()
		cmd, out := m.plain("git", args...)
		path := testkit.Must(exec.LookPath("git"))(t)
		cmd.Path = path
		cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0")
		testkit.OK(t, cmd.Run(), "git %q, %s", args, out.stderr.String())
	}
	git("clone", "-q", origin+"/acme/site")
	m.agedCache()
	for range 20 { // once more where the configuration has just been written
		before := m.started()
		if git("-C", "site", "fetch", "-q"); m.started() == before {
			break
		}
	}
	before, requests := m.started(), len(m.requests())
	for range 3 {
		git("-C", "site", "fetch", "-q")
	}
	if after := m.started(); after != before || before == 0 {
		t.Errorf("ghapp was started %d times, then %d", before, after-before)
	}
	asked := m.requests()[requests:]
	withToken := 0
	for _, r := range asked {
		if !strings.HasPrefix(r.UserAgent, "git/") || r.UserAgent == "git/ghapp" {
			t.Errorf("%s %s by %s", r.Method, r.Path, r.UserAgent)
		}
		if r.Credential.Token == m.tokens()[0] {
			withToken++
		}
	}
	if withToken < 3 || m.github.Mints() != 1 {
		t.Errorf("%d requests with the token, %d mints", withToken, m.github.Mints())
	}
	m.onlyOurs(4)
	m.noSecretOnDisk()
}

// The files answer what git says of the repository, with which flags, to which git.
func TestEachQuestionHasAnAnswerOfItsOwn(t *testing.T) {
	t.Parallel()
	m := newInstalled(t)
	plain := m.warm()
	before := m.started()
	for name, answer := range map[string]result{
		"another git": m.ask("capability[]=authtype\ncapability[]=state\n"+m.request("acme/site")+
			"wwwauth[]=Basic realm=\"GitHub\"\n", "get"),
		"a flag":      m.ask(m.request("acme/site"), "-q", "get"),
		"another one": m.ask(m.request("acme/web"), "get"),
	} {
		if answer.code != 0 || answer.stdout == "" || (answer.stdout == plain) != (name == "a flag") {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	testkit.Equal(t, m.started()-before, 3, "ghapp was started")
	testkit.Equal(t, len(m.answers()), 4, "there")
	testkit.Equal(t, m.warm(), plain, "the first is another by now")
	m.noSecretOnDisk()
}

// GitHub's git service has taken the token once, so nobody has to try it again.
func TestNewTokenThatIsSettledIsAnsweredWithoutGhapp(t *testing.T) {
	t.Parallel()
	m := newInstalled(t)
	begun := time.Now()
	for range 20 { // once more where the configuration has just been written
		if m.ask(m.request("acme/site"), "get"); len(m.answers()) > 0 {
			break
		}
	}
	if len(m.answers()) == 0 {
		t.Fatal("there is no answer")
	}
	before := m.started()
	r := m.ask(m.request("acme/site"), "get")
	if time.Since(begun) > 9*time.Second {
		t.Skip("on a machine that is so busy it is not young any more")
	}
	if !strings.Contains(r.stdout, m.tokens()[0]) || m.started() != before {
		t.Errorf("ghapp was started %d times: %+v", m.started()-before, r)
	}
}

// Whatever an answer rests on, when it changes ghapp decides.
func TestAnswerEndsWhenWhatItRestsOnChanges(t *testing.T) {
	t.Parallel()
	rewrite := func(m *installed, old, new string) {
		text, err := os.ReadFile(m.config)
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatalf("%s, %v", text, err)
		}
		m.write(m.config, strings.ReplaceAll(string(text), old, new))
	}
	remove := func(m *installed, path string) {
		testkit.OK(m.t, os.Remove(path))
	}
	const none, same, fresh = "no token", "the same token", "a new token"
	for name, tt := range map[string]struct {
		change func(m *installed)
		want   string
	}{
		"another owner's": {func(m *installed) { rewrite(m, "owners: [acme]", "owners: [octo]"); m.asOnly("octo") }, none},
		"other rights": {
			func(m *installed) { rewrite(m, "owners: [acme]", "owners: [acme], permissions: {contents: write}") }, none},
		"a word more":      {func(m *installed) { rewrite(m, "apps:", "# Ours.\napps:") }, same},
		"no configuration": {func(m *installed) { remove(m, m.config) }, none},
		"another key":      {func(m *installed) { m.write(m.environ["GHAPP_KEY"], string(m.otherKey())) }, none},
		"no key":           {func(m *installed) { remove(m, m.environ["GHAPP_KEY"]) }, none},
		"the key for all": {func(m *installed) {
			testkit.OK(m.t, os.Chmod(m.environ["GHAPP_KEY"], 0o644))
		}, same},
		"git says that it is refused": {func(m *installed) {
			m.ask(m.request("acme/site")+"username=x-access-token\npassword="+m.tokens()[0]+"\n", "erase")
		}, fresh},
		"another's was refused": {func(m *installed) {
			m.ask(m.request("acme/site")+"username=x-access-token\npassword=ghs_another\n", "erase")
		}, same},
		"the token is gone from the cache": {func(m *installed) {
			entries, err := filepath.Glob(filepath.Join(m.cache, "ghapp", "[0-9a-f]*"))
			if err != nil || len(entries) == 0 {
				m.t.Fatalf("no entries: %v", err)
			}
			for _, entry := range entries {
				remove(m, entry)
			}
		}, fresh},
		"others can enter the cache": {func(m *installed) {
			testkit.OK(m.t, os.Chmod(filepath.Join(m.cache, "ghapp"), 0o755))
		}, fresh},
		"others can read the answer": {func(m *installed) {
			for _, path := range m.answers() {
				testkit.OK(m.t, os.Chmod(path, 0o644))
			}
		}, same},
		"a pipe in its place": {func(m *installed) {
			for _, path := range m.answers() {
				remove(m, path)
				testkit.OK(m.t, syscall.Mkfifo(path, 0o600))
			}
		}, same},
		"half of it": {func(m *installed) {
			for _, path := range m.answers() {
				info, err := os.Stat(path)
				if err == nil {
					err = os.Truncate(path, info.Size()/2)
				}
				testkit.OK(m.t, err)
			}
		}, same},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newInstalled(t)
			m.warm()
			tt.change(m)
			before := m.started()
			r := m.ask(m.request("acme/site"), "get")
			testkit.Equal(t, m.started()-before, 1, "ghapp was started")
			_, rest, _ := strings.Cut(r.stdout, "password=")
			token, _, _ := strings.Cut(rest, "\n")
			got := none
			for i, minted := range m.tokens() {
				if token == minted {
					got = []string{same, fresh}[min(i, 1)]
				}
			}
			testkit.Equal(t, got, tt.want, "git is given, %+v", r)
			m.noSecretIn("the helper's words", r.stderr)
		})
	}
}

// asOnly adds a second App, so that the first is not for every owner by being the only
// one.
func (m *installed) asOnly(owner string) {
	m.t.Helper()
	text := testkit.Must(os.ReadFile(m.config))(m.t)
	m.write(m.config, string(text)+fmt.Sprintf("  other: {app: 99, key: %s, host: %q, owners: [other]}\n",
		m.environ["GHAPP_KEY"], m.environ["GHAPP_HOST"]))
}

func TestAnswerEndsWithItsCertificateAuthorities(t *testing.T) {
	t.Parallel()
	m := newInstalled(t)
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	authorities := filepath.Join(m.root, "ca.pem")
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	m.write(authorities, text)
	m.warm("--ca-file", authorities)
	m.write(authorities, text+"\n")
	before := m.started()
	if m.ask(m.request("acme/site"), "--ca-file", authorities, "get"); m.started() != before+1 {
		t.Error("ghapp was not started")
	}
}

func TestAnswerEndsWithThePreviousKey(t *testing.T) {
	t.Parallel()
	m := newInstalled(t)
	previous := filepath.Join(m.root, "previous.pem")
	m.write(previous, string(m.otherKey()))
	m.write(m.config, fmt.Sprintf("apps:\n  deploy: {app: %s, key: [%s, %s], host: %q}\n", m.environ["GHAPP_APP"],
		m.environ["GHAPP_KEY"], previous, m.environ["GHAPP_HOST"]))
	m.warm()
	testkit.OK(t, os.Remove(previous))
	before := m.started()
	if m.ask(m.request("acme/site"), "get"); m.started() != before+1 {
		t.Error("ghapp was not started")
	}
}

// otherKey is one that is not the App's.
func (m *installed) otherKey() []byte {
	m.t.Helper()
	key := testkit.NthKey(m.t, 1)
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// Where there is nothing to rest on, or nothing to keep it in, there is no answer, and
// ghapp is asked each time.
func TestNoAnswerIsKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare func(m *installed)
		args    []string
	}{
		"without a cache": {func(*installed) {}, []string{"--no-cache"}},
		"in a cache that others can enter": {func(m *installed) {
			dir := filepath.Join(m.cache, "ghapp")
			testkit.OK(m.t, errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o755)))
		}, nil},
		"for a key in a relative path": {func(*installed) {}, []string{"--key", "../app.pem"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newInstalled(t)
			tt.prepare(m)
			for want := 1; want <= 3; want++ {
				r := m.ask(m.request("acme/site"), append(tt.args, "get")...)
				testkit.Contains(t, r.stdout, "password=ghs_")
				testkit.Equal(t, m.started(), want)
				if aged, _ := filepath.Glob(filepath.Join(m.cache, "ghapp", "[0-9a-f]*")); len(aged) > 0 {
					m.agedCache()
				}
			}
			if left := m.answers(); len(left) > 0 {
				t.Errorf("there is %v", left)
			}
		})
	}
	t.Run("for a key in a variable", func(t *testing.T) {
		t.Parallel()
		m := newInstalled(t)
		m.keyInVariable(string(m.keyPEM))
		for range 2 {
			cmd, out := m.command("get")
			cmd.Path, cmd.Stdin = filepath.Join(m.bin, "git-credential-ghapp"), strings.NewReader(m.request("acme/site"))
			_ = cmd.Run()
			m.answered(cmd, out)
			m.agedCache()
		}
		if m.started() != 2 || len(m.answers()) > 0 {
			t.Errorf("ghapp was started %d times, and there is %v", m.started(), m.answers())
		}
		m.noSecretOnDisk()
		for _, file := range allFiles(t, m.cache) {
			testkit.Lacks(t, file, "PRIVATE KEY")
		}
	})
	t.Run("where not the helper asks", func(t *testing.T) {
		t.Parallel()
		m := newInstalled(t)
		cmd, out := m.plain("ghapp", "-q", "credential", "get")
		cmd.Stdin = strings.NewReader(m.request("acme/site"))
		_ = cmd.Run()
		m.answered(cmd, out)
		if left := m.answers(); len(left) > 0 {
			t.Errorf("there is %v", left)
		}
	})
	t.Run("without a token", func(t *testing.T) {
		t.Parallel()
		m := newInstalled(t)
		repository := m.github.AddRepository("octo/open", githubtest.RepositoryOptions{Public: true})
		testkit.Must(repository.Commit("main", "Begin", map[string]string{"name.txt": "open\n"}))(t)
		for _, name := range []string{"octo/open", "acme/hidden"} {
			r := m.ask("capability[]=authtype\n"+m.request(name)+"wwwauth[]=Basic\n", "get")
			if r.stdout == "" || strings.Contains(r.stdout, "ghs_") {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if left := m.answers(); len(left) > 0 {
			t.Errorf("there is %v", left)
		}
	})
}

// allFiles are the texts of all files below a directory.
func allFiles(t *testing.T, dir string) []string {
	t.Helper()
	var texts []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var text []byte
			text, err = os.ReadFile(path)
			texts = append(texts, string(text))
		}
		return err
	})
	if err != nil || len(texts) == 0 {
		t.Fatalf("%d files, %v", len(texts), err)
	}
	return texts
}

func TestFiftyHelpersAtOnceWithoutAnAgent(t *testing.T) {
	t.Parallel()
	m := newInstalled(t)
	together := func() {
		t.Helper()
		commands, outs := make([]*exec.Cmd, 50), make([]*outputs, 50)
		for i := range commands {
			commands[i], outs[i] = m.plain("git-credential-ghapp", "get")
			commands[i].Path, commands[i].Stdin = filepath.Join(m.bin, "git-credential-ghapp"),
				strings.NewReader(m.request("acme/site"))
			testkit.OK(t, commands[i].Start())
		}
		for i, cmd := range commands {
			_ = cmd.Wait() // its exit code is in the result
			m.answered(cmd, outs[i])
		}
	}
	together() // cold
	m.agedCache()
	together() // all of them keep the answer
	if len(m.answers()) != 1 || m.github.Mints() != 1 {
		t.Errorf("%d mints, and there is %v", m.github.Mints(), m.answers())
	}
	before := m.started()
	together()
	testkit.Equal(t, m.started()-before, 0, "ghapp was started")
	if left, err := filepath.Glob(filepath.Join(m.cache, "ghapp", "tmp-*")); len(left) > 0 || err != nil {
		t.Errorf("unfinished files: %v, %v", left, err)
	}
	m.noSecretOnDisk()
}

// No moment is safe by being short: at points spread over the whole time that it takes.
func TestHelperKilledAtAnyTimeLeavesAWholeAnswerOrNone(t *testing.T) {
	t.Parallel()
	const points = 16
	m := newInstalled(t)
	want := m.warm()
	start := func() *exec.Cmd {
		for _, path := range m.answers() {
			testkit.OK(t, os.Remove(path))
		}
		cmd, _ := m.plain("git-credential-ghapp", "get")
		cmd.Path, cmd.Stdin = filepath.Join(m.bin, "git-credential-ghapp"), strings.NewReader(m.request("acme/site"))
		testkit.OK(t, cmd.Start())
		return cmd
	}
	begun := time.Now()
	testkit.OK(t, start().Wait())
	whole := time.Since(begun)
	killed := 0
	for point := range points {
		begun := time.Now()
		cmd := start()
		time.Sleep(whole * time.Duration(point) / points)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			killed++
		} else {
			whole = min(whole, time.Since(begun)) // the machine is less busy by now
		}
		m.noSecretOnDisk()
		if got := m.ask(m.request("acme/site"), "get"); got.stdout != want || got.stderr != "" {
			t.Errorf("after %d/%d: %+v, want %q", point, points, got, want)
		}
	}
	if killed < points/4 {
		t.Errorf("%d of %d helpers were killed on their way", killed, points)
	}
}
