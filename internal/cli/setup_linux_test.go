package cli_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// newNewcomer returns a machine without an App, and with a program that opens browsers.
func newNewcomer(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	delete(m.environ, "GHAPP_APP")
	delete(m.environ, "GHAPP_KEY")
	testkit.OK(t, os.Remove(m.oldKey()))
	bin := filepath.Join(m.root, "bin")
	m.write(filepath.Join(bin, "xdg-open"), "#!/bin/sh\nenv >\"$HOME/opener-environ\"\n"+
		"printf '%s\\n' \"$#\" \"$@\" >\"$HOME/opened\"\n")
	if err := errors.Join(os.Chmod(filepath.Join(bin, "xdg-open"), 0o700),
		syscall.Mkfifo(filepath.Join(m.home, "opened"), 0o600)); err != nil {
		t.Fatal(err)
	}
	m.environ["PATH"] = bin + string(os.PathListSeparator) + m.environ["PATH"]
	m.environ["DISPLAY"] = ":0"
	return m
}

// oldKey is where the key of the App that is there would be.
func (m *machine) oldKey() string { return filepath.Join(m.root, "app.pem") }

// configPath is where the App is written to.
func (m *machine) configPath() string {
	return filepath.Join(m.home, ".config", "ghapp", "config.yaml")
}

// running is a setup that waits for a person.
type running struct {
	m     *machine
	cmd   *exec.Cmd
	out   *outputs
	stdin io.WriteCloser
	page  string // the address of its pages
	lines *lines // of standard error
}

// lines are what a program has printed so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until a text was printed.
func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	for late := time.After(patience); !strings.Contains(l.String(), text); {
		select {
		case <-l.more:
		case <-late:
			t.Fatalf("%q was not printed:\n%s", text, l)
		}
	}
}

func (m *machine) startSetup(args ...string) *running {
	m.t.Helper()
	cmd, out := m.command(append([]string{"setup"}, args...)...)
	r := &running{m: m, cmd: cmd, out: out, lines: &lines{more: make(chan struct{}, 1)}}
	cmd.Stderr = io.MultiWriter(&out.stderr, r.lines)
	var err error
	if r.stdin, err = cmd.StdinPipe(); err != nil {
		m.t.Fatal(err)
	}
	testkit.OK(m.t, cmd.Start())
	return r
}

// setup starts ghapp setup and waits until a browser is opened.
func (m *machine) setup(args ...string) *running {
	m.t.Helper()
	r := m.startSetup(args...)
	opened := make(chan []string, 1)
	go func() {
		text, _ := os.ReadFile(filepath.Join(m.home, "opened")) // ends when the opener has
		opened <- strings.Fields(string(text))
	}()
	select {
	case argv := <-opened:
		if len(argv) != 2 || argv[0] != "1" || !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/$`).MatchString(argv[1]) {
			m.t.Fatalf("the browser was opened with %q", argv)
		}
		r.page = strings.TrimSuffix(argv[1], "/")
	case <-time.After(patience):
		m.t.Fatalf("no browser was opened:\n%s", r.lines)
	}
	return r
}

// result waits for the end.
func (r *running) result() result {
	r.m.t.Helper()
	err := r.cmd.Wait()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		r.m.t.Fatal(err)
	}
	return r.out.result(r.cmd)
}

// person uses a browser without JavaScript.
type person struct {
	t      *testing.T
	client *http.Client
	at     *url.URL // the page that is shown
	text   string
	status int
}

func newPerson(t *testing.T) *person {
	t.Helper()
	jar := testkit.Must(cookiejar.New(nil))(t)
	p := &person{t: t, client: &http.Client{Jar: jar, Timeout: patience}}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *person) do(method, address string, form url.Values) {
	p.t.Helper()
	r := testkit.Must(http.NewRequestWithContext(p.t.Context(), method, address, strings.NewReader(form.Encode())))(p.t)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer := testkit.Must(p.client.Do(r))(p.t)
	defer answer.Body.Close()
	text := testkit.Must(io.ReadAll(answer.Body))(p.t)
	p.at, p.text, p.status = answer.Request.URL, string(text), answer.StatusCode
}

func (p *person) open(address string) {
	p.t.Helper()
	p.do(http.MethodGet, address, nil)
}

var (
	formPattern  = regexp.MustCompile(`(?s)<form method="post"(?: action="([^"]*)")?>(.*?)</form>`)
	inputPattern = regexp.MustCompile(`<input ([^>]*)>`)
	attribute    = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// press presses the button of a page's form, after changes to what is filled in.
func (p *person) press(changes ...string) {
	p.t.Helper()
	form := formPattern.FindStringSubmatch(p.text)
	if form == nil {
		p.t.Fatalf("no form on %s:\n%s", p.at, p.text)
	}
	values := url.Values{}
	for _, input := range inputPattern.FindAllStringSubmatch(form[2], -1) {
		attributes := map[string]string{}
		for _, a := range attribute.FindAllStringSubmatch(input[1], -1) {
			attributes[a[1]] = html.UnescapeString(a[2])
		}
		choice := attributes["type"] == "radio" || attributes["type"] == "checkbox"
		if !choice || strings.HasSuffix(input[1], " checked") {
			values.Set(attributes["name"], attributes["value"])
		}
	}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		values.Set(name, value)
	}
	action := testkit.Must(p.at.Parse(html.UnescapeString(form[1])))(p.t)
	p.do(http.MethodPost, action.String(), values)
}

