package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// newSilent is a receiver that takes what it is sent and answers when it is told to.
func newSilent(t *testing.T, release <-chan struct{}) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// keeping makes a config file with directories to keep.
func (m *machine) keeping(entries string) {
	m.environ["GHAPP_CONFIG"] = filepath.Join(m.root, "sync.yaml")
	m.write(m.environ["GHAPP_CONFIG"], "sync:\n"+entries)
}

func TestSyncSaysWhatIsWrongWithACommandLine(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.keeping("  a: {repository: acme/site, to: a}\n")
	taken := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer taken.Close()
	m.environ["GHAPP_SYNC_SECRET"] = wishSecret
	one := func(args ...string) []string { return append([]string{"acme/site", "--to", "x"}, args...) }
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"acme/site"}, 2, "--to DIR is missing"},
		{[]string{"acme/site", "acme/web", "--to", "x"}, 2, "one repository"},
		{[]string{"nobody"}, 2, "a repository is written owner/name"},
		{[]string{"a", "--to", "x"}, 2, "--to is for a repository"},
		{[]string{"--all", "a"}, 2, "--all stands in the place"},
		{one("--branch", "a", "--tag", "b"), 2, "more than one of branch, tag"},
		{one("--branch", ""), 2, "--branch is empty"},
		{one("--check", ""), 2, "--check is empty"},
		{one("--mode", "copy"), 2, "--mode takes link or dir"},
		{one("--keep", "-1"), 2, "--keep takes a number"},
		{one("--depth", "0"), 2, "--depth takes a number"},
		{one("--exec-tries", "-2"), 2, "--exec-tries takes a number"},
		{one("--check-timeout", "-5s"), 2, "--check-timeout takes a time"},
		{one("--watch", "--period", "1ns"), 2, "--period takes a time"},
		{one("--watch", "--jobs", "0"), 2, "--jobs takes a number"},
		{one("--watch", "--force"), 2, "--force is for one pass"},
		{one("--watch", "--log-format", "xml"), 2, "--log-format"},
		{one("--webhook", ":1"), 2, "--webhook is for --watch"},
		{one("--status", ":1"), 2, "--status is for --watch"},
		{one("--notify", "https://x.test/"), 2, "--notify is for --watch"},
		{one("--period", "5m"), 2, "--period is for --watch"},
		{[]string{"acme/site", "--to", "/"}, 3, "no absolute path of a directory that can be kept"},
		{one("--sparse", "../x"), 3, "no path in a repository"},
		{one("--watch", "--status", taken.Addr().String()), 5, "that is free"},
		{one("--watch", "--webhook", taken.Addr().String()), 5, "that is free"},
		{one("--watch", "--status", "nonsense"), 3, "give an address"},
		{one("--watch", "--webhook-secret-file", "x", "--webhook", ":1"), 3, "read a secret"},
		{[]string{"rollback", "a"}, 2, "nothing has been published yet"},
		{[]string{"rollback", filepath.Base(m.work)}, 2, "the config file has no directory"},
		{[]string{"rollback", theirs}, 2, "a path has a slash in it: ./" + theirs},
		{[]string{"resume", "./not/there"}, 2, "there is nothing at"},
	} {
		r := m.ghapp(append([]string{"sync"}, test.args...)...)
		if r.code != test.code || !strings.Contains(r.stderr, test.says) {
			t.Errorf("%q: exit code %d, want %d and %q\n%s", test.args, r.code, test.code, test.says, r.stderr)
		}
	}
	if sent := m.github.Mints(); sent > 0 {
		t.Errorf("%d tokens were minted for that", sent)
	}
}

func TestDirectoriesThatLieInEachOtherAreRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	testkit.OK(t, os.Symlink(m.work, filepath.Join(m.root, "other")))
	for _, test := range []struct{ first, second, says string }{
		{m.work + "/a", m.root + "/other/a", "keep one directory"},
		{m.work + "/a", m.root + "/other/./b/../a/", "keep one directory"},
		{m.work + "/a", m.root + "/other/a/b", "lies in what sync.one keeps"},
		{m.work + "/a/not/there/yet", m.root + "/other/a", "lies in what sync.two keeps"},
		{m.work + "/a", m.work + "/.a.ghapp/b", "lies in what sync.one keeps"},
		{m.work + "/a", m.work + "/ab", ""},
	} {
		m.keeping(fmt.Sprintf("  one: {repository: acme/site, to: %s}\n  two: {repository: acme/web, to: %s}\n",
			test.first, test.second))
		r := m.ghapp("sync", "--all")
		if want := map[bool]int{true: 0, false: 3}[test.says == ""]; r.code != want ||
			!strings.Contains(r.stderr, test.says) {
			t.Errorf("%s and %s: exit code %d\n%s", test.first, test.second, r.code, r.stderr)
		}
	}
}

