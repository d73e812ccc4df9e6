package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	settings "github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// costs is what a run says that it took.
type costs struct {
	Mirrors   int     `json:"mirrors"`
	Fresh     int     `json:"fresh"`
	Made      int     `json:"made"`
	Changed   int     `json:"changed"`
	Compared  int     `json:"compared"`
	Calls     int     `json:"api_calls"`
	Requests  int     `json:"git_requests"`
	Processes int     `json:"git_processes"`
	Seconds   float64 `json:"seconds"`
}

// mirrors runs ghapp mirror, and returns what it says that it took.
func (m *machine) mirrors(args ...string) costs {
	m.t.Helper()
	// Nothing comes due by the way.
	r := m.must(append([]string{"mirror", "--to", "m", "--json", "--full-every", "365d"}, args...)...)
	var list []costs
	testkit.OK(m.t, json.Unmarshal([]byte(r.stdout), &list))
	return list[0]
}

// counted are the requests since they were last forgotten: to the API, and to the git service.
func (m *machine) counted() (api, git int) {
	for _, r := range m.requests() {
		if strings.Contains(r.Path, ".git/") {
			git++
		} else {
			api++
		}
	}
	m.github.ResetRequests()
	return api, git
}

// gitIn runs git in a directory.
func gitIn(dir string, args ...string) ([]byte, error) {
	return exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
}

// TestManyMirrorsCostLittle holds ghapp mirror to what a run may cost.
func TestManyMirrorsCostLittle(t *testing.T) {
	const many, pushed = 250, 3 // more than are listed rather than asked for
	m := newMachine(t)
	for n := range many - 4 { // the world has three, and one that is not selected
		r := m.github.AddRepository(fmt.Sprintf("acme/r%d", n), githubtest.RepositoryOptions{})
		if n < 2*pushed {
			testkit.Must(r.Commit("main", "Begin", map[string]string{"a": "1"}))(t)
		}
	}
	m.github.AddRepository("acme/last", githubtest.RepositoryOptions{})
	m.app.Install("acme", githubtest.InstallOptions{All: true})
	first := m.mirrors()
	if first.Made != many || first.Fresh != many {
		t.Fatalf("%+v", first)
	}
	api, git := m.counted()
	t.Logf("first: %+v; %d to the API, %d to git", first, api, git)
	if git > 2*many || first.Processes > many {
		t.Errorf("first: %d requests to git, %d processes", git, first.Processes)
	}

	time.Sleep(3 * time.Second) // what was pushed in the second of the run is looked at again
	m.mirrors()
	m.counted()
	path := m.environ["PATH"]
	m.environ["PATH"] = filepath.Join(m.root, "nothing") // there is no git
	same := m.mirrors()
	m.environ["PATH"] = path
	api, git = m.counted()
	t.Logf("nothing new: %+v; %d to the API, %d to git", same, api, git)
	if api > 12 || same.Calls != api || git > 0 || same.Processes != 0 || same.Fresh != many {
		t.Errorf("nothing new: %+v; %d to the API, %d to git", same, api, git)
	}

	for n := range pushed {
		testkit.Must(m.github.Repository(fmt.Sprintf("acme/r%d", n)).Commit("main", "Change", map[string]string{"a": "2"}))(t)
	}
	changed := m.mirrors()
	api, git = m.counted()
	t.Logf("some changed: %+v; %d to the API, %d to git", changed, api, git)
	if api > 12 || changed.Changed != pushed || git > 2*changed.Compared || changed.Processes > 3*pushed ||
		git != changed.Requests {
		t.Errorf("some changed: %+v; %d to the API, %d to git", changed, api, git)
	}
	m.noSecretOnDisk()
}