var refreshPattern = regexp.MustCompile(`<meta http-equiv="refresh" content="\d+; url=([^"]*)">`)

// refresh lets the page ask again by itself, as a browser does, until it does not.
func (p *person) refresh() {
	p.t.Helper()
	for {
		match := refreshPattern.FindStringSubmatch(p.text)
		if match == nil {
			return
		}
		next := testkit.Must(p.at.Parse(html.UnescapeString(match[1])))(p.t)
		p.open(next.String())
	}
}

// create goes from the first page to that of the installation.
func (p *person) create(r *running) {
	p.t.Helper()
	p.open(r.page + "/")
	p.press() // on this machine's page; a browser with JavaScript does it by itself
	p.press() // Create GitHub App
	if !strings.Contains(p.text, ">Install</button>") {
		p.t.Fatalf("after the App was created, on %s:\n%s", p.at, p.text)
	}
}

// secretsOfTheWay are the codes and the states of the requests so far.
func (m *machine) secretsOfTheWay() []string {
	var list []string
	for _, r := range m.requests() {
		if _, rest, ok := strings.Cut(r.Path, "/app-manifests/"); ok {
			list = append(list, strings.TrimSuffix(rest, "/conversions"))
		}
		if query, err := url.ParseQuery(r.Query); err == nil && query.Get("state") != "" {
			list = append(list, query.Get("state"))
		}
	}
	return list
}

// asked is how often the installations were asked for.
func (m *machine) asked() int {
	n := 0
	for _, r := range m.requests() {
		if strings.HasSuffix(r.Path, "/app/installations") {
			n++
		}
	}
	return n
}

func TestSetupFromNothingToAClone(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	r := m.setup("--org", "acme", "--name", "Acme Deployer", "-v")
	p.create(r)
	// An installation elsewhere is not the one that is waited for.
	testkit.OK(t, m.github.Script("install acme-deployer octo all"))
	for asked, end := m.asked(), time.Now().Add(patience); m.asked() < asked+2 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	p.press("install_target=selected", "repository=acme/site")
	if !strings.HasPrefix(p.at.String(), r.page+"/installed?") {
		t.Errorf("after the installation the browser is on %s", p.at)
	}
	p.refresh()
	testkit.Contains(t, p.text, "Acme Deployer is ready", "ghapp clone acme/site")
	done := r.result()
	if done.code != 0 {
		t.Fatalf("exit code %d\n%s", done.code, done.stderr)
	}
	for _, text := range []string{
		"The App Acme Deployer of acme has its key in " + filepath.Join(m.home, ".config/ghapp/acme-deployer.pem"),
		"It is installed on acme, for selected repositories. The config file is " + m.configPath(),
		"git ls-remote of acme/site works: 3 references.", "ghapp clone acme/site",
	} {
		testkit.Contains(t, done.stderr, text)
	}

	text := testkit.Must(os.ReadFile(m.configPath()))(t)
	want := regexp.MustCompile(`^apps:
  acme-deployer:
    app: Iv23li\w{14}
    key: acme-deployer.pem
    host: ` + regexp.QuoteMeta(m.server.URL) + `
    owners: \[acme\]
$`)
	if !want.Match(text) {
		t.Errorf("the config file:\n%s", text)
	}
	for _, path := range []string{m.configPath(), filepath.Join(filepath.Dir(m.configPath()), "acme-deployer.pem")} {
		testkit.Equal(t, testkit.Must(os.Stat(path))(t).Mode().Perm(), 0o600, "%s", path)
	}

	// No token, no code, no state and no client secret is told or left.
	way := m.secretsOfTheWay()
	if len(way) < 2 {
		t.Fatalf("there is nothing to look for: %q", way)
	}
	m.noSecretOnDisk()
	key := testkit.Must(os.ReadFile(filepath.Join(filepath.Dir(m.configPath()), "acme-deployer.pem")))(t)
	secrets := append(m.tokens(), way...)
	secrets = append(secrets, strings.Split(string(key), "\n")[3])
	testkit.Equal(t, search([]byte(done.stdout+done.stderr), secrets), "", "a secret was told, %s", done.stderr)
	environ := testkit.Must(os.ReadFile(filepath.Join(m.home, "opener-environ")))(t)
	testkit.Lacks(t, string(environ), "GHAPP_")
	_ = filepath.WalkDir(m.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if text, _ := os.ReadFile(path); search(text, way) != "" {
				t.Errorf("the code or the state is in %s", path)
			}
		}
		return nil
	})

	// And nothing else is needed.
	delete(m.environ, "GHAPP_HOST")
	m.must("clone", "acme/site")
	testkit.Equal(t, m.read("site/main.txt"), "main\n", "the clone")
	if r := m.ghapp("token", "acme/web"); r.code == 0 {
		t.Error("a token for a repository that was not selected")
	}
}