// A directory is the same, however it is written.
func TestDirectoryIsFoundByEveryWayToWriteIt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	testkit.OK(t, os.Symlink(m.work, filepath.Join(m.root, "other")))
	for i, dir := range []string{"site", "./site/", m.work + "//site", "../pwd/site", m.root + "/other/site"} {
		r := m.must("sync", "acme/site", "--to", dir)
		testkit.Equal(t, !strings.Contains(r.stderr, "nothing is new"), (i == 0), "%s: %s", dir, r.stderr)
		if dir != "site" {
			m.must("sync", "status", dir)
		}
	}
}

// A name may have a dot in it, and a path that the config file names is what that says.
func TestNameAndPathOfTheConfigFileAreOneDirectory(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.keeping("  example.com: {repository: acme/site, branch: deployment, to: pwd/www, exec: " +
		"'cat deployment.txt >>../../../told'}\n")
	m.must("sync", "example.com")
	m.pushes("2")
	m.must("sync", "--all")
	for _, args := range [][]string{nil, {"example.com"}, {"./www"}, {m.work + "/www/"}} {
		if r := m.must(append([]string{"sync", "status"}, args...)...); !strings.Contains(r.stdout, "example.com") ||
			!strings.Contains(r.stdout, "published") {
			t.Errorf("%q: %s", args, r.stdout)
		}
	}
	m.must("sync", "rollback", "./www")
	testkit.Equal(t, m.read("told"), "deployment\n2deployment\n", "the command was not run for a rollback by the path")
	m.must("sync", "resume", "example.com")
	m.must("sync", "rollback", "example.com", "--to", m.latest("www"))
	// A file with a mistake in it keeps nobody from rolling back.
	m.write(m.environ["GHAPP_CONFIG"], "sync: [\n")
	m.must("sync", "rollback", "./www")
}

// latest is the name of the newest release of a directory.
func (m *machine) latest(dir string) string {
	m.t.Helper()
	list, err := os.ReadDir(filepath.Join(m.work, "."+dir+".ghapp/releases"))
	if err != nil || len(list) == 0 {
		m.t.Fatal(err)
	}
	return list[len(list)-1].Name()
}

// A directory may have any name; a monitoring system reads it all the same.
func TestMetricsOfADirectoryWithAnyName(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.syncs("acme/site", "--to", "a \"b\" {c=\"}\",\\ \t\u200b\n\xff", "--status", "[::1]:0")
	address, _ := s.says("watching")["status"].(string)
	s.says("up to date")
	status, text := m.get(address, "/metrics")
	metric := regexp.MustCompile(`^[a-z_]+(\{([a-zA-Z_]+="([^"\\\n]|\\[\\"n])*",? ?)*\})? [-+0-9.e]+\n$`)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !metric.MatchString(line) {
			t.Errorf("%q is no metric", line)
		}
	}
	if want := `{name="a \"b\" {c=\"}\",\\ ` + "\t\u200b" + `\n` + "\uFFFD" +
		`",outcome="published"} 1`; status != http.StatusOK || !strings.Contains(text, want) {
		t.Errorf("%d, without %s:\n%s", status, want, text)
	}
	s.ends()
}