// Whenever a run is killed, every mirror is whole, and the next run goes on.
func TestKilledMirrorIsWhole(t *testing.T) {
	m := newMachine(t)
	m.app.Install("acme", githubtest.InstallOptions{All: true})
	var list []*githubtest.Repository
	for n := range 12 {
		r := m.github.AddRepository(fmt.Sprintf("acme/r%d", n), githubtest.RepositoryOptions{})
		testkit.Must(r.Commit("main", "Begin", map[string]string{"a": "1"}))(t)
		list = append(list, r)
	}
	whole := func() {
		found := testkit.Must(filepath.Glob(filepath.Join(m.work, "m", "*", "*.git")))(t)
		for _, dir := range found {
			if out, err := gitIn(dir, "fsck", "--connectivity-only"); err != nil {
				t.Fatalf("%s: %v\n%s", dir, err, out)
			}
		}
	}
	for round := range 12 {
		for _, r := range list[:6] {
			testkit.Must(r.CommitEntries("main", githubtest.CommitOptions{
				Message: "Change", Orphan: round%3 == 2,
				Entries: []githubtest.Entry{{Path: "a", Content: fmt.Sprint(round)}},
			}))(t)
		}
		cmd, _ := m.command("mirror", "--to", "m")
		testkit.OK(t, cmd.Start())
		time.Sleep(time.Duration(40+25*round) * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		whole()
	}
	last := m.mirrors()
	if last.Fresh != last.Mirrors || last.Mirrors != 15 {
		t.Errorf("%+v", last)
	}
	whole()
	for _, r := range list {
		dir := filepath.Join(m.work, "m", r.FullName()+".git")
		got := strings.TrimSpace(string(testkit.Must(gitIn(dir, "rev-parse", "main"))(t)))
		testkit.Equal(t, got, testkit.Must(r.Head("main"))(t), "%s", r.FullName())
	}
	left := testkit.Must(os.ReadDir(filepath.Join(m.work, "m", ".ghapp")))(t)
	for _, e := range left {
		if e.Name() != "lock" && e.Name() != "state.db" {
			if inside, _ := os.ReadDir(filepath.Join(m.work, "m", ".ghapp", e.Name())); len(inside) > 0 {
				t.Errorf("%s is left: %v", e.Name(), inside)
			}
		}
	}
	m.noSecretOnDisk()
}

// The documentation tells of every option of mirror under its three names.
func TestMirrorDocsTellOfEveryOption(t *testing.T) {
	text := string(testkit.Must(os.ReadFile("../../docs/mirror.md"))(t))
	rows := 0
	for _, o := range settings.MirrorOptions() {
		flag, key := "`--"+o.Flag()+"`", "`"+o.Key+"` "
		if o.Key == "owners" {
			flag = "the arguments"
		}
		if o.Process {
			key = ""
		}
		row := "| " + flag + " | `" + o.Variable() + "` | " + key + "| " + strings.ReplaceAll(o.Help, "`", "") + " |"
		if !strings.Contains(text, row+"\n") {
			t.Errorf("docs/mirror.md has no row\n%s", row)
		}
		rows++
	}
	there := len(regexp.MustCompile("(?m)^\\| [^|]+ \\| `GHAPP_[A-Z_]+` \\| ").FindAllString(text, -1))
	testkit.Equal(t, there, rows, "rows of options")
}

// Nothing is kept where another user could have prepared what is found, or could lead what is
// written elsewhere; a path with spaces is named so that it can be pasted.
func TestMirrorsAreKeptInADirectoryOfOnesOwn(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	testkit.Contains(t, m.must("mirror", "--to", "a disk/m").stderr,
		"git clone '"+filepath.Join(m.work, "a disk/m")+"'/OWNER/NAME.git")
	m.client(".", "sh", "-c", "git clone -q 'a disk/m'/acme/site.git clone")
	testkit.OK(t, os.Symlink("a disk/m", filepath.Join(m.work, "link")))
	m.must("mirror", "--to", "link")
	for name, refuse := range map[string]func(dir string) error{
		"open":   func(dir string) error { return os.Chmod(dir, 0o777) },
		"a link": func(dir string) error { return os.Symlink(t.TempDir(), filepath.Join(dir, ".ghapp")) },
		"open within": func(dir string) error {
			inside := filepath.Join(dir, ".ghapp")
			return errors.Join(os.Mkdir(inside, 0o700), os.Chmod(inside, 0o777))
		},
		"another user's": func(dir string) error {
			needsTwoUsers(t)
			return os.Chown(dir, other, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(m.work, name)
			testkit.OK(t, os.Mkdir(dir, 0o755))
			testkit.OK(t, refuse(dir))
			m.ghapp("mirror", "--to", name).ends(t, 3, "hint: ")
			testkit.Equal(t, len(testkit.Must(filepath.Glob(filepath.Join(dir, "[^.]*")))(t)), 0)
		})
	}
}

// What is kept is chosen by what GitHub says of each, and one that is not chosen any more stays as it was.
func TestRepositoriesAreChosenByWhatGitHubSaysOfThem(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app.Install("acme", githubtest.InstallOptions{All: true})
	for name, o := range map[string]githubtest.RepositoryOptions{
		"live": {Topics: []string{"production"}}, "open": {Topics: []string{"production"}, Public: true},
		"inner": {Topics: []string{"production"}, Internal: true}, "fork": {Topics: []string{"production"}, Fork: true},
		"old": {Topics: []string{"production"}, Archived: true}, "toy": {},
	} {
		r := m.github.AddRepository("acme/"+name, o)
		oid := testkit.Must(r.Commit("main", "First", map[string]string{"n": name}))(t)
		testkit.OK(t, r.SetRef("refs/pull/1/head", oid))
	}
	args := []string{"mirror", "acme", "--to", "m", "--topic", "Production,web", "--visibility", "private,internal",
		"--no-archived", "--no-forks", "--pull-requests"}
	is := func(want string) {
		t.Helper()
		m.must(args...)
		dirs := testkit.Must(filepath.Glob(filepath.Join(m.work, "m/acme/*.git")))(t)
		var names []string
		for _, dir := range dirs {
			names = append(names, strings.TrimSuffix(filepath.Base(dir), ".git"))
		}
		testkit.Equal(t, strings.Join(names, " "), want)
	}
	is("inner live")
	testkit.Must(gitIn(filepath.Join(m.work, "m/acme/live.git"), "rev-parse", "--verify", "refs/pull/1/head"))(t)

	live := m.github.Repository("acme/live")
	before := testkit.Must(live.Head("main"))(t)
	live.Edit(func(o *githubtest.RepositoryOptions) { o.Archived = true })
	testkit.Must(live.Commit("main", "Second", map[string]string{"n": "2"}))(t)
	m.github.Repository("acme/toy").Edit(func(o *githubtest.RepositoryOptions) { o.Topics = []string{"web"} })
	is("inner live toy")
	m.mirrored("m/acme/live.git", "refs/heads/main", before)
	testkit.Contains(t, m.must("mirror", "status", "./m").stdout, "left-out")
}