// An App that nobody has installed is not lost, and not made twice.
func TestSetupGoesOnWithTheInstallation(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	r := m.setup("--org", "acme")
	p.create(r)
	r.lines.await(t, "Waiting until it is installed")
	testkit.OK(t, r.cmd.Process.Signal(syscall.SIGINT))
	r.result().ends(t, 130, "To go on with its installation: ghapp setup")
	before := testkit.Must(os.ReadFile(m.configPath()))(t)

	r = m.setup("--json")
	second := newPerson(t)
	second.open(r.page + "/")
	testkit.Contains(t, second.text, "Waiting for GitHub", `target="_blank"`)
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p.press("install_target=all") // on GitHub's page, which sends the browser to the port of the first time
	second.refresh()
	done := r.result()
	if done.code != 0 || !strings.Contains(done.stderr, "is not installed yet: going on with that") ||
		!strings.Contains(done.stdout, `"repository": "acme/`) {
		t.Errorf("exit code %d\n%s%s", done.code, done.stdout, done.stderr)
	}
	after := testkit.Must(os.ReadFile(m.configPath()))(t)
	testkit.Equal(t, string(after), string(before))
}

// One that is installed is not gone on with: another App is made beside it.
func TestSetupAddsAnAppToTheConfiguration(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	m.write(m.oldKey(), string(m.keyPEM))
	m.write(m.configPath(), fmt.Sprintf("# Ours.\napps:\n  deployer:   # the first\n    app: 1234\n    key: %s\n"+
		"    host: %s\n    owners: [acme]\n\n# The end.\n", m.oldKey(), m.server.URL))
	m.write(filepath.Join(filepath.Dir(m.configPath()), "second-2.pem"), "another's\n")
	r := m.setup("--org", "acme", "--name", "Deployer") // which is taken, and changed on GitHub's page
	p.open(r.page + "/")
	p.press()
	testkit.Contains(t, p.text, "Name is already taken")
	p.press("name=Second")
	p.press("install_target=all")
	p.refresh()
	if done := r.result(); done.code != 0 {
		t.Fatalf("exit code %d\n%s", done.code, done.stderr)
	}
	text, err := os.ReadFile(m.configPath())
	testkit.OK(t, err)
	// The owner stays with the App that has it.
	for _, part := range []string{"# Ours.\napps:\n  deployer:   # the first\n",
		"owners: [acme]\n  second:\n    app: Iv23li", "    key: second.pem\n", "\n\n# The end.\n"} {
		testkit.Contains(t, string(text), part)
	}
	if strings.Count(string(text), "owners:") != 1 {
		t.Errorf("two Apps have the owner:\n%s", text)
	}
	m.must("token", "acme/web", "--app", "second")

	// The same name once more gets a number that is free, for the key as well.
	r = m.setup("--user", "--name", "SECOND!", "--port", "0")
	p = newPerson(t)
	p.open(r.page + "/")
	p.press()
	p.press("name=second (2)")
	r.lines.await(t, "Waiting until it is installed")
	if text, err = os.ReadFile(m.configPath()); err != nil || !strings.Contains(string(text), "second-2-2:\n    app: ") {
		t.Errorf("%v\n%s", err, text)
	}
	if kept, err := os.ReadFile(filepath.Join(filepath.Dir(m.configPath()), "second-2.pem")); err != nil ||
		string(kept) != "another's\n" {
		t.Errorf("the key of another App has become %q, %v", kept, err)
	}
	testkit.OK(t, r.cmd.Process.Kill())
	_ = r.cmd.Wait() // it was killed
}