// That the command after a release has failed leaves the release published. It is tried
// again until it succeeds, and until then the directory is not well.
func TestFailedCommandAfterAReleaseIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	notices := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		notices <- string(text)
	}))
	defer receiver.Close()
	told := func(want string) {
		t.Helper()
		select {
		case notice := <-notices:
			testkit.Contains(t, notice, want)
			testkit.Lacks(t, notice, "stays as it was")
		case <-time.After(patience):
			t.Error("the receiver is told nothing")
		}
	}
	m.environ["GHAPP_SYNC_NOTIFY_URL"] = receiver.URL
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "100ms", "--status", "127.0.0.1:0",
		"--exec", "echo trying; test -e ../../../well", "-v")
	address, _ := s.says("watching")["status"].(string)
	failed := s.says("published, but the command after it failed")
	if !strings.Contains(fmt.Sprint(failed["error"]), "test -e ../../../well") {
		t.Errorf("%v", failed)
	}
	m.shows("site/deployment.txt", "deployment")
	told(`"exec-failed"`)
	eventually(t, patience, func() string {
		if strings.Count(s.log(), `"trying"`) < 3 {
			return "it is not tried again"
		}
		return ""
	})
	r := m.ghapp("sync", "status", "./site")
	testkit.Equal(t, r.code, 1)
	testkit.Contains(t, r.stdout, "published, but the command after it failed")
	labels := `{name="site",repository="acme/site"} `
	for _, want := range []string{"ghapp_sync_exec_failed" + labels + "1\n",
		"ghapp_sync_last_success_timestamp_seconds" + labels + "0\n", "ghapp_sync_published" + labels + "1\n"} {
		if status, text := m.get(address, "/metrics"); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d, without %s\n%s", status, want, text)
		}
	}
	// The page tells whoever reaches it no command line, and nothing that a command has printed.
	page := func(parts ...string) {
		t.Helper()
		status, text := m.get(address, "/")
		testkit.Equal(t, status, http.StatusOK)
		testkit.Contains(t, text, parts...)
		testkit.Lacks(t, text, "test -e", "trying")
	}
	page("The directory is failing", "<p class=\"what\">the release is published, but the command after it failed: "+
		"exit status 1</p>",
		"it is tried again until it succeeds", "1 release kept")
	m.write(filepath.Join(m.work, "well"), "")
	s.says("well again")
	told(`"recovered"`)
	page("The directory is up to date")
	if status, text := m.get(address, "/metrics"); status != http.StatusOK ||
		!strings.Contains(text, "ghapp_sync_exec_failed"+labels+"0\n") {
		t.Errorf("%d\n%s", status, text)
	}
	m.must("sync", "status", "./site")
	s.ends()
	testkit.Lacks(t, s.log(), "the directory stays as it was")
}

// cron runs one pass a minute: each says that the command has failed, until it is well.
func TestPassesSayThatTheCommandAfterAReleaseHasFailed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	pass := func(line string) result {
		return m.ghapp("sync", "acme/site", "--branch", "deployment", "--to", "site", "--exec", line)
	}
	waits := "exit status 3 (it has failed once, and is tried again from 2"
	for turn, want := range []string{`exec "echo no >&2; exit 3"`, waits} {
		r := pass("echo no >&2; exit 3")
		if r.code != 1 || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "no\n") != 1-turn {
			t.Errorf("exit code %d, want 1 and %q\n%s", r.code, want, r.stderr)
		}
		if turn == 1 && !strings.Contains(r.stderr, "at once with --force") {
			t.Errorf("it does not say what runs it at once:\n%s", r.stderr)
		}
	}
	if r := m.ghapp("sync", "status", "./site", "--json"); r.code != 1 ||
		!strings.Contains(r.stdout, `"exec_failures": 1`) {
		t.Errorf("exit code %d\n%s", r.code, r.stdout)
	}
}

// A command that is another one now has not failed: it runs at once, and its failures are its own.
func TestAnotherCommandAfterAReleaseDoesNotWaitForTheOneThatFailed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	pass := func(line string) result {
		return m.ghapp("sync", "acme/site", "--branch", "deployment", "--to", "site", "--exec", line)
	}
	if r := pass("echo first; exit 3"); r.code != 1 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	pass("echo second; exit 4").ends(t, 1, "second\n")
	pass("echo second; exit 4").ends(t, 1, "exit status 4 (it has failed once, ")
	pass("echo third").ends(t, 0, "third\n")
}

// What the README promises of --exec 'echo …' is seen by whoever tries it.
func TestOutputOfTheCommandAfterAReleaseIsShown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := m.must("sync", "acme/site", "--branch", "deployment", "--to", "site", "--exec",
		`printf 'at %s\n\033[31m' "$GHAPP_REF"`)
	testkit.Contains(t, r.stderr, "at refs/heads/deployment\n")
	testkit.Lacks(t, r.stderr, "\033")
	m.pushes("2")
	if r := m.must("sync", "acme/site", "--branch", "deployment", "--to", "site", "--exec", "echo loud",
		"-q"); strings.Contains(r.stderr, "loud") {
		t.Errorf("%q", r.stderr)
	}
	m.pushes("3")
	if r := m.must("sync", "acme/site", "--branch", "deployment", "--to", "site", "--exec", "echo loud",
		"-v"); strings.Count(r.stderr, "loud") != 1 {
		t.Errorf("%q", r.stderr)
	}
	m.keeping("  site: {repository: acme/site, branch: deployment, to: '" + filepath.Join(m.work, "site") +
		"', exec: 'echo back at $GHAPP_RELEASE'}\n")
	if r := m.must("sync", "rollback", "site"); strings.Count(r.stderr, "back at 00000") != 1 {
		t.Errorf("%q", r.stderr)
	}
}