// Whoever answers for somebody else can only answer with an App of his own.
func TestSetupRefusesAnAppOfAnotherOwner(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	r := m.setup("--org", "acme")
	p.open(r.page + "/")
	p.text = strings.Replace(p.text, "/organizations/acme/settings/", "/settings/", 1)
	p.press()
	p.press()
	testkit.Contains(t, p.text, "belongs to octocat, and not to acme")
	done := r.result()
	done.ends(t, 4, "belongs to octocat, and not to acme; nothing of it was kept")
	m.nothingKept()
}

// nothingKept fails if there is an App or a key.
func (m *machine) nothingKept() {
	m.t.Helper()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(m.configPath()), "*"))
	hidden, err2 := filepath.Glob(filepath.Join(filepath.Dir(m.configPath()), ".*"))
	if left = append(left, hidden...); len(left) > 0 || err != nil || err2 != nil {
		m.t.Errorf("there is %q (%v, %v)", left, err, err2)
	}
}

func TestSetupSaysWhatToDoWhenGitHubRefusesTheCode(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault string
		code  int
		says  string
	}{
		"that it does not know": {"status=404", 4, `GitHub answered 404`},
		"since it is broken":    {"status=422", 4, `GitHub answered 422`},
		"with an empty answer":  {`status=201 body='{"id":1}'`, 5, "holds no private key"},
		"with a key that is none": {`status=201 body='{"id":1,"owner":{"login":"acme"},"pem":"nothing"}'`, 3,
			"cannot use the private key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, p := newNewcomer(t), newPerson(t)
			testkit.OK(t, m.github.Script("fault POST /app-manifests/*/conversions "+test.fault))
			r := m.setup("--org", "acme")
			p.open(r.page + "/")
			p.press()
			p.press()
			testkit.Contains(t, p.text, "The setup has stopped")
			done := r.result()
			testkit.Equal(t, done.code, test.code)
			testkit.Contains(t, done.stderr, test.says)
			testkit.Equal(t, search([]byte(done.stderr), m.secretsOfTheWay()), "", "a secret was told")
			m.nothingKept()
		})
	}
}

var pagePattern = regexp.MustCompile(`(?m)^  (http://127\.0\.0\.1:(\d+))/$`)

func TestSetupWithoutABrowser(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"that was told so": {"--no-browser"}, "that has no screen": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, p := newNewcomer(t), newPerson(t)
			m.environ["USER"] = "ada"
			if args == nil {
				delete(m.environ, "DISPLAY")
			}
			r := m.startSetup(append(args, "--user", "-q")...)
			r.lines.await(t, "ssh -L")
			match := pagePattern.FindStringSubmatch(r.lines.String())
			if match == nil || !regexp.MustCompile(`ssh -L `+match[2]+`:127\.0\.0\.1:`+match[2]+
				` ada@`).MatchString(r.lines.String()) {
				t.Fatalf("no address was told:\n%s", r.lines)
			}
			r.page = match[1]
			p.create(r)
			m.github.AddRepository("octocat/hello", githubtest.RepositoryOptions{})
			p.open(p.at.String())
			p.press("install_target=all")
			p.refresh()
			r.result().ends(t, 0)
			if _, err := os.Stat(filepath.Join(m.home, "opener-environ")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a browser was opened: %v", err)
			}
		})
	}
}

// A browser that cannot come back leaves the person with an address to paste. Its
// state is looked at there as well.
func TestSetupTakesAnAddressThatIsPasted(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	r := m.startSetup("--org", "acme", "--no-browser")
	r.lines.await(t, "paste the address")
	r.page = pagePattern.FindStringSubmatch(r.lines.String())[1]
	p.client.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(next.URL.String(), r.page) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	p.open(r.page + "/")
	p.press()
	var pasted string
	p.client.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		pasted = next.URL.String()
		return http.ErrUseLastResponse
	}
	p.press()
	if !strings.HasPrefix(pasted, r.page+"/created?code=") {
		t.Fatalf("GitHub leads to %q", pasted)
	}
	forged := regexp.MustCompile(`state=\w+`).ReplaceAllString(pasted, "state=FORGED")
	testkit.Must(fmt.Fprintf(r.stdin, "\n%s\n", forged))(t)
	r.lines.await(t, "the state is not one of this setup")
	m.nothingKept()
	testkit.Must(fmt.Fprintf(r.stdin, "%s\n", pasted))(t)
	r.lines.await(t, "Waiting until it is installed")
	page := bufio.NewScanner(strings.NewReader(r.lines.String()))
	for page.Scan() {
		if _, address, ok := strings.Cut(page.Text(), "Waiting until it is installed: "); ok {
			p.client.CheckRedirect = nil
			p.open(address)
		}
	}
	p.press("install_target=all")
	p.refresh()
	r.result().ends(t, 0)
}

// The key is there once: it stays although the config file cannot be written.
func TestSetupKeepsTheKeyWhenItCannotWriteTheConfigFile(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	r := m.setup("--org", "acme", "--name", "Kept")
	m.write(m.configPath(), "apps: [\n")
	p.open(r.page + "/")
	p.press()
	p.press()
	testkit.Contains(t, p.text, "The setup has stopped", "kept.pem")
	done := r.result()
	hint := regexp.MustCompile(
		`hint: then run ghapp (setup import --app Iv23li\w+ --key (\S+kept\.pem))\n`).FindStringSubmatch(done.stderr)
	if done.code != 3 || !strings.Contains(done.stderr, "the file is not YAML") || hint == nil {
		t.Fatalf("exit code %d\n%s", done.code, done.stderr)
	}
	m.write(m.configPath(), "apps:\n")
	testkit.Contains(t, m.must(strings.Fields(hint[1])...).stderr, "The key belongs to Kept")
	if text, err := os.ReadFile(m.configPath()); err != nil || !strings.Contains(string(text), "    key: kept.pem\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestSetupThatIsInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	m := newNewcomer(t)
	r := m.setup()
	testkit.OK(t, r.cmd.Process.Signal(syscall.SIGINT))
	r.result().ends(t, 130, "Nothing was set up.")
	m.nothingKept()
}

// A variable of the environment would hide what was just written.
func TestSetupWarnsOfVariablesThatGoBeforeIt(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	m.write(m.oldKey(), string(m.keyPEM))
	m.environ["GHAPP_APP"], m.environ["GHAPP_KEY"] = "1234", m.oldKey()
	r := m.setup("--org", "acme", "--permissions", "contents:write")
	p.create(r)
	p.press("install_target=all")
	p.refresh()
	done := r.result()
	for _, text := range []string{"GHAPP_APP is set, and goes before the config file", "GHAPP_KEY is set",
		"permissions: {contents: write}\nunder apps."} {
		testkit.Equal(t, done.code, 0)
		testkit.Contains(t, done.stderr, text)
	}
	if key, err := os.ReadFile(m.oldKey()); err != nil || !slices.Equal(key, m.keyPEM) {
		t.Errorf("the other App's key: %v", err)
	}
}

// A key on a terminal is moved when the person says so, and not otherwise.
func TestImportAsksBeforeItMovesAKey(t *testing.T) {
	t.Parallel()
	for answer, code := range map[string]int{"\n": 0, "y\n": 0, "n\n": 3, "\x04": 3} {
		t.Run(fmt.Sprintf("%q", answer), func(t *testing.T) {
			t.Parallel()
			m := newNewcomer(t)
			open := filepath.Join(m.work, "open.pem")
			m.write(open, string(m.keyPEM))
			testkit.OK(t, os.Chmod(open, 0o644))
			term := m.terminal("setup", "import", "--app", "1234", "--key", open)
			if _, err := io.WriteString(term.master, answer); err != nil { // it waits in the terminal
				t.Fatal(err)
			}
			shown, got := term.wait()
			testkit.Equal(t, got, code)
			testkit.Contains(t, shown, "where only you can read it? [Y/n]")
			_, err := os.Stat(open)
			testkit.Equal(t, err == nil, (code != 0), "the key is there")
			if code != 0 {
				m.nothingKept()
			}
		})
	}
}