// Who stops a watch reads in the log that it ends, and what it waits for.
func TestEndOfAWatchIsLoggedWithWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.syncs("acme/site", "--to", "site", "--exec", "touch ../../../begun; sleep 60")
	m.until("begun")
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if said := s.says("ending after a signal"); said["waits_for"] != "site" {
		t.Errorf("it waits for %q, not for the directory site", said["waits_for"])
	}
	testkit.OK(t, s.cmd.Wait())
}

// For programs, --json is what a log is in.
func TestWatchLogsJSONForThoseWhoWantIt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	cmd, out := m.command("sync", "acme/site", "--to", "site", "--watch", "--json", "--exec", "touch ../../../done")
	testkit.OK(t, cmd.Start())
	m.until("done")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	testkit.OK(t, cmd.Wait())
	for line := range strings.Lines(out.stderr.String()) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("%s", line)
		}
	}
	cmd, out = m.command("sync", "acme/web", "--to", "web", "--watch", "--quiet", "--exec", "touch ../../../too")
	testkit.OK(t, cmd.Start())
	m.until("too")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || out.stdout.Len()+out.stderr.Len() > 0 {
		t.Errorf("%v; it is not quiet: %s", err, out.stderr.String())
	}
}

// What stands in the way of the directory is told, with a hint, and nothing is left.
func TestSyncSaysWhyADirectoryCannotBeKept(t *testing.T) {
	t.Parallel()
	needsTwoUsers(t)
	m := newMachine(t)
	m.write(filepath.Join(m.work, "full", "a"), "theirs")
	m.must("sync", "acme/site", "--to", "site")
	m.shared()
	other := filepath.Join(m.root, "of-root")
	testkit.OK(t, os.Mkdir(other, 0o755))
	for _, name := range []string{"", "lock", "records", "releases"} { // what root has made
		testkit.OK(t, os.Lchown(filepath.Join(m.work, ".site.ghapp", name), 0, 0))
	}
	for _, test := range []struct {
		dir, says string
		code      int
		user      bool
	}{
		{"full", "something in it that is not ghapp's", 3, false},
		{"full/a", "it is a file", 3, false},
		{"full/a/b", "not a directory", 3, false},
		{other + "/site", "must be writable for this user", 1, true},
		{"site", "must be this user's", 1, true},
	} {
		user := m.user
		if !test.user {
			m.user = nil
		}
		r := m.ghapp("sync", "acme/site", "--to", test.dir, "--force")
		m.user = user
		if r.code != test.code || !strings.Contains(r.stderr, test.says) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", test.dir, r.code, test.code, test.says, r.stderr)
		}
	}
}

// A mount point cannot be renamed; the hint is told, in the words of whoever has mounted a
// volume there.
func TestSyncSaysThatAMountPointCannotBeKept(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("needs to mount: %v %s", err, out)
	}
	m := newMachine(t)
	volume := filepath.Join(m.work, "volume")
	testkit.OK(t, os.Mkdir(volume, 0o755))
	cmd, out := m.command("sync", "acme/site", "--to", "volume")
	cmd.Args = append([]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none "$0" && exec "$@"`,
		volume, cmd.Path}, cmd.Args[1:]...)
	var err error
	if cmd.Path, err = exec.LookPath("unshare"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Run() // its exit code is in the result
	out.result(cmd).ends(t, 3, "something is mounted there")
}

// What is wrong with one directory is told of that one, and keeps no other from being kept: whether
// something else lies there, its App has no key, or it lies in another one.
func TestOneBadDirectoryStopsNoOther(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write(filepath.Join(m.work, "foreign", "a"), "theirs")
	file := filepath.Join(m.root, "sync.yaml")
	m.environ["GHAPP_CONFIG"] = file
	key := m.environ["GHAPP_KEY"]
	delete(m.environ, "GHAPP_KEY")
	delete(m.environ, "GHAPP_APP")
	config := fmt.Sprintf(`apps:
  a: {app: %[1]s, key: %[2]s, host: '%[5]s', owners: [acme]}
  b: {app: Iv23liAnotherApp0000, key: %[3]s/gone.pem, host: '%[5]s', owners: [octo]}
sync:
  bad: {repository: acme/site, to: %[4]s/foreign}
  keyless: {repository: octo/lib, to: %[4]s/keyless}
  outer: {repository: acme/site, to: %[4]s/outer}
  inner: {repository: acme/site, to: %[4]s/outer/inner}
  good: {repository: acme/site, branch: deployment, to: %[4]s/good}
`, m.app.ClientID, key, m.root, m.work, m.server.URL)
	m.write(file, config)
	r := m.ghapp("sync", "--all")
	r.ends(t, 3, "something in it that is not ghapp's", "gone.pem", "lies in what sync.outer keeps")
	m.shows("good/deployment.txt", "deployment")
	m.pushes("next")
	r = m.ghapp("sync", "--all", "--json")
	var list []struct {
		Name, Outcome string
		Error         *struct{ Kind string }
	}
	testkit.OK(t, json.Unmarshal([]byte(r.stdout), &list))
	var told []string
	for _, one := range list {
		kind := ""
		if one.Error != nil {
			kind = one.Error.Kind
		}
		told = append(told, one.Name+" "+one.Outcome+" "+kind)
	}
	testkit.Equal(t, strings.Join(told, ", "), "bad failed foreign-directory, keyless failed key-missing, "+
		"outer failed configuration, inner failed configuration, good published ")
	testkit.Equal(t, fmt.Sprint(r.code, r.stderr), "3")
	testkit.Equal(t, m.read("foreign/a"), "theirs")

	// Who watches goes on, and keeps it once it can be; the configuration is used as a whole.
	m.ghapp("sync", "--all", "--watch").ends(t, 3, "gone.pem")
	m.write(file, fmt.Sprintf("apps:\n  a: {app: %s, key: %s, host: '%[4]s'}\nsync_defaults: {period: 100ms}\nsync:\n"+
		"  bad: {repository: acme/site, to: %[3]s/foreign}\n"+
		"  good: {repository: acme/site, branch: deployment, to: %[3]s/good}\n", m.app.ClientID, key, m.work, m.server.URL))
	s := m.syncs("--all")
	m.pushes("watched")
	m.shows("good/deployment.txt", "watched")
	s.says("failed; the directory stays as it was")
	testkit.OK(t, os.RemoveAll(filepath.Join(m.work, "foreign")))
	m.shows("foreign/main.txt", "main")
	s.ends()
}

// What has failed before anything was published is told by the status of a directory that the config
// file names, and nothing is said of a release before it.
func TestFailureOfTheFirstPassIsTold(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.keeping(fmt.Sprintf("  gone: {repository: acme/site, branch: gone, to: %s/gone}\n"+
		"  checked: {repository: acme/site, to: %[1]s/checked, check: 'false'}\n", m.work))
	r := m.ghapp("sync", "--all")
	r.ends(t, 6, "hint: push a commit that passes the check", "has no branch gone")
	testkit.Lacks(t, r.stderr, "stays")
	r = m.ghapp("sync", "status")
	testkit.Contains(t, r.stdout, "ago) failed: acme/site has no branch gone", "the check failed")
	m.ghapp("sync", "--all", "--period", "5m").ends(t, 2, "or give --watch as well")
	m.ghapp("sync", "--all", "--watch", "--period", "5m").ends(t, 2, "under sync_defaults:")
}

// A disk that is full is told as that, with a hint that is about a directory and not about a clone,
// and that the status will not know of it.
func TestSyncSaysThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("needs to mount: %v %s", err, out)
	}
	m := newMachine(t)
	volume := filepath.Join(m.work, "volume")
	testkit.OK(t, os.Mkdir(volume, 0o755))
	m.keeping(fmt.Sprintf("  site: {repository: acme/site, to: %s/site}\n", volume))
	cmd, out := m.command("sync", "site")
	cmd.Args = append([]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=4k none "$0" && exec "$@"`,
		volume, cmd.Path}, cmd.Args[1:]...)
	var err error
	cmd.Path, err = exec.LookPath("unshare")
	testkit.OK(t, err)
	_ = cmd.Run() // its exit code is in the result
	r := out.result(cmd)
	r.ends(t, 6, "no space left on device", "hint: make room: the disk is full, or has no inodes left (df -h, df -i)\n",
		"warning: ghapp sync status will not know")
}
